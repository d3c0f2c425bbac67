"""How a photo gets in: a raw body or a multipart field, in memory only, within limits of bytes and time."""

from __future__ import annotations

import asyncio
import time
import unicodedata
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from starlette.requests import ClientDisconnect, Request

from clothseg.serving.errors import Problem
from clothseg.serving.limits import LOWEST_RATE, Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.multipart import FormReader, boundary_of

FIELD = "photo"
"""Name of the multipart field that holds the photo."""

_FORM_SURPLUS = 64_000  # bytes of a multipart body beside the photo
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Upload:
    """A photo as it was sent."""

    content: bytes = field(repr=False)
    file: str = ""
    """Name of the file without folders; empty where none was sent."""


class Memory:
    """Counts uploads and the bytes of photos that are held, so that many together cannot take it all.

    Args:
        limits: how many uploads and bytes there may be at once.
        metrics: told how many bytes there are.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._held = 0
        self._num_uploads = 0

    def open(self) -> None:
        """Count an upload in.

        Raises:
            Problem: there are too many.
        """
        if self._num_uploads >= self._limits.max_uploads:
            raise Problem(
                "busy", f"{self._num_uploads} photos are on their way already. Ask again later", retry_after=2
            )
        self._num_uploads += 1

    def close(self) -> None:
        """Count an upload out."""
        self._num_uploads -= 1

    def take(self, count: int) -> None:
        """Count bytes in.

        Raises:
            Problem: there is no room for them.
        """
        if self._held + count > self._limits.max_held_bytes:
            raise Problem("busy", "Too many large photos are being worked on. Ask again later", retry_after=2)
        self._held += count
        self._metrics.held_bytes.set(self._held)

    def give_back(self, count: int) -> None:
        """Count bytes out."""
        self._held -= count
        self._metrics.held_bytes.set(self._held)


class Lease:
    """What one request holds; given back when it ends, however it ends."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._count = 0

    def __enter__(self) -> Self:
        self._memory.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._memory.give_back(self._count)
        self._memory.close()

    def take(self, count: int) -> None:
        """Hold more bytes, or raise what `Memory.take` raises."""
        self._memory.take(count)
        self._count += count


class _Reader(Protocol):
    """Takes a body apart as it comes in."""

    def feed(self, chunk: bytes) -> None: ...

    def finish(self) -> Upload: ...


async def read_photo(request: Request, limits: Limits, lease: Lease) -> Upload:
    """Read the body of a request.

    Args:
        request: nothing of its body has been read.
        limits: how large it may be, and how slow.
        lease: counts its bytes.

    Raises:
        Problem: it is too large, too slow, not a photo's content type, or not what its headers say.
        ClientDisconnect: the client has gone.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    is_form = media_type == "multipart/form-data"
    if not is_form and not (media_type.startswith("image/") or media_type in ("", "application/octet-stream")):
        raise Problem(
            "unsupported-type",
            f"The content type is {media_type[:100]!r}. Send the photo itself with its own type, such as image/jpeg, "
            f"or as the field {FIELD!r} of multipart/form-data",
        )
    _check_encoding(request.headers)
    most = limits.max_bytes + (_FORM_SURPLUS if is_form else 0)
    _check_length(request.headers, most, limits)
    reader: _Reader = _FormUpload(content_type, limits) if is_form else _RawUpload(limits)
    received = 0
    async for chunk in _chunks(request, limits):
        received += len(chunk)
        if received > most:
            raise _too_many_bytes(limits)
        lease.take(len(chunk))
        reader.feed(chunk)
    upload = reader.finish()
    if not upload.content:
        raise Problem("unreadable-photo", "The photo is empty (0 bytes). Send a photo")
    return upload


def _check_encoding(headers: Mapping[str, str]) -> None:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):  # photos are compressed already; unpacking them would invite bombs
        raise Problem("unsupported-type", f"The content encoding is {encoding[:50]!r}. Send the photo as it is")


def _check_length(headers: Mapping[str, str], most: int, limits: Limits) -> None:
    """Refuse a body from its head where the head tells its length."""
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_many_bytes(limits)


def _too_many_bytes(limits: Limits) -> Problem:
    return Problem("too-many-bytes", f"At most {limits.max_bytes:,} bytes are taken. Send a smaller photo")


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as it comes in, and give up on a client that only drips."""
    start, received = time.monotonic(), 0
    while True:
        left = start + limits.upload_grace + received / LOWEST_RATE - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, left)):
                message: Any = await request.receive()
        except TimeoutError:
            raise Problem(
                "slow-upload",
                f"{received:,} bytes came in {time.monotonic() - start:.0f} s. Send the photo faster, or a smaller one",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if message.get("body"):
            received += len(message["body"])
            yield message["body"]
        if not message.get("more_body", False):
            return


class _RawUpload:
    """A body that is the photo."""

    def __init__(self, limits: Limits) -> None:
        self._content = bytearray()

    def feed(self, chunk: bytes) -> None:
        self._content += chunk

    def finish(self) -> Upload:
        return Upload(bytes(self._content))


class _FormUpload:
    """A multipart body with the photo in one of its fields."""

    def __init__(self, content_type: str, limits: Limits) -> None:
        self._form = FormReader(boundary_of(content_type), FIELD)
        self._limits = limits

    def feed(self, chunk: bytes) -> None:
        self._form.feed(chunk)
        if len(self._form.content) > self._limits.max_bytes:
            raise _too_many_bytes(self._limits)

    def finish(self) -> Upload:
        self._form.finish()
        return Upload(bytes(self._form.content), safe_name(self._form.file))


def safe_name(name: str) -> str:
    r"""Return a file name without folders and without what is no visible character.

    It is only ever shown, never opened.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\photos\\a b.jpg"), safe_name(".."), safe_name("a\n.jpg")
    ('passwd', 'a b.jpg', '', 'a.jpg')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    visible = "".join(one for one in last if not unicodedata.category(one).startswith("C"))
    name = visible.strip()[:_LONGEST_NAME].strip()
    return "" if name in (".", "..") else name
