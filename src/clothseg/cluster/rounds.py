"""One pass of Ray Data over some chunks of photos: what a worker takes along when it dies is missing, and no more."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clothseg.cluster.cluster import Slots
from clothseg.cluster.worker import Loaded, Plan, Replica

TASKS_AT_WORKER = 2
"""Chunks that a worker has at a time: the next one is there when one is done. The others wait, as back-pressure."""


@dataclass
class Round:
    """Some chunks, each done by one worker or lost with it."""

    ray: Any = field(repr=False)
    plan: Plan
    loaded: Loaded
    content: Any = field(repr=False)
    """A reference to the model file's content in the cluster."""
    slots: Slots
    is_careful: bool = False
    """A worker has one chunk at a time, so that none is lost with another that ends its worker."""
    reason: str = "Ray does not say why"
    """Why chunks were lost, as Ray has it."""

    def reports(self, chunks: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Have the chunks done.

        Args:
            chunks: of each, what `Replica` is to know of its photos.

        Yields:
            The place of a chunk and the reports of its photos, as they are done; of a lost one, nothing.
        """
        with self._listening():
            try:
                for batch in self._dataset(chunks).iter_batches(batch_size=None, prefetch_batches=0):
                    for done in map(json.loads, batch["done"]):
                        yield done["key"], done["reports"]
            except self.ray.exceptions.RayError as error:  # what is lost is seen by what has not come
                self.reason = _words(error)

    def _dataset(self, chunks: Sequence[Sequence[Mapping[str, Any]]]) -> Any:
        data = self.ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a lost chunk does not end the others
        rows = [{"chunk": json.dumps({"key": key, "photos": photos})} for key, photos in enumerate(chunks)]
        with warnings.catch_warnings():
            # Ray 2.64 ends map_batches' free options, and with them max_task_retries; see pyproject.toml.
            warnings.simplefilter("ignore", self.ray.util.annotations.RayDeprecationWarning)
            return data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Replica,
                batch_size=None,
                fn_constructor_args=(self.plan, self.loaded, [self.content]),
                compute=data.ActorPoolStrategy(
                    size=min(self.slots.count, len(chunks)),
                    max_tasks_in_flight_per_actor=1 if self.is_careful else TASKS_AT_WORKER,
                ),
                # A worker that dies is started again where there is room, but its chunks are not kept for it: they go
                # to the next round, so that a machine that never comes back holds nothing up.
                max_restarts=-1,
                max_task_retries=0,
                **self.slots.resources,
            )

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Keep Ray Data's words off stderr, where ours are, and of its errors remember the last.

        Errors carry frames that hold the round's workers, and a worker that is held keeps its slot: the next round
        would wait for it without end. So no other listener gets them, and what is left in circles is cleared away.
        """
        logger = logging.getLogger("ray.data")
        before = logger.handlers, logger.level, logger.propagate
        logger.handlers, logger.propagate = [_Listener(self)], False
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.handlers, _, logger.propagate = before
            logger.setLevel(before[1])
            gc.collect()


class _Listener(logging.Handler):
    """Takes the reason of a round's losses from what Ray Data logs."""

    def __init__(self, listening: Round) -> None:
        super().__init__(logging.ERROR)
        self._round = listening

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            self._round.reason = _words(error)


def _words(error: BaseException) -> str:
    """Return the kind of an error and the last line of its page, in which Ray says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:160]}" if lines else type(error).__name__
