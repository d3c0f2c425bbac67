"""Several photos in one request: segmented a few at a time, and answered as they get ready, as JSON lines or a ZIP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import zipfile
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from clothseg.serving.errors import Problem
from clothseg.serving.messages import Message

PROBLEMS_NAME = "problems.ndjson"
"""The file in a ZIP that says which photos could not be segmented, and why."""

Files = Sequence[tuple[str, bytes]]
"""What was made of a photo: names and contents."""

Answer = tuple[str, Files | Problem]
"""The photo's file name, and its files or the problem."""


class HoldingResponse(StreamingResponse):
    """A response whose photos count as held in memory until it is sent, or its client has disconnected."""

    def __init__(self, content: AsyncGenerator[bytes], media_type: str, held: contextlib.ExitStack) -> None:
        super().__init__(content, media_type=media_type, headers={"Cache-Control": "no-store"})
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; see the ASGI specification."""
        with self._held:
            await super().__call__(scope, receive, send)


def files_of(reply: Message) -> Files:
    """Return the files of a worker's reply; its body has one after the other."""
    stream = io.BytesIO(reply.body)
    return [(name, stream.read(length)) for name, length in reply.header["files"]]


def zip_of(files: Files) -> bytes:
    """Return a ZIP of files; stored, as pictures are compressed already."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


async def in_order(
    work: Sequence[tuple[str, Callable[[], Coroutine[Any, Any, Files]]]], *, at_once: int
) -> AsyncGenerator[Answer]:
    """Yield the answer for each photo in order; `at_once` are submitted at a time, and cancelled if nobody waits.

    `work` is the name of each photo, and what segments it.
    """
    left = deque(work)
    running: deque[tuple[str, asyncio.Task[Files]]] = deque()
    try:
        while left or running:
            while left and len(running) < at_once:
                name, start = left.popleft()
                running.append((name, asyncio.create_task(start())))
            name, task = running[0]
            try:
                answer: Answer = name, await task
            except Problem as problem:
                answer = name, problem
            running.popleft()
            yield answer
    finally:
        for _, task in running:
            task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)


async def ndjson(answers: AsyncGenerator[Answer]) -> AsyncGenerator[bytes]:
    """Yield a line for each photo: its results, or its name and the problem."""
    async with contextlib.aclosing(answers):
        async for name, answer in answers:
            yield _problem_line(name, answer) if isinstance(answer, Problem) else answer[0][1]


def _problem_line(name: str, problem: Problem) -> bytes:
    return f"{json.dumps({'file': name, 'problem': problem.to_dict()})}\n".encode()


async def zipped(answers: AsyncGenerator[Answer]) -> AsyncGenerator[bytes]:
    """Yield a ZIP as it grows: the files of each photo, stored, and the photos that failed in `PROBLEMS_NAME`."""
    written = _Written()
    problems = b""
    stems: Counter[str] = Counter()
    with zipfile.ZipFile(written, "w") as archive:
        async with contextlib.aclosing(answers):
            async for name, answer in answers:
                if isinstance(answer, Problem):
                    problems += _problem_line(name, answer)
                    continue
                stems[stem := Path(name).stem or "photo"] += 1
                folder = "" if stems[stem] == 1 else f"{stems[stem]}/"  # photos of one name
                for file, content in answer:
                    archive.writestr(zipfile.ZipInfo(f"{folder}{file}"), content)
                yield written.take()
        if problems:
            archive.writestr(zipfile.ZipInfo(PROBLEMS_NAME), problems)
    yield written.take()


class _Written(io.RawIOBase):
    """A stream that keeps what was written until it is taken, for `zipfile`, which does not seek in it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what was written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)
