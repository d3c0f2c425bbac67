"""Work on many items by several processes, with results in order; and a lock for a folder that one run writes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from clothseg.errors import MachineError
from clothseg.progress import Advance

LOCK_NAME = ".lock"
"""The file by which a run locks a folder."""
GROUP_SIZE = 32
"""Items that one process gets at a time."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def work_in_groups(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], *, num_workers: int, progress: Advance
) -> Iterator[Result]:
    """Yield what `work` returned for each group of items, in the order of the items.

    Args:
        work: must be picklable, as a function of a module or a `partial` of one is.
        items: are sent to the processes one group after another.
        num_workers: processes; with less than 2 this process does the work.
        progress: called after each group with the items done and the items in all.

    Raises:
        MachineError: a process ended unexpectedly.
    """
    groups = [items[start : start + GROUP_SIZE] for start in range(0, len(items), GROUP_SIZE)]
    results: Iterable[Result] = map(work, groups)
    with ExitStack() as stack:
        try:
            if num_workers > 1:
                # Spawned, not forked: a fork copies locks that a thread of the caller may have.
                context = multiprocessing.get_context("spawn")
                pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
                stack.callback(pool.shutdown, wait=True, cancel_futures=True)
                results = pool.map(work, groups)
            for number, result in enumerate(results, start=1):
                yield result
                progress(min(number * GROUP_SIZE, len(items)), len(items))
        except BrokenExecutor as error:
            raise MachineError(
                "A worker process ended unexpectedly, probably because memory ran out. Run this again with fewer "
                "--workers"
            ) from error


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
