"""Takes a multipart/form-data body apart as it comes in, in memory, and keeps one field of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from clothseg.serving.errors import Problem

_MOST_PARTS = 16
_LONGEST_HEADERS = 8_000  # bytes of all headers of one part


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a content type names.

    Raises:
        Problem: it names none.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise Problem("broken-request", "The content type multipart/form-data names no boundary; HTTP clients add it")
    return boundary


class FormReader:
    """Keeps the content and the file name of one field; other fields are passed over.

    Args:
        boundary: what stands between the parts.
        field: name of the field to keep.
    """

    def __init__(self, boundary: bytes, field: str) -> None:
        self.content = bytearray()
        """What the field held."""
        self.file = ""
        """The file name it came with."""
        self._field = field.encode()
        self._num_found = 0
        self._num_parts = 0
        self._is_whole = False
        self._is_kept = False
        self._headers: list[tuple[bytearray, bytearray]] = []
        callbacks: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._begin_part,
            "on_part_data": self._take_data,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._take_header(0, data[start:end]),
            "on_header_value": lambda data, start, end: self._take_header(1, data[start:end]),
            "on_headers_finished": self._look_at_headers,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise _broken(error) from error

    def feed(self, chunk: bytes) -> None:
        """Take the next part of the body.

        Raises:
            Problem: it is no multipart body, or has too many parts.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(error) from error

    def finish(self) -> None:
        """Say that the body is complete.

        Raises:
            Problem: it broke off, or it does not have the field exactly once.
        """
        if not self._is_whole:
            raise Problem("broken-request", "The multipart body breaks off before its last boundary. Send it again")
        if self._num_found != 1:
            raise Problem(
                "wrong-parameter",
                f"The form has {self._num_found} fields called {self._field.decode()!r}. Send one photo in one field",
            )

    def _begin_part(self) -> None:
        self._num_parts += 1
        if self._num_parts > _MOST_PARTS:
            raise Problem("wrong-parameter", f"The form has more than {_MOST_PARTS} fields. Send the photo only")
        self._headers, self._is_kept = [], False

    def _begin_header(self) -> None:
        self._headers.append((bytearray(), bytearray()))

    def _take_header(self, place: int, data: bytes) -> None:
        self._headers[-1][place].extend(data)
        if sum(len(name) + len(value) for name, value in self._headers) > _LONGEST_HEADERS:
            raise Problem("broken-request", f"A field of the form has more than {_LONGEST_HEADERS} bytes of headers")

    def _look_at_headers(self) -> None:
        headers = {bytes(name).lower(): bytes(value) for name, value in self._headers}
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        self._is_kept = options.get(b"name") == self._field
        if self._is_kept:
            self._num_found += 1
            self.file = options.get(b"filename", b"").decode("utf-8", "replace")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_kept:
            self.content += data[start:end]

    def _end(self) -> None:
        self._is_whole = True


def _broken(error: FormParserError) -> Problem:
    return Problem(
        "broken-request", f"This is no multipart/form-data body ({error}). HTTP clients make one from a form"
    )
