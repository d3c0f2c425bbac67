"""One worker process as the server sees it: started, asked, and ended, without holding up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clothseg.cores import available_cores
from clothseg.errors import ClothsegError, InputError, MachineError, ModelError, SettingError
from clothseg.serving import messages
from clothseg.serving.keys import KEYS_VARIABLE
from clothseg.serving.messages import Message

START_SECONDS = 120.0
"""How long a worker may take to load its model; a large checkpoint on a cold disk takes a while."""

_BUFFERED = 2**20  # bytes of an answer that are read ahead; the default of 64 kB takes many more turns of the loop
_ERRORS: Mapping[int, type[ClothsegError]] = {2: SettingError, 3: InputError, 4: ModelError, 5: MachineError}


class WorkerLostError(MachineError):
    """A worker process that ended, or had to be ended."""


class NotBegunError(WorkerLostError):
    """A worker process that ended before it had the whole question, which another worker can answer."""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model a worker loads and what runs it, as `prediction.predictor.load` takes it."""

    model: str | None = None
    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    checkpoints_path: str = "checkpoints"


class WorkerProcess:
    """A process that is ready to be asked, one question at a time.

    Args:
        process: it runs `clothseg.serving.worker`.
        introduction: what it says of its model.
    """

    def __init__(self, process: Process, introduction: Mapping[str, Any]) -> None:
        self._process = process
        self.introduction = introduction
        self.ended = asyncio.ensure_future(process.wait())
        """Done when the process is gone."""

    @classmethod
    async def start(cls, choice: ModelChoice, *, workers: int) -> WorkerProcess:
        """Start a process and wait until its model is loaded.

        Args:
            choice: what it loads.
            workers: how many there are; they share the cores.

        Raises:
            ClothsegError: what `load` raises.
            WorkerLostError: the process ended without a word, or took too long.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a file of the present folder must not stand in for a module
            "-m",
            "clothseg.serving.worker",
            json.dumps(vars(choice)),
            stdin=PIPE,
            stdout=PIPE,
            limit=_BUFFERED,
            env=_environment(workers),
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(START_SECONDS):
                first = (await messages.receive(process.stdout)).header
            if "ready" not in first:
                raise _ERRORS.get(first["exit_code"], MachineError)(first["failed"])
            return cls(process, first["ready"])
        except TimeoutError as error:
            await _kill(process)
            raise WorkerLostError(f"A worker did not load its model within {START_SECONDS:.0f} s") from error
        except asyncio.IncompleteReadError as error:
            code = await process.wait()
            raise WorkerLostError(f"A worker ended before it was ready (exit code {code}); see its messages") from error
        except BaseException:
            await _kill(process)
            raise

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    async def ask(self, question: Message, *, seconds: float) -> Message:
        """Send a question and return the answer.

        Raises:
            NotBegunError: the process ended before it had the question.
            WorkerLostError: the process died of it, or took longer than `seconds`; either way it is of no more use.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        has_begun = False
        try:
            async with asyncio.timeout(seconds):
                await messages.send(self._process.stdin, question)
                await messages.receive(self._process.stdout)  # that it has begun
                has_begun = True
                return await messages.receive(self._process.stdout)
        except TimeoutError as error:
            raise WorkerLostError(f"The worker took more than {seconds:g} s for this photo and was ended") from error
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not has_begun:
                raise NotBegunError("The worker process ended before it began with this photo") from error
            raise WorkerLostError("The worker process ended while it worked on this photo") from error

    async def end(self) -> None:
        """End the process, whatever it is doing, and wait until it is gone."""
        await _kill(self._process)
        await self.ended


async def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _environment(workers: int) -> dict[str, str]:
    """Return the environment of a worker: its share of the cores, and nothing it need not know."""
    environment = {name: value for name, value in os.environ.items() if name != KEYS_VARIABLE}
    if workers > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // workers)))
    # Without this, glibc keeps freed photos in an arena for each thread: memory grows for long after the start.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    return environment
