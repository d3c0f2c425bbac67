"""Progress of long steps: bars with amount and time left on stderr, or nothing."""

from __future__ import annotations

import sys
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
    """Show a bar with amount and time left while the context is open, and leave its last state behind."""
    amount = DownloadColumn(binary_units=True) if unit == "bytes" else MofNCompleteColumn()
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn(elapsed_when_finished=True))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, total=None)

        def advance(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


@contextmanager
def hide_step(title: str, *, unit: str = "photos") -> Iterator[Advance]:
    """Show nothing."""

    def advance(done: int, total: int | None) -> None:
        del done, total

    yield advance
