"""Works on a stream of items in threads, in bounded memory, and hands the results back in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def beside(work: Callable[[], Result]) -> Callable[[], Result]:
    """Start `work` in a thread of its own and return what waits for its result, or raises what it raised."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is waited for
            future.set_exception(error)

    Thread(target=run, name="clothseg-beside", daemon=True).start()
    return future.result


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """Yield `work(item)` of each item in the items' order, `workers` of them at a time.

    Items are taken as they are needed: at most `workers` + 1 are taken and not yet yielded, so that memory does not
    grow with their number, and a slow reader holds the workers back. Threads are enough for photos: decoding,
    resizing, networks and encoding all leave Python's lock.

    Raises:
        Exception: whatever `items` or `work` raised, at its place in the order; what waits is dropped.
    """
    source = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="clothseg-photo")
    try:
        waiting.extend(pool.submit(work, item) for item in islice(source, workers + 1))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(source, 1))
            yield result
            del result  # from here on it is the caller's alone
    finally:
        pool.shutdown(cancel_futures=True)
