"""A worker process as the server sees it: started, used and ended without blocking the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping
from typing import Any

from clothseg.cores import available_cores
from clothseg.errors import MachineError, unpack_error
from clothseg.serving import messages
from clothseg.serving.limits import KEYS_VARIABLE
from clothseg.serving.messages import Message

START_SECONDS = 120.0
"""How long a worker may take to load its model; a large checkpoint on a cold disk takes a while."""

_BUFFER_BYTES = 2**20  # of a reply that are read ahead; with the default of 64 kB the event loop wakes more often


class WorkerLostError(MachineError):
    """A worker process that ended, or had to be ended."""


class NotStartedError(WorkerLostError):
    """A worker process that ended before it started on the message, which another worker can have."""


class WorkerProcess:
    """A process of `clothseg.serving.worker` that has loaded its model and takes one message at a time."""

    def __init__(self, process: Process, model_info: Mapping[str, Any]) -> None:
        self._process = process
        self.model_info = model_info
        self.ended = asyncio.ensure_future(process.wait())
        """Done when the process has ended."""

    @classmethod
    async def start(cls, load_options: Mapping[str, str | None], *, workers: int) -> WorkerProcess:
        """Start one of `workers` processes, which share the cores, and wait until its model is loaded.

        Raises:
            ClothsegError: what `load` raises.
            WorkerLostError: the process ended without a message, or took too long.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # a file of the current folder must not replace a module
            "-m",
            "clothseg.serving.worker",
            json.dumps(load_options),
            stdin=PIPE,
            stdout=PIPE,
            limit=_BUFFER_BYTES,
            env=_environment(workers),
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(START_SECONDS):
                first = (await messages.receive(process.stdout)).header
            if "ready" not in first:
                raise unpack_error(first["failed"])
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
        """Id of the process."""
        return self._process.pid

    async def request(self, message: Message, *, seconds: float) -> Message:
        """Send a message and return the reply; after an error the process cannot be used any more.

        Raises:
            NotStartedError: the process ended before it started on the message.
            WorkerLostError: the process ended while it worked on the message, or took longer than `seconds`.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        has_started = False
        try:
            async with asyncio.timeout(seconds):
                self._process.stdin.writelines(message.parts)
                await self._process.stdin.drain()
                await messages.receive(self._process.stdout)  # reports that it has started
                has_started = True
                return await messages.receive(self._process.stdout)
        except TimeoutError as error:
            raise WorkerLostError(f"The worker took more than {seconds:g} s for this photo and was ended") from error
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not has_started:
                raise NotStartedError("The worker process ended before it started on this photo") from error
            raise WorkerLostError("The worker process ended while it worked on this photo") from error

    async def end(self) -> None:
        """Kill the process and wait until it has ended."""
        await _kill(self._process)
        await self.ended


async def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


def _environment(workers: int) -> dict[str, str]:
    """Return the environment of a worker: its share of the cores, and no API keys."""
    environment = {name: value for name, value in os.environ.items() if name != KEYS_VARIABLE}
    if workers > 1:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, available_cores() // workers)))
    # Without this, glibc does not return free memory of each thread's arena, and the process grows for a long time.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    return environment
