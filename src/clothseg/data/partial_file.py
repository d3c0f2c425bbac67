"""The bytes of a file that is still being fetched, with a note saying which version of it they belong to."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import BinaryIO

from clothseg.data.locks import alone
from clothseg.pictures import write_whole


@dataclass(frozen=True)
class Version:
    """What a server says about the file it sends, so that a later request can ask for the rest of the same one."""

    address: str
    etag: str | None
    last_modified: str | None
    length: int | None
    """Bytes of the whole file, or None where the server does not say."""

    @classmethod
    def from_headers(cls, address: str, headers: HTTPMessage) -> Version:
        """Read the headers of an answer with status 200."""
        length = headers.get("Content-Length", "")
        is_counted = length.isdecimal() and "Transfer-Encoding" not in headers
        return cls(address, headers.get("ETag"), headers.get("Last-Modified"), int(length) if is_counted else None)

    @property
    def validator(self) -> str | None:
        """The value for If-Range. A weak ETag is not allowed there: two files of one weak ETag may differ in bytes.

        Source: RFC 9110, section 13.1.5.
        """
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class PartialFile:
    """`NAME.part` and its note `NAME.part.json`, both beside the file they become."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs from the file, and leave no empty one behind.

        Raises:
            MachineError: another run is fetching it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        with alone(self.path):
            try:
                yield
            finally:
                if self.path.is_file() and not self.size:
                    self.discard()
                    self.path.unlink()

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def resumable(self, address: str) -> Version | None:
        """Return which version of the file at `address` the bytes belong to, or None where they are of no use."""
        try:
            version = Version(**json.loads(self._note.read_bytes()))
            is_usable = version.address == address and version.validator is not None
            return version if is_usable and version.length is not None and 0 < self.size <= version.length else None
        except (OSError, ValueError, TypeError, AttributeError):  # not there, or not written by us
            return None

    def start(self, version: Version) -> None:
        """Throw away what there is and begin with no bytes of `version`."""
        self.discard()  # first: bytes must never stand beside another version's note
        write_whole(self._note, json.dumps(asdict(version), indent=1).encode() + b"\n")

    def open_at(self, offset: int) -> BinaryIO:
        """Open the file to write from `offset` on."""
        stream = self.path.open("r+b")
        stream.seek(offset)
        return stream

    def discard(self) -> None:
        """Throw away the bytes and the note; the file stays, since `held` holds it."""
        self.path.write_bytes(b"")
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its final name, once the disk has all of it."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
