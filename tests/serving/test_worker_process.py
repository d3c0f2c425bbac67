"""A real worker process: what it answers, and what is said of one that hangs, ends or cannot start."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from clothseg.errors import ModelError
from clothseg.serving import worker_process
from clothseg.serving.messages import Message
from clothseg.serving.worker_process import NotStartedError, WorkerLostError, WorkerProcess
from tests.conftest import HANG_SECONDS
from tests.serving.conftest import linux_only

SAMPLE = Message({"sample": True})


@linux_only
def test_a_worker_survives_the_signals_of_its_group_and_knows_no_key(model_path, monkeypatch):
    monkeypatch.setenv("CLOTHSEG_API_KEYS", "a-key-of-the-test")
    monkeypatch.delenv("OMP_NUM_THREADS")

    async def steps():
        worker = await WorkerProcess.start({"model": str(model_path)}, workers=1000)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C goes to the worker, too
                os.kill(worker.pid, number)
            answer = await worker.request(SAMPLE, seconds=HANG_SECONDS)
            assert answer.body.startswith(b"\xff\xd8")
            environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
            assert b"a-key-of-the-test" not in environment
            assert b"OMP_NUM_THREADS=1\0" in environment, "its share of the cores"
            os.kill(worker.pid, signal.SIGSTOP)
            with pytest.raises(WorkerLostError, match=r"more than 0\.05 s"):
                await worker.request(SAMPLE, seconds=0.05)
            os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(NotStartedError, match="ended before it started"):
                await worker.request(SAMPLE, seconds=HANG_SECONDS)
        finally:
            await worker.end()
        assert worker.ended.done()

    asyncio.run(steps())


def test_a_worker_that_cannot_start_says_why(tmp_path, monkeypatch):
    async def start(model):
        await WorkerProcess.start({"model": str(model)}, workers=1)

    with pytest.raises(ModelError, match=r"none\.onnx"):
        asyncio.run(start(tmp_path / "none.onnx"))
    with monkeypatch.context() as patch:
        patch.setattr(worker_process, "START_SECONDS", 0.01)
        with pytest.raises(WorkerLostError, match="did not load its model within"):
            asyncio.run(start(tmp_path / "none.onnx"))
    monkeypatch.setattr(worker_process.sys, "executable", "/bin/false")
    with pytest.raises(WorkerLostError, match=r"before it was ready \(exit code 1\)"):
        asyncio.run(start(tmp_path / "none.onnx"))
