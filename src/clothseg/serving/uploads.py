"""Uploads: a photo as the request's body or as a field of a form, in memory only, within limits of bytes and time."""

from __future__ import annotations

import asyncio
import contextlib
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, FormParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from clothseg.serving.errors import Problem
from clothseg.serving.limits import MIN_BYTES_PER_SECOND, Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.parameters import Options

FIELDS = ("photo", "file")
"""Names of the form field with the photo; the first is the documented one."""

MAX_BATCH = 16
"""Photos that one request may send."""

_MAX_FORM_OVERHEAD = 64_000  # bytes of a form beside the photo
_MAX_NAME_LENGTH = 255
_MAX_PARTS = 16 + MAX_BATCH


@dataclass(frozen=True)
class Upload:
    """A photo as it was sent."""

    content: bytes = field(repr=False)
    file: str = ""
    """Name of the file without folders; empty where none was sent."""


class UploadBudget:
    """Limits how many uploads and how many bytes of photos are in memory at the same time."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._num_bytes = 0
        self._num_uploads = 0
        metrics.held_bytes.set_function(lambda: self._num_bytes)

    @contextlib.contextmanager
    def upload(self) -> Iterator[Callable[[int], None]]:
        """Count an upload for as long as the block runs, and give the function that counts its bytes.

        Raises:
            Problem: there are too many uploads, or from the function: too many bytes.
        """
        if self._num_uploads >= self._limits.max_uploads:
            raise Problem("busy", f"{self._num_uploads} photos are being uploaded. Ask again later", retry_after=2)
        own_bytes = 0

        def reserve(count: int) -> None:
            nonlocal own_bytes
            if self._num_bytes + count > self._limits.max_held_bytes:
                raise Problem("busy", "Too many large photos are being worked on. Ask again later", retry_after=2)
            own_bytes += count
            self._num_bytes += count

        self._num_uploads += 1
        try:
            yield reserve
        finally:
            self._num_uploads -= 1
            self._num_bytes -= own_bytes


async def read_photos(
    request: Request, limits: Limits, reserve: Callable[[int], None], *, max_photos: int = 1
) -> list[Upload]:
    """Read the body of a request: a photo, or a form with one or more.

    Args:
        request: nothing of its body has been read.
        limits: how large and how slow it may be.
        reserve: called with the length of each part of the body; see `UploadBudget.upload`.
        max_photos: how many photos the form may have; together they may be as large as `limits.max_batch_bytes`.

    Raises:
        Problem: the body is too large, too slow, not a photo's content type, or not what its headers say.
        ClientDisconnect: the client has disconnected.
    """
    content_type = request.headers.get("content-type", "")
    is_form = _check_headers(content_type, request.headers)
    max_bytes = limits.max_bytes if max_photos == 1 else limits.max_batch_bytes
    max_length = max_bytes + (_MAX_FORM_OVERHEAD if is_form else 0)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > max_length:
        raise _too_many_bytes(max_bytes)
    form = FormReader(content_type, max_photos) if is_form else None
    body = bytearray()
    received = 0
    async for chunk in _chunks(request, limits):
        received += len(chunk)
        if received > max_length:
            raise _too_many_bytes(max_bytes)
        reserve(len(chunk))
        if form is None:
            body += chunk
        else:
            form.feed(chunk)
    photos = [Upload(bytes(body))] if form is None else form.finish()
    for photo in photos:
        if len(photo.content) > limits.max_bytes:
            raise _too_many_bytes(limits.max_bytes)
    return photos


def _check_headers(content_type: str, headers: Mapping[str, str]) -> bool:
    """Refuse a body that is neither a photo nor a form, and return whether it is a form."""
    media_type = content_type.partition(";")[0].strip().lower()
    is_form = media_type == "multipart/form-data"
    if not is_form and not (media_type.startswith("image/") or media_type in ("", "application/octet-stream")):
        raise Problem(
            "unsupported-type",
            f"The content type is {media_type[:100]!r}. Send the photo itself with its own type, such as image/jpeg, "
            f"or as the field {FIELDS[0]!r} of multipart/form-data",
        )
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):  # photos are compressed already; a compressed body could be a ZIP bomb
        raise Problem("unsupported-type", f"The content encoding is {encoding[:50]!r}. Send the photo as it is")
    return is_form


def _too_many_bytes(max_bytes: int) -> Problem:
    return Problem("too-many-bytes", f"At most {max_bytes:,} bytes are accepted. Send a smaller photo")


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as it arrives, and refuse it when it is slower than the limits allow."""
    start, received = time.monotonic(), 0
    while True:
        left = start + limits.upload_grace + received / MIN_BYTES_PER_SECOND - time.monotonic()
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


class FormReader:
    """Reads the photos of a multipart/form-data body as it arrives, and ignores other fields.

    Starlette's own form parser writes photos to temporary files, decodes a photo that was sent without a file name as
    text, and does not notice a body that breaks off.

    Raises:
        Problem: the content type has no boundary.
    """

    def __init__(self, content_type: str, max_photos: int = 1) -> None:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise Problem(
                "broken-request", "The content type multipart/form-data names no boundary; HTTP clients add it"
            )
        self.photos: list[Upload] = []
        """The fields called as one of `FIELDS`, complete ones only."""
        self._max_photos = max_photos
        self._num_parts = 0
        self._is_complete = False
        with _form_errors():
            self._parser = FormParser(
                "multipart/form-data",
                on_field=self._add,
                on_file=self._add,
                on_end=self._end,
                boundary=boundary,
                config={"MAX_MEMORY_FILE_SIZE": None},  # never in a file
            )

    def feed(self, chunk: bytes) -> None:
        """Read the next part of the body.

        Raises:
            Problem: it is no multipart body, or has too many fields.
        """
        with _form_errors():
            self._parser.write(chunk)

    def finish(self) -> list[Upload]:
        """Return the photos of a complete body.

        Raises:
            Problem: it breaks off, or has no photo or too many.
        """
        if not self._is_complete:
            raise Problem("broken-request", "The multipart body breaks off before its last boundary. Send it again")
        if not 1 <= len(self.photos) <= self._max_photos:
            allowed = "Send one photo in one field" if self._max_photos == 1 else f"Send 1 to {self._max_photos} photos"
            raise Problem("wrong-parameter", f"The form has {len(self.photos)} fields called {FIELDS[0]!r}. {allowed}")
        return self.photos

    def _add(self, part: Field | File) -> None:
        self._num_parts += 1
        if self._num_parts > _MAX_PARTS:
            raise Problem("wrong-parameter", f"The form has more than {_MAX_PARTS} fields. Send the photo only")
        field_name = (part.field_name or b"").decode("utf-8", "replace")
        if field_name in Options.model_fields:
            raise Problem(
                "wrong-parameter", f"{field_name} is a field of the form. Write it into the address: ?{field_name}=…"
            )
        if field_name not in FIELDS:
            return
        if isinstance(part, Field):
            self.photos.append(Upload(part.value or b""))
            return
        part.file_object.seek(0)
        name = safe_name((part.file_name or b"").decode("utf-8", "replace"))
        self.photos.append(Upload(part.file_object.read(), name))

    def _end(self) -> None:
        self._is_complete = True


@contextlib.contextmanager
def _form_errors() -> Iterator[None]:
    try:
        yield
    except FormParserError as error:
        raise Problem(
            "broken-request", f"This is no multipart/form-data body ({error}). HTTP clients make one from a form"
        ) from error


def safe_name(name: str) -> str:
    r"""Return a file name without folders and invisible characters; it is only displayed, never opened.

    >>> safe_name("../../etc/passwd"), safe_name("C:\\photos\\a b.jpg"), safe_name(".."), safe_name("a\n.jpg")
    ('passwd', 'a b.jpg', '', 'a.jpg')
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    visible = "".join(one for one in last if not unicodedata.category(one).startswith("C"))
    name = visible.strip()[:_MAX_NAME_LENGTH].strip()
    return "" if name in (".", "..") else name
