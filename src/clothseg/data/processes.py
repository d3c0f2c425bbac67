"""Work on many items by all cores: small groups go out to processes, few at a time, and results come back in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from clothseg.errors import MachineError

GROUP_SIZE = 32
"""Items that a process gets at a time."""
_GROUPS_AHEAD = 3
"""Groups waiting for each process: enough to keep it busy, few enough to keep the parent small."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_in_groups(
    work: Callable[[list[Item]], Result], items: Iterable[Item], *, num_workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield the size of each group of items and what `work` made of it, in the order of the items.

    Args:
        work: must be picklable, as a function of a module or a `partial` of one is.
        items: taken as they are needed, so that they may be more than fit into memory.
        num_workers: processes; with less than 2 this process works.

    Raises:
        MachineError: a process died.
    """
    groups = _grouped(items)
    if num_workers < 2:
        for group in groups:
            yield len(group), work(group)
        return
    # Spawned, not forked: a fork copies locks that a thread of the caller may hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    waiting: deque[tuple[int, Future[Result]]] = deque()
    try:
        for group in groups:
            waiting.append((len(group), pool.submit(work, group)))
            if len(waiting) > num_workers * _GROUPS_AHEAD:
                size, future = waiting.popleft()
                yield size, future.result()
        while waiting:
            size, future = waiting.popleft()
            yield size, future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "A process that prepares photos has died, most likely for want of memory. Run it again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _grouped(items: Iterable[Item]) -> Iterator[list[Item]]:
    items = iter(items)
    while group := list(islice(items, GROUP_SIZE)):
        yield group


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: after a kill -9 nobody else would end this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
