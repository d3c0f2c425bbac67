"""How many cores this process may use, and how many threads and loader processes follow from that."""

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


def num_cores() -> int:
    """Return the cores that this process is bound to (`taskset`, Slurm), or all of the machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_cores(cgroup: Path = CGROUP) -> int:
    """Return the cores that this process may use, at least 1: `num_cores`, limited to a container's CPU quota.

    The operating system's own count does not show the quota (`docker --cpus`).
    """
    quotas = (_quota([cgroup / name for name in files]) for files in _QUOTAS)
    quota = next((quota for quota in quotas if quota), num_cores())
    return max(1, min(num_cores(), round(quota)))


def _quota(files: Sequence[Path]) -> float | None:
    try:
        limit, period = " ".join(path.read_text(encoding="ascii") for path in files).split()
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no Linux container, or "max": no limit
        return None


def num_threads() -> int | None:
    """Return how many threads a runtime may start: OMP_NUM_THREADS or a container's CPU quota; None is one per core.

    Runtimes see the cores but no quota (`docker --cpus`): with a thread for each core, they would wait for one another.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if value.isdecimal() and int(value) > 0:
        return int(value)
    allowed = available_cores()
    return allowed if allowed < num_cores() else None


def num_loaders(requested: int | None = None, *, num_processes: int = 1, cores: int | None = None) -> int:
    """Return how many loader processes one training process starts; with 0 the training process itself loads.

    One core of each training process's share is left to training.

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
