"""A web server of one folder on this machine that sends parts of files, and can lose, cut and change what it sends."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer(ThreadingHTTPServer):
    """Serves `folder` and counts what is asked for."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.asked: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """How many of the next requests for a name are answered with 503."""
        self.cut: Counter[str] = Counter()
        """How many of the next answers for a name end half way."""
        self.changed: Counter[str] = Counter()
        """How many of the next answers for a name have the right length and a wrong last byte."""
        self.delay = 0.0
        self.sends_parts = True

    @property
    def address(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a client hangs up, such as a training that a test kills."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name, server = self.path.lstrip("/"), self.server
        server.asked[name] += 1
        time.sleep(server.delay)
        path = server.folder / name
        if server.failures[name] > 0 or not path.is_file():
            server.failures[name] -= 1
            self._answer(503 if path.is_file() else 404, b"")
            return
        content, status = path.read_bytes(), 200
        part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if part and server.sends_parts:
            content, status = content[int(part[1]) : int(part[2]) + 1], 206
            if not content:
                self._answer(416, b"")
                return
        if server.changed[name] > 0:
            server.changed[name] -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        length = len(content)
        if server.cut[name] > 0:
            server.cut[name] -= 1
            content = content[: length // 2]
        self._answer(status, content, length)

    def _answer(self, status: int, content: bytes, length: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = len(content) < length

    def log_message(self, *words: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """Serve `folder` while the block lasts."""
    server = FileServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
