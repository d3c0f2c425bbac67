"""The queue before the workers: every accepted photo gets exactly one answer, whatever happens to its worker."""

import asyncio
import json

import pytest

from clothseg.errors import ModelError
from clothseg.serving import pool as pool_module
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import Message
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Pool
from clothseg.serving.routes import Routes
from clothseg.serving.worker_process import NotStartedError, WorkerLostError


class Worker:
    """A worker without a process: it answers, or ends, when the test says so."""

    def __init__(self):
        self.model_info = {"origin": "small.onnx", "runtime": "none"}
        self.ended = asyncio.get_running_loop().create_future()
        self.received = []
        self.replies = asyncio.Queue()

    async def request(self, message, *, seconds):
        self.received.append(message)
        if isinstance(reply := await self.replies.get(), Exception):
            raise reply
        return reply

    async def end(self):
        if not self.ended.done():
            self.ended.set_result(None)


class Situation:
    """A pool whose workers are controlled by the test."""

    def __init__(self, *, failures=(), workers=1, **limits):
        self.workers = []
        self.failures = list(failures)
        self.num_failures = 0
        self.metrics = Metrics()
        self.pool = Pool(
            {},
            workers=workers,
            limits=Limits(**limits),
            metrics=self.metrics,
            on_failure=self._on_failure,
            on_ready=lambda origin, runtime: None,
        )

    def _on_failure(self):
        self.num_failures += 1

    async def start(self, load_options, *, workers):
        if self.failures:
            raise self.failures.pop(0)
        self.workers.append(Worker())
        return self.workers[-1]

    @property
    def worker(self):
        return self.workers[-1]

    def submit(self, name):
        return asyncio.create_task(self.pool.submit(Message({"name": name})))

    def value(self, metric):
        return next(
            float(line.split()[1]) for line in self.metrics.text().decode().splitlines() if line.split()[0] == metric
        )


@pytest.fixture
def run(monkeypatch):
    """Run a coroutine function with a pool; every pause between two attempts to start a worker is skipped."""
    monkeypatch.setattr(pool_module, "_MAX_PAUSE", 0.0)

    def in_loop(steps, **options):
        async def whole():
            situation = Situation(**options)
            monkeypatch.setattr(pool_module, "WorkerProcess", situation)
            test = asyncio.create_task(steps(situation))
            others = asyncio.all_tasks()
            situation.pool.start()
            pending = {test} | (asyncio.all_tasks() - others)
            try:
                while not test.done():
                    ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        if not task.cancelled():
                            task.result()  # the pool's own faults fail the test, which may wait in vain
            finally:
                test.cancel()
                await situation.pool.close()

        asyncio.run(whole())

    return in_loop


async def until(condition):
    for _ in range(5000):  # iterations of the event loop: nothing here waits for anything else
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("the condition does not become true")


def reply(name):
    return Message({"reply": name})


def test_photos_are_answered_in_the_order_of_their_arrival(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        jobs = [now.submit(name) for name in "abc"]
        await until(lambda: now.value("clothseg_queue_depth") == 2)
        assert now.value("clothseg_in_flight") == 1
        for name in "abc":
            await now.worker.replies.put(reply(name))
        for name, job in zip("abc", jobs, strict=True):
            message, one = await job
            assert message == reply(name)
            assert one.submitted <= one.started
        assert [message.header["name"] for message in now.worker.received] == ["a", "b", "c"]
        assert now.value("clothseg_queue_depth") == now.value("clothseg_in_flight") == 0

    run(steps)


def test_a_full_queue_refuses_and_says_when_to_ask_again(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        jobs = [now.submit("a")]
        await until(lambda: now.worker.received)
        jobs += [now.submit(name) for name in "bc"]
        await until(lambda: now.value("clothseg_queue_depth") == 2)
        with pytest.raises(Problem, match="2 photos wait already") as caught:
            now.pool.check_capacity()
        assert (caught.value.kind, caught.value.headers["Retry-After"]) == ("busy", "3"), "a photo takes about 1 s"
        for job in jobs:
            await now.worker.replies.put(reply(""))
            await job
        now.pool.check_capacity()

    run(steps, queue=2)


def test_a_disconnected_client_leaves_the_queue_and_costs_no_worker(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        first, second, third = (now.submit(name) for name in "abc")
        await until(lambda: now.value("clothseg_queue_depth") == 2)
        second.cancel()
        await until(lambda: now.value("clothseg_queue_depth") == 1)
        first.cancel()  # the worker has this photo already; nobody takes its answer
        await until(first.done)
        for name in "ac":
            await now.worker.replies.put(reply(name))
        assert (await third)[0] == reply("c")
        assert [message.header["name"] for message in now.worker.received] == ["a", "c"]
        assert len(now.workers) == 1

    run(steps)


def test_a_photo_whose_worker_is_lost_is_answered_and_the_next_worker_continues(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        fatal, other = now.submit("fatal"), now.submit("other")
        await until(lambda: now.worker.received)
        await now.worker.replies.put(WorkerLostError("The worker process ended"))
        with pytest.raises(Problem, match="send another") as caught:
            await fatal
        assert (caught.value.kind, caught.value.headers["Retry-After"]) == ("not-done", "1")
        await until(lambda: len(now.workers) == 2)
        await now.worker.replies.put(reply("other"))
        assert (await other)[0] == reply("other")
        assert now.workers[0].ended.done()
        assert now.value("clothseg_worker_restarts_total") == 1
        assert now.value("clothseg_workers_ready") == 1

    run(steps)


def test_a_photo_that_its_worker_never_saw_is_done_by_the_next_before_those_that_came_later(run):
    async def steps(now):
        await until(lambda: len(now.pool.ready) == 2)
        photo = now.submit("photo")
        await until(lambda: any(worker.received for worker in now.workers))
        (dead,) = (worker for worker in now.workers if worker.received)
        await dead.replies.put(NotStartedError("It ended before"))
        await until(lambda: any(worker.received for worker in now.workers if worker is not dead))
        for worker in now.workers:
            await worker.replies.put(reply("photo"))
        message, job = await photo
        assert message == reply("photo")
        assert job.submitted <= job.started
        await until(lambda: len(now.pool.ready) == 2)
        assert now.value("clothseg_worker_restarts_total") == 1

    run(steps, workers=2)

    async def alone(now):
        await until(lambda: now.pool.ready)
        first, second, gone = (now.submit(name) for name in ("first", "second", "gone"))
        await until(lambda: now.value("clothseg_queue_depth") == 2)
        await now.worker.replies.put(NotStartedError("It ended before"))
        await until(lambda: len(now.workers) == 2 and now.worker.received)
        assert now.worker.received[0].header["name"] == "first"
        gone.cancel()
        await now.worker.replies.put(reply("first"))
        await first
        second.cancel()  # nobody waits for its answer any more
        await until(lambda: second.done() and len(now.worker.received) == 2)
        await now.worker.replies.put(NotStartedError("It ended before"))
        await until(lambda: len(now.workers) == 3 and now.pool.ready)
        assert now.value("clothseg_queue_depth") == 0
        assert not now.worker.received

    run(alone)


def test_a_fault_of_the_server_is_logged_and_costs_one_photo_and_one_worker(run, caplog):
    async def steps(now):
        await until(lambda: now.pool.ready)
        photo, other = now.submit("photo"), now.submit("other")
        await until(lambda: now.worker.received)
        await now.worker.replies.put(ZeroDivisionError("no such thing was foreseen"))
        with pytest.raises(ZeroDivisionError):
            await photo
        await until(lambda: len(now.workers) == 2)
        await now.worker.replies.put(reply("other"))
        assert (await other)[0] == reply("other")
        assert now.value("clothseg_workers_ready") == 1
        now.failures = [ZeroDivisionError("nor this")]
        await now.worker.end()
        await until(lambda: len(now.workers) == 3 and now.pool.ready)
        assert not now.num_failures

    run(steps)
    records = [record for record in caplog.records if record.name == "clothseg.serving.pool"]
    assert [str(record.exc_info[1]) for record in records] == ["no such thing was foreseen", "nor this"]


def test_a_worker_that_ends_while_idle_is_replaced_before_the_next_photo(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        await now.worker.end()
        await until(lambda: len(now.workers) == 2 and now.pool.ready)
        job = now.submit("a")
        await now.worker.replies.put(reply("a"))
        assert (await job)[0] == reply("a")
        assert not now.workers[0].received

    run(steps)


def test_a_photo_that_waits_for_longer_than_the_deadline_is_answered(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        jobs = [now.submit(name) for name in "ab"]
        for job in jobs:
            with pytest.raises(Problem, match=r"within 0\.05 s") as caught:
                await job
            assert (caught.value.kind, caught.value.headers["Retry-After"]) == ("busy", "1")
        assert now.value("clothseg_queue_depth") == 0

    run(steps, deadline=0.05)


def test_a_model_that_cannot_be_loaded_ends_the_server(run):
    async def named(now):
        await until(lambda: now.num_failures)
        assert str(now.pool.failure) == "Model not found"

    run(named, failures=[ModelError("Model not found")])

    async def unexplained(now):
        await until(lambda: now.num_failures)
        assert not now.failures, "the third attempt is the last one"

    run(unexplained, failures=[WorkerLostError("ended")] * 3)

    async def at_last(now):
        await until(lambda: now.pool.ready)
        assert not now.num_failures

    run(at_last, failures=[WorkerLostError("ended"), *[OSError("no memory")] * 1100])  # as in some hours


def test_without_a_ready_worker_the_server_is_not_ready(run):
    async def readiness(now):
        try:
            return json.loads((await Routes(now.pool, Limits(), now.metrics).readiness()).body)
        except Problem as problem:
            return problem.kind

    async def steps(now):
        with pytest.raises(Problem, match="No worker is ready") as caught:
            now.pool.check_capacity()
        assert (caught.value.kind, caught.value.headers["Retry-After"]) == ("starting", "2")
        with pytest.raises(Problem, match="loaded the model"):
            await Routes(now.pool, Limits(), now.metrics).model()
        assert await readiness(now) == "starting"
        await until(lambda: now.pool.ready)
        assert await readiness(now) == {"status": "ready", "workers": 1}
        now.failures = [ModelError("deleted meanwhile")]
        before = now.worker
        await before.end()
        await until(lambda: not now.failures)
        assert await readiness(now) == "starting"
        with pytest.raises(Problem, match="No worker is ready"):
            now.pool.check_capacity()
        await until(lambda: now.pool.ready)
        assert not now.num_failures, "a server that has worked waits for its model to come back"
        now.pool.check_capacity()

    run(steps)


def test_a_pool_that_closes_answers_all_photos(run):
    async def steps(now):
        await until(lambda: now.pool.ready)
        jobs = [now.submit(name) for name in "ab"]
        await until(lambda: now.value("clothseg_queue_depth") == 1)
        await now.pool.close()
        for job in jobs:
            with pytest.raises(Problem, match="shutting down") as caught:
                await job
            assert caught.value.kind == "not-done"
        assert now.worker.ended.done()

    run(steps)
