"""How many processes may work at once, from the cores this process may use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

MAX_LOADERS = 16
"""Loader processes per training process; at about 200 photos a second each, more would only take memory."""

# Source: Linux kernel documentation, admin-guide/cgroup-v2, cpu.max: "$MAX $PERIOD" in microseconds; version 1 has two
# files, and -1 for no limit (scheduler/sched-bwc).
CGROUP = Path("/sys/fs/cgroup")
_QUOTAS = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))


def available_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores this process may use, at least 1.

    The machine's count is cut down to the cores the process is bound to (`taskset`, Slurm) and to a container's quota
    (`docker --cpus`), which the operating system's own count does not show.
    """
    bound = getattr(os, "sched_getaffinity", None)  # Linux only
    cores = len(bound(0)) if bound else os.cpu_count() or 1
    quota = next((quota for files in _QUOTAS if (quota := _quota([cgroup / name for name in files]))), cores)
    return max(1, min(cores, round(quota)))


def _quota(files: Sequence[Path]) -> float | None:
    try:
        limit, period = " ".join(path.read_text(encoding="ascii") for path in files).split()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no Linux container, or "max": no limit
        return None


def num_loaders(requested: int | None = None, *, num_processes: int = 1, cores: int | None = None) -> int:
    """Return how many loader processes one training process starts; 0 loads in the training process itself.

    One core of each training process's share stays with training itself.

    Args:
        requested: the setting NUM_WORKERS; taken as it is if given.
        num_processes: training processes on this machine, which share its cores.
        cores: how many there are; counted if None.

    >>> [num_loaders(cores=cores) for cores in (1, 2, 8, 64)]
    [0, 1, 7, 16]
    >>> num_loaders(cores=32, num_processes=4)
    7
    """
    if requested is not None:
        return requested
    cores = available_cores() if cores is None else cores
    return min(MAX_LOADERS, max(0, cores // num_processes - 1))
