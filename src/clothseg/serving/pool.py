"""The worker processes and the bounded queue before them: each accepted photo gets exactly one reply."""

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
from clothseg.serving.worker_process import NotStartedError, WorkerLostError, WorkerProcess

_logger = logging.getLogger(__name__)
_MAX_PAUSE = 10.0  # seconds between two attempts to start a worker
_MAX_FIRST_STARTS = 3  # attempts to start the very first worker, where it ends without a named error
_STARTING_RETRY = 2.0


@dataclass(eq=False)
class Job:
    """An accepted photo and its reply to come."""

    message: Message
    reply: asyncio.Future[Message]
    submitted: float = field(default_factory=time.perf_counter)
    started: float = math.nan
    """When a worker got it."""

    def fail(self, problem: Exception) -> None:
        """Reply with an error, unless there is a reply or nobody waits for one."""
        if not self.reply.done():
            self.reply.set_exception(problem)


@dataclass(eq=False)
class Pool:
    """Keeps worker processes running and gives them the photos in the queue, first in, first out."""

    load_options: Mapping[str, str | None]
    """Arguments of `prediction.predictor.load` for the workers, by name."""
    workers: int
    limits: Limits
    metrics: Metrics
    on_failure: Callable[[], None]
    """Called if the very first worker cannot start; the reason is in `failure`."""
    on_ready: Callable[[str, str], None]
    """Called with the model's origin and its runtime once the first worker has loaded it."""
    ready: set[WorkerProcess] = field(default_factory=set, init=False)
    """The workers that run and have loaded their model."""
    model_info: Mapping[str, Any] | None = field(default=None, init=False)
    """Description of the model by the worker started last; None before the first is ready."""
    failure: ClothsegError | None = field(default=None, init=False)
    """Why the first worker cannot start."""

    def __post_init__(self) -> None:
        self._queue: deque[Job] = deque()
        self._has_jobs = asyncio.Event()
        self._supervisors: list[asyncio.Task[None]] = []
        self._mean_seconds = 1.0  # per photo; a guess until some were done
        self._last_start_failed = False
        self.metrics.queue_depth.set_function(lambda: len(self._queue))
        self.metrics.workers_ready.set_function(lambda: len(self.ready))

    def start(self) -> None:
        """Start the workers in the background."""
        self._supervisors = [asyncio.create_task(self._supervise()) for _ in range(self.workers)]

    async def close(self) -> None:
        """End all workers, and reply with an error to the photos in the queue."""
        for supervisor in self._supervisors:
            supervisor.cancel()
        await asyncio.gather(*self._supervisors, return_exceptions=True)
        while self._queue:
            self._queue.popleft().fail(self._shutting_down())

    def check_capacity(self) -> None:
        """Refuse a photo before it is read.

        Raises:
            Problem: no worker has been ready yet or none can be started, or the queue is full.
        """
        if self.model_info is None or (self._last_start_failed and not self.ready):
            raise Problem("starting", "No worker is ready. Ask again soon", retry_after=_STARTING_RETRY)
        if len(self._queue) >= self.limits.queue:
            raise Problem(
                "busy", f"{len(self._queue)} photos wait already. Ask again later", retry_after=self._wait_seconds()
            )

    async def submit(self, message: Message) -> tuple[Message, Job]:
        """Put a photo into the queue and return the reply; if this is cancelled, the photo leaves the queue.

        Raises:
            Problem: the photo is refused, or not done within the deadline.
        """
        self.check_capacity()
        job = Job(message, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._has_jobs.set()
        try:
            async with asyncio.timeout(self.limits.deadline):
                return await job.reply, job
        except TimeoutError:
            raise Problem(
                "busy",
                f"The photo was not done within {self.limits.deadline:g} s. Ask again later",
                retry_after=self._wait_seconds(),
            ) from None
        finally:
            job.reply.cancel()
            if math.isnan(job.started) and job in self._queue:
                self._queue.remove(job)

    def _wait_seconds(self) -> float:
        """Return about how long the queue takes to become empty, at most the deadline."""
        return min(self.limits.deadline, (len(self._queue) + 1) * self._mean_seconds / self.workers)

    def _shutting_down(self) -> Problem:
        return Problem("not-done", "The server is shutting down. Ask again", retry_after=self.limits.deadline)

    async def _supervise(self) -> None:
        """Keep one worker running until the pool is closed."""
        failures = 0
        while self.failure is None:
            try:
                failures = await self._run_worker(failures)
            except Exception:
                # If this task ended, the server would silently have one worker less.
                failures += 1
                _logger.exception("A fault of clothseg; another worker process is started. Please report it")
            if failures:
                await asyncio.sleep(min(_MAX_PAUSE, 0.25 * 2 ** min(failures, 10)))

    async def _run_worker(self, failures: int) -> int:
        """Start a worker and give it photos until it is lost; return the number of failed starts in a row."""
        try:
            worker = await WorkerProcess.start(self.load_options, workers=self.workers)
        except (ClothsegError, OSError) as error:
            self._last_start_failed = True
            is_final = not isinstance(error, WorkerLostError) or failures + 1 >= _MAX_FIRST_STARTS
            if self.model_info is None and isinstance(error, ClothsegError) and is_final:
                self.failure = error
                self.on_failure()
            return failures + 1
        self._last_start_failed = False
        try:
            is_first, self.model_info = self.model_info is None, worker.model_info
            if is_first:
                self.on_ready(worker.model_info["origin"], worker.model_info["runtime"])
            self.ready.add(worker)
            while True:
                await self._run_job(worker)
        except WorkerLostError:
            self.metrics.worker_restarts.inc()
        finally:
            self.ready.discard(worker)
            await worker.end()
        return 0

    async def _run_job(self, worker: WorkerProcess) -> None:
        """Wait for a photo, give it to a worker, and return the reply.

        Raises:
            WorkerLostError: the worker is lost.
        """
        job = await self._next_job(worker)
        job.started = time.perf_counter()
        try:
            with self.metrics.in_flight.track_inprogress():
                reply = await worker.request(job.message, seconds=self.limits.deadline)
        except NotStartedError:  # back to the front of the queue; its deadline does not change
            job.started = math.nan
            if not job.reply.done():
                self._queue.appendleft(job)
                self._has_jobs.set()
            raise
        except WorkerLostError as error:
            job.fail(Problem("not-done", f"{error}. If this photo fails again, send another", retry_after=1))
            raise
        except asyncio.CancelledError:
            job.fail(self._shutting_down())
            raise
        except Exception as error:
            job.fail(error)
            raise
        self._mean_seconds += 0.1 * (time.perf_counter() - job.started - self._mean_seconds)
        if not job.reply.done():
            job.reply.set_result(reply)

    async def _next_job(self, worker: WorkerProcess) -> Job:
        """Wait for a photo.

        Raises:
            WorkerLostError: the worker has ended meanwhile; no photo is lost with it.
        """
        while not worker.ended.done():
            if self._queue:
                return self._queue.popleft()
            self._has_jobs.clear()
            arrival = asyncio.create_task(self._has_jobs.wait())
            try:
                await asyncio.wait({arrival, worker.ended}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arrival.cancel()
        raise WorkerLostError("A worker process ended while it was idle")
