"""How many threads a runtime may use: one rule for all of them."""

import os

from clothseg.data.workers import available_cores


def num_threads() -> int | None:
    """Return what OMP_NUM_THREADS or a container's CPU quota allows, or None for as many as there are cores.

    Runtimes see the cores but no quota (`docker --cpus`): with a thread for each core, they would wait for one another.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if value.isdecimal() and int(value) > 0:
        return int(value)
    allowed = available_cores()
    return allowed if allowed < num_cores() else None


def num_cores() -> int:
    """Return the cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
