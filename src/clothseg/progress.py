"""Progress of long steps on stderr: a bar on a terminal, a line every ten seconds in a log, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO, Any, Protocol, TypeVar

LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""

Item = TypeVar("Item")

Advance = Callable[[int, int | None], None]
"""Called with how much is done and how much there is in all, or None if the total is unknown."""

Steps = Callable[..., AbstractContextManager[Advance]]
"""`steps(title, unit="photos", "rows" or "bytes")`: a step that shows its progress while the context is open."""


class Printer(Protocol):
    """What prints the lines of a command: a Console of rich, or `_Stderr`, which does no more than this."""

    @property
    def file(self) -> IO[str]:
        """Where they go."""
        return sys.stderr

    def print(self, line: str, /) -> None:
        """Print a line as it is: no colours, no line breaks in it."""
        print(line, file=sys.stderr)


class _Stderr(Printer):
    pass


def printer(num_photos: int) -> Printer:
    """Return what prints on stderr; rich, whose import takes as long as OpenVINO's, only where a bar may be shown."""
    if num_photos == 1 or not sys.stderr.isatty():
        return _Stderr()
    from rich.console import Console

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def show_step(title: str, *, unit: str = "photos") -> Iterator[Advance]:
    """Show a bar with amount and time left while the context is open, and leave its last state on the screen.

    If stderr is no terminal, print a line every `LINE_EVERY` seconds instead, and one at the end.
    """
    if sys.stderr.isatty():
        from rich import console
        from rich import progress as bars

        amount = bars.DownloadColumn(binary_units=True) if unit == "bytes" else bars.MofNCompleteColumn()
        left = bars.TimeRemainingColumn(elapsed_when_finished=True)
        columns = bars.TextColumn("{task.description}"), bars.BarColumn(), amount, left
        with bars.Progress(*columns, console=console.Console(file=sys.stderr)) as progress:
            task = progress.add_task(title, total=None)
            yield lambda done, total: progress.update(task, completed=done, total=total)
        return
    scale, name = (2**20, "MB") if unit == "bytes" else (1, unit)
    lines = ProgressLines(title, name)
    yield lambda done, total: lines.show(round(done / scale), None if total is None else round(total / scale))
    lines.end()


@contextmanager
def hide_step(title: str, *, unit: str = "photos") -> Iterator[Advance]:
    """Show nothing."""
    yield lambda done, total: None


def tracked(console: Printer, items: Iterable[Item], *, total: int) -> Iterator[Item]:
    """Yield the items and show on `console` how many of `total` have come; show nothing for a single one."""
    if total == 1:
        yield from items
    elif console.file.isatty():  # FORCE_COLOR makes rich take a log for a terminal
        from rich import progress as bars
        from rich.text import Text

        class Rate(bars.ProgressColumn):
            def render(self, task: bars.Task) -> Text:
                return Text(f"{task.speed:.1f} photos/s" if task.speed else "")

        amount, left = bars.MofNCompleteColumn(), bars.TimeRemainingColumn()
        columns = bars.TextColumn("Segmenting"), bars.BarColumn(), amount, Rate(), left
        # Paths go above the bar only if stdout is this terminal, too; otherwise rich would send them to stderr.
        bar_console: Any = console
        with bars.Progress(*columns, console=bar_console, redirect_stdout=sys.stdout.isatty()) as progress:
            yield from progress.track(items, total=total)
    else:
        lines = ProgressLines("", "photos", before=0, file=console.file)
        for number, item in enumerate(items, start=1):
            yield item
            lines.show(number, total)


class ProgressLines:
    """Lines for a log that say how far a step is: plain text that is not wrapped, at most one in `LINE_EVERY` seconds.

    Args:
        before: how much was done before the step began; None takes it from the first call of `show`.
        file: where the lines go; stderr by default.
    """

    def __init__(self, title: str, unit: str, *, before: int | None = None, file: IO[str] | None = None) -> None:
        self._unit = unit
        self._file = file
        self._last = time.monotonic()
        self.begin(title, before=before)

    def begin(self, title: str, *, before: int | None = None) -> None:
        """Start another step; the time since the last line is not reset."""
        self._title = f"{title}: " if title else ""
        self._start = time.monotonic()
        self._before = before
        self._done = 0

    def show(self, done: int, total: int | None, note: str = "") -> None:
        """Print a line if the last one is `LINE_EVERY` seconds old."""
        self._before = done if self._before is None else self._before
        self._done = done
        now = time.monotonic()
        if now - self._last >= LINE_EVERY and done != total:
            self._last = now
            words = f"{done:,} {self._unit}"
            if total is not None:
                words = progress_line(done, total, now - self._start, unit=self._unit, before=self._before)
            self._print(words + note)

    def end(self) -> None:
        """Print how much was done in how much time."""
        self._print(f"{self._done:,} {self._unit} in {time.monotonic() - self._start:.1f} s")

    def _print(self, words: str) -> None:
        print(f"{self._title}{words}", file=self._file or sys.stderr, flush=True)


def progress_line(number: int, total: int, seconds: float, *, unit: str = "photos", before: int = 0) -> str:
    """Return in words how far a run is, of which `before` was done before the `seconds` began.

    >>> progress_line(50, 200, 25.0)
    '50 of 200 photos, 2.0 per second, 1 min 15 s left'
    """
    words = f"{number} of {total} {unit}"
    rate = (number - before) / seconds
    if not rate:
        return words
    left = round((total - number) / rate)
    parts = [(left // 3600, "h"), (left // 60 % 60, "min"), (left % 60, "s")]
    time_left = " ".join(f"{value} {name}" for value, name in parts if value) or "0 s"
    pace = f"{rate:.1f} per second" if rate >= 0.1 else f"{1 / rate:.0f} s each"
    return f"{words}, {pace}, {time_left} left"
