"""The worker processes and the bounded queue before them: every photo taken gets exactly one answer."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from clothseg.errors import ClothsegError
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import Message
from clothseg.serving.metrics import Metrics
from clothseg.serving.worker_process import ModelChoice, NotBegunError, WorkerLostError, WorkerProcess

_logger = logging.getLogger(__name__)
_LONGEST_PAUSE = 10.0  # seconds between two attempts to start a worker that does not start
_ATTEMPTS = 3  # to start the very first worker, where it ends without a named error
_STARTING_RETRY = 2.0


@dataclass(eq=False)
class Job:
    """A photo that was taken, and the answer that is owed for it."""

    question: Message
    answer: asyncio.Future[Message]
    taken: float = field(default_factory=time.perf_counter)
    begun: float = math.nan
    """When a worker got it."""


class Pool:
    """Keeps worker processes running and hands them the photos that wait, first come, first served.

    Args:
        choice: the model that the workers load.
        workers: how many there are.
        limits: how many photos may wait, and how long each may take.
        metrics: told of what happens.
        give_up: called if the very first worker cannot start; `failure` then says why.
        when_ready: called with the model's origin and its runtime once the first worker has it.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        workers: int,
        limits: Limits,
        metrics: Metrics,
        give_up: Callable[[], None],
        when_ready: Callable[[str, str], None],
    ) -> None:
        self._choice = choice
        self._num_workers = workers
        self._limits = limits
        self._metrics = metrics
        self._give_up = give_up
        self._when_ready = when_ready
        self._waiting: deque[Job] = deque()
        self._arrived = asyncio.Event()
        self._attendants: list[asyncio.Task[None]] = []
        self._mean_seconds = 1.0  # that a photo takes; a guess until some were done
        self._last_start_failed = False
        self.ready: set[WorkerProcess] = set()
        """The workers that live and have their model."""
        self.introduction: Mapping[str, Any] | None = None
        """What the worker started last says of its model; None before the first is ready."""
        self.failure: ClothsegError | None = None
        """Why the first worker cannot start."""

    def start(self) -> None:
        """Begin to start workers."""
        self._attendants = [asyncio.create_task(self._attend()) for _ in range(self._num_workers)]

    async def close(self) -> None:
        """End all workers; what still waits is answered with a problem."""
        for attendant in self._attendants:
            attendant.cancel()
        await asyncio.gather(*self._attendants, return_exceptions=True)
        while self._waiting:
            _fail(self._waiting.popleft(), "The server is shutting down. Ask again", retry_after=self._limits.deadline)

    def check_room(self) -> None:
        """Say at once whether a photo could be taken, before it is read.

        Raises:
            Problem: no worker has been ready yet or none can be started, or the queue is full.
        """
        if self.introduction is None or (self._last_start_failed and not self.ready):
            raise Problem("starting", "No worker is ready. Ask again soon", retry_after=_STARTING_RETRY)
        if len(self._waiting) >= self._limits.queue:
            raise Problem(
                "busy", f"{len(self._waiting)} photos wait already. Ask again later", retry_after=self._wait_seconds()
            )

    async def work(self, question: Message) -> tuple[Message, Job]:
        """Put a photo into the queue and return its answer; when cancelled, it leaves the queue again.

        Raises:
            Problem: it cannot be taken, or was not done within the deadline.
        """
        self.check_room()
        job = Job(question, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        self._arrived.set()
        self._tell_depth()
        try:
            async with asyncio.timeout(self._limits.deadline):
                return await job.answer, job
        except TimeoutError:
            raise Problem(
                "busy",
                f"No worker was done with this photo within {self._limits.deadline:g} s. Ask again later",
                retry_after=self._wait_seconds(),
            ) from None
        finally:
            job.answer.cancel()
            if math.isnan(job.begun) and job in self._waiting:
                self._waiting.remove(job)
            self._tell_depth()

    def _wait_seconds(self) -> float:
        """Return how long the queue takes to become empty, about; at most the deadline."""
        return min(self._limits.deadline, (len(self._waiting) + 1) * self._mean_seconds / self._num_workers)

    def _tell_depth(self) -> None:
        self._metrics.queue_depth.set(len(self._waiting))

    async def _attend(self) -> None:
        """Keep one worker running for as long as the server does."""
        failures = 0
        while self.failure is None:
            try:
                failures = await self._run_worker(failures)
            except Exception:
                # The server goes on with one worker less if this task ends, and nobody is told.
                failures += 1
                _logger.exception("A fault of clothseg; another worker process is started. Please report it")
            if failures:
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.25 * 2**failures))

    async def _run_worker(self, failures: int) -> int:
        """Start a worker and hand it photos until it is lost; return how many starts have failed in a row."""
        try:
            worker = await WorkerProcess.start(self._choice, workers=self._num_workers)
        except (ClothsegError, OSError) as error:
            self._start_failed(error, failures + 1)
            return failures + 1
        self._last_start_failed = False
        try:
            self._introduce(worker.introduction)
            self._set_ready(worker, is_ready=True)
            await self._serve(worker)
        except WorkerLostError:
            self._metrics.worker_restarts.inc()
        finally:
            self._set_ready(worker, is_ready=False)
            await worker.end()
        return 0

    def _introduce(self, introduction: Mapping[str, Any]) -> None:
        is_first = self.introduction is None
        self.introduction = introduction
        if is_first:
            self._when_ready(introduction["origin"], introduction["runtime"])

    def _start_failed(self, error: ClothsegError | OSError, failures: int) -> None:
        self._last_start_failed = True
        is_final = not isinstance(error, WorkerLostError) or failures >= _ATTEMPTS
        if self.introduction is None and isinstance(error, ClothsegError) and is_final:
            self.failure = error
            self._give_up()

    def _set_ready(self, worker: WorkerProcess, *, is_ready: bool) -> None:
        (self.ready.add if is_ready else self.ready.discard)(worker)
        self._metrics.workers_ready.set(len(self.ready))

    async def _serve(self, worker: WorkerProcess) -> None:
        """Hand photos to a worker until it is lost."""
        while True:
            job = await self._next_for(worker)
            job.begun = time.perf_counter()
            self._tell_depth()
            try:
                with self._metrics.in_flight.track_inprogress():
                    answer = await worker.ask(job.question, seconds=self._limits.deadline)
            except NotBegunError:
                self._put_back(job)
                raise
            except WorkerLostError as error:
                _fail(job, f"{error}. If it happens again with this photo, send another", retry_after=1)
                raise
            except asyncio.CancelledError:
                _fail(job, "The server is shutting down. Ask again", retry_after=self._limits.deadline)
                raise
            except Exception as error:
                if not job.answer.done():
                    job.answer.set_exception(error)
                raise
            self._mean_seconds += 0.1 * (time.perf_counter() - job.begun - self._mean_seconds)
            if not job.answer.done():
                job.answer.set_result(answer)

    def _put_back(self, job: Job) -> None:
        """Let the next worker have a photo that this one never saw; its deadline stays what it was."""
        job.begun = math.nan
        if not job.answer.done():
            self._waiting.appendleft(job)
            self._arrived.set()
            self._tell_depth()

    async def _next_for(self, worker: WorkerProcess) -> Job:
        """Wait for a photo.

        Raises:
            WorkerLostError: the worker has ended meanwhile, so that no photo has to find it out.
        """
        while not worker.ended.done():
            if self._waiting:
                return self._waiting.popleft()
            self._arrived.clear()
            arrival = asyncio.create_task(self._arrived.wait())
            try:
                await asyncio.wait({arrival, worker.ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrival.cancel()
        raise WorkerLostError("A worker process ended while it had nothing to do")


def _fail(job: Job, detail: str, *, retry_after: float) -> None:
    if not job.answer.done():
        job.answer.set_exception(Problem("not-done", detail, retry_after=retry_after))
