"""The table of a benchmark: machine, versions, commit and date above rows of the plain way, ours, and their ratio."""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

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


def processor() -> str:
    """Return the CPU's name as Linux tells it, or what Python knows of it, with what it has for bfloat16."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = " ".join(line for line in lines if line.startswith("flags"))
    return f"{named} ({', '.join(one for one in ('amx_bf16', 'avx512_bf16') if one in flags) or 'no bfloat16'})"


def num_cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def heading(title: str, packages: Sequence[str], *, device: str | None = None, threads: int | None = None) -> str:
    """Return three lines: what is measured; machine and versions of `packages`; commit and date.

    Args:
        title: what is measured.
        packages: names of installed distributions that matter for it.
        device: name of what it runs on, if that is not the processor.
        threads: how many threads are used, where that is fixed.
    """
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False).stdout.strip()
    used = f"{num_cores()} cores" if threads is None else f"{threads} of {num_cores()} cores"
    return (
        f"{title}\n{device or processor()}, {used}, Python {platform.python_version()}, "
        f"{', '.join(f'{name} {version(name)}' for name in packages)}\n"
        f"commit {commit or 'unknown'}, {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    )
