"""How far a run is, with its rate and the time left: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from clothseg.progress import LINE_EVERY, progress_line

Item = TypeVar("Item")


def tracked(console: Console, items: Iterable[Item], *, total: int) -> Iterator[Item]:
    """Pass items on and show on `console` how many of `total` have come; nothing for a single one."""
    if total == 1:
        yield from items
    elif console.file.isatty():  # FORCE_COLOR makes rich take a log for a terminal
        columns = (TextColumn("Segmenting"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
        # Paths go above the bar only if stdout is this terminal, too; otherwise rich would send them to stderr.
        with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
            yield from progress.track(items, total=total)
    else:
        yield from _with_lines(console, items, total)


def _with_lines(console: Console, items: Iterable[Item], total: int) -> Iterator[Item]:
    start = last = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= LINE_EVERY and number < total:
            last = now
            console.print(progress_line(number, total, now - start), soft_wrap=True)


class _RateColumn(ProgressColumn):
    """Photos per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} photos/s" if task.speed else "")
