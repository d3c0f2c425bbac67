"""Work on many items by several processes, with results in order; and a lock for a folder that one run writes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from clothseg.errors import MachineError

LOCK_NAME = ".lock"
"""The file by which a run locks a folder."""
GROUP_SIZE = 32
"""Items that one process gets at a time."""
_GROUPS_AHEAD = 3
"""Groups waiting for each process: enough to keep it busy, few enough to limit the parent's memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_in_groups(
    work: Callable[[list[Item]], Result], items: Iterable[Item], *, num_workers: int
) -> Iterator[tuple[int, Result]]:
    """Yield the size of each group of items and what `work` returned for it, in the order of the items.

    Args:
        work: must be picklable, as a function of a module or a `partial` of one is.
        items: taken when they are needed, so there may be more than fit into memory.
        num_workers: processes; with less than 2 this process does the work.

    Raises:
        MachineError: a process ended unexpectedly.
    """
    groups = _grouped(items)
    if num_workers < 2:
        for group in groups:
            yield len(group), work(group)
        return
    # Spawned, not forked: a fork copies locks that a thread of the caller may have.
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
    except BrokenExecutor as error:
        raise MachineError(
            "A worker process ended unexpectedly, probably because memory ran out. Run this again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _grouped(items: Iterable[Item]) -> Iterator[list[Item]]:
    items = iter(items)
    while group := list(islice(items, GROUP_SIZE)):
        yield group


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: after its kill -9 nobody else would end this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder, so that no other run writes into it until the block ends.

    The lock file `LOCK_NAME` in the folder is removed at the end. After a kill it stays but blocks nobody: the system
    releases the lock with its process. A folder that takes no file, or a file system without locks, is not locked.

    Raises:
        MachineError: another run has locked it.
    """
    lock = FileLock(folder / LOCK_NAME, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise MachineError(
            f"Another run is writing {folder}. Wait until it is done, or stop it, and run this again"
        ) from error
    except OSError:
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no open file
            Path(lock.lock_file).unlink()
        lock.release()
