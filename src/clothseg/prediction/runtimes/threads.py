"""How many threads a runtime may use: one rule for all of them."""

import os


def num_threads() -> int | None:
    """Return what the environment variable OMP_NUM_THREADS allows, or None for as many as there are cores.

    torch heeds the variable of its own; with this, the other runtimes do, too.
    """
    value = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(value) if value.isdecimal() and int(value) > 0 else None


def num_cores() -> int:
    """Return the cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
