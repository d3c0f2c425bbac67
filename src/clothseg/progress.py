"""Progress of long steps on stderr: a bar on a terminal, a line now and then in a log, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int, int | None], None]
"""Called with how much is done and how much there is in all, or None where nobody knows."""

Steps = Callable[..., AbstractContextManager[Advance]]
"""`steps(title, unit="photos" or "bytes")`: a step that shows its progress while the context is open."""


@contextmanager
def show_step(title: str, *, unit: str = "photos") -> Iterator[Advance]:
    """Show a bar with amount and time left while the context is open, and leave its last state behind.

    Where stderr is no terminal, there is a line every `LINE_EVERY` seconds instead, and one at the end.
    """
    if not sys.stderr.isatty():
        with _lines(title, unit) as advance:
            yield advance
        return
    amount = DownloadColumn(binary_units=True) if unit == "bytes" else MofNCompleteColumn()
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


@contextmanager
def _lines(title: str, unit: str) -> Iterator[Advance]:
    scale, name = (2**20, "MB") if unit == "bytes" else (1, unit)
    lines = ProgressLines(title, name)

    def advance(done: int, total: int | None) -> None:
        lines.show(round(done / scale), None if total is None else round(total / scale))

    yield advance
    lines.end()


class ProgressLines:
    """Lines that say how far a step is, for a log: plain text, as long as they are, and none too often.

    Args:
        title: what is done.
        unit: what is counted.
    """

    def __init__(self, title: str, unit: str) -> None:
        self._unit = unit
        self._last = time.monotonic()
        self.begin(title)

    def begin(self, title: str) -> None:
        """Begin another step, whose first line is as far from the last one."""
        self._title = title
        self._start = time.monotonic()
        self._first: int | None = None
        self._done = 0

    def show(self, done: int, total: int | None, note: str = "") -> None:
        """Print a line if the last one is `LINE_EVERY` seconds old; what the first call has done counts for no rate."""
        self._first = done if self._first is None else self._first
        self._done = done
        now = time.monotonic()
        if now - self._last >= LINE_EVERY and done != total:
            self._last = now
            words = f"{done:,} {self._unit}"
            if total is not None:
                words = progress_line(done, total, now - self._start, unit=self._unit, before=self._first)
            print(f"{self._title}: {words}{note}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Print how much was done in how much time."""
        seconds = time.monotonic() - self._start
        print(f"{self._title}: {self._done:,} {self._unit} in {seconds:.1f} s", file=sys.stderr, flush=True)


LINE_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


def progress_line(number: int, total: int, seconds: float, *, unit: str = "photos", before: int = 0) -> str:
    """Return in words how far a run is, of which `before` was done before the `seconds` began.

    >>> progress_line(50, 200, 25.0)
    '50 of 200 photos, 2.0 per second, 1 min 15 s left'
    """
    rate = (number - before) / seconds
    words = f"{number} of {total} {unit}"
    if not rate:
        return words
    left = round((total - number) / rate)
    parts = [(left // 3600, "h"), (left // 60 % 60, "min"), (left % 60, "s")]
    time_left = " ".join(f"{value} {name}" for value, name in parts if value) or "0 s"
    pace = f"{rate:.1f} per second" if rate >= 0.1 else f"{1 / rate:.0f} s each"
    return f"{words}, {pace}, {time_left} left"


@contextmanager
def hide_step(title: str, *, unit: str = "photos") -> Iterator[Advance]:
    """Show nothing."""

    def advance(done: int, total: int | None) -> None:
        del done, total

    yield advance
