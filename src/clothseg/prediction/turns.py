"""Who may use the network when: one photo on all cores, or several at a time while many photos are worked through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import BoundedSemaphore, Lock

from clothseg.prediction.runtimes import Runtime, Streaming
from clothseg.types import Float32Array, UInt8Array


@dataclass(frozen=True)
class _Lane:
    """A runtime and how many may use it at a time: more would only take turns on the same cores."""

    runtime: Runtime
    streams: int
    free: BoundedSemaphore


class Turns:
    """Gives threads the network in turn.

    Args:
        runtime: the network, as it computes one photo soonest.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._single = _lane(runtime)
        self._lock = Lock()
        self._runs = 0

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Wait for a turn and run the network; see `Runtime.logits`."""
        lane = self._many if self._runs else self._single
        with lane.free:
            return lane.runtime.logits(batch)

    @contextmanager
    def of_many(self) -> Iterator[int]:
        """While this lasts, compute several photos at a time where the runtime can; give how many."""
        with self._lock:
            streams = self._many.streams
            self._runs += 1
        try:
            yield streams
        finally:
            with self._lock:
                self._runs -= 1

    @cached_property
    def _many(self) -> _Lane:
        runtime = self._single.runtime
        return _lane(runtime.for_many()) if isinstance(runtime, Streaming) else self._single


def _lane(runtime: Runtime) -> _Lane:
    streams = runtime.streams if isinstance(runtime, Streaming) else 1
    return _Lane(runtime, streams, BoundedSemaphore(streams))
