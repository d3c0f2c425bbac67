"""The rows of a benchmark's table: the plain way, ours, and how many times better, with the target."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    step: str
    plain: str
    ours: str
    ratio: float
    target: str = ""
    """What is aimed at, in words; empty where nothing is."""
    is_met: bool = True


def show(title: str, rows: Sequence[Row]) -> int:
    """Print the table and return the exit code: 1 if a target is missed."""
    table = Table("step", "plain", "clothseg", "ratio", "target", title=title)
    for row in rows:
        table.add_row(
            row.step, row.plain, row.ours, f"{row.ratio:.1f}", row.target + ("" if row.is_met else " (missed)")
        )
    Console(width=max(120, Console().width)).print(table)
    return int(not all(row.is_met for row in rows))
