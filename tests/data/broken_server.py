"""An http server that does, one answer after the other, what servers and networks do wrong; and the files it has."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import random
import re
import ssl
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType

import pytest

from clothseg.data.download import fetch
from clothseg.data.http_client import RetryPolicy
from clothseg.errors import MachineError
from tests.conftest import HANG_SECONDS


@dataclass(frozen=True)
class Answer:
    """How one request is answered. The default is a good server: ranges, ETag, the right length."""

    content: bytes = b""
    status: int = 200
    etag: str | None = '"one"'
    last_modified: str | None = None
    content_type: str = "application/octet-stream"
    extra: Mapping[str, str] = field(default_factory=dict)
    """Headers added to the answer; they win."""
    knows_ranges: bool = True
    says_length: bool = True
    wrong_by: int = 0
    """Added to the Content-Length."""
    cut_after: int | None = None
    """Close the connection after this many bytes of the body."""
    stall_after: int | None = None
    """Send nothing more after this many bytes of the body, until the server is released or closed."""
    silent: bool = False
    """Take the request and send nothing, until the server is closed."""
    chunked: bool = False
    shifted_range: int = 0
    """Answer a range with the bytes this much further on."""


@dataclass(frozen=True)
class Request:
    """What the client asked."""

    path: str
    range: str | None
    if_range: str | None
    authorization: str | None = None


class BrokenServer:
    """Serves `answers` in their order, the last one for ever; a context manager.

    `requests` is what was asked; `answers` may be changed. `released` lets stalled answers send their rest. With a
    certificate it speaks https.
    """

    def __init__(self, *answers: Answer, certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.closing, self.released = threading.Event(), threading.Event()
        self.answers = list(answers)
        self._server = _QuietServer(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def next_answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def __enter__(self) -> BrokenServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _QuietServer(http.server.ThreadingHTTPServer):
    owner: BrokenServer
    daemon_threads = False  # server_close waits for them

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what these tests are about."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _QuietServer

    def log_message(self, *args: object) -> None:
        """Keep the output of the tests clean."""

    def do_GET(self) -> None:
        self.close_connection = True
        owner = self.server.owner
        names = ("Range", "If-Range", "Authorization")
        answer = owner.next_answer(Request(self.path, *(self.headers[name] for name in names)))
        if answer.silent:
            owner.closing.wait()
            return
        start = self._range_start(answer)
        body = answer.content[start or 0 :]
        self.send_response(answer.status if start is None else 206)
        for name, value in self._headers(answer, body, start).items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self._send_body(answer, body)

    def _range_start(self, answer: Answer) -> int | None:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        is_same = self.headers["If-Range"] in (answer.etag, answer.last_modified)
        if not asked or not answer.knows_ranges or not is_same or answer.status != 200:
            return None
        return int(asked[1]) + answer.shifted_range

    def _headers(self, answer: Answer, body: bytes, start: int | None) -> dict[str, str]:
        headers = {"Content-Type": answer.content_type, "Connection": "close"}
        if answer.etag:
            headers["ETag"] = answer.etag
        if answer.last_modified:
            headers["Last-Modified"] = answer.last_modified
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif answer.says_length:
            headers["Content-Length"] = str(len(body) + answer.wrong_by)
        if start is not None:
            total = len(answer.content)
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        return headers | dict(answer.extra)

    def _send_body(self, answer: Answer, body: bytes) -> None:
        ends = [end for end in (answer.cut_after, answer.stall_after) if end is not None]
        sent = body[: min(ends)] if ends else body
        if answer.chunked:
            self.wfile.write(f"{len(body):x}\r\n".encode() + sent)
            if not ends:
                self.wfile.write(b"\r\n0\r\n\r\n")
        else:
            self.wfile.write(sent)
        self.wfile.flush()
        if answer.stall_after is not None:
            self.server.owner.released.wait()
            if not self.server.owner.closing.is_set():
                self.wfile.write(body[len(sent) :])


ZIP = "images/train2020.zip"

JSON = "annotations/instances_attributes_train2020.json"

PAGE = b"<!DOCTYPE html><html><body>Please log in to the network</body></html>"

QUICK = RetryPolicy(
    timeout=HANG_SECONDS, slowest=1024, attempts=3, new_bytes=1 << 20, first_wait=0.01, longest_wait=0.05
)
"""Attempts that follow each other quickly; a server that answers has all the time it needs."""

IMPATIENT = replace(QUICK, timeout=0.1)
"""For servers that never answer: what they are given up after."""


def packed(seed: int = 1, num_bytes: int = 200_000) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(
                zipfile.ZipInfo(f"train/{number}.jpg"), random.Random(seed + number).randbytes(num_bytes // 4)
            )
    return buffer.getvalue()


CONTENT = packed()

ANNOTATIONS = json.dumps({"images": [{"file_name": 'a "quoted" \\ {name}.jpg'}], "annotations": []}).encode()


def leave_part(target: Path, server: BrokenServer) -> None:
    """Have a fetch break off, so that bytes and their note lie beside the target."""
    with pytest.raises(MachineError, match="bytes are kept"):
        fetch(server.address, ZIP, target, retries=QUICK)
    assert 0 < target.with_name("train2020.zip.part").stat().st_size < len(CONTENT)
    server.requests.clear()


def assert_whole(target: Path, content: bytes = CONTENT) -> None:
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == [target.name]
