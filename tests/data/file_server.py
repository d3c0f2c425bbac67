"""A web server of one folder on this machine, which can lose, cut and delay what it is asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class FileServer(ThreadingHTTPServer):
    """Serves `folder` and counts what is asked for."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
        self.asked: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """How many of the next requests for a name are answered with 503."""
        self.cut: Counter[str] = Counter()
        """How many of the next answers for a name end half way."""
        self.changed: Counter[str] = Counter()
        """How many of the next answers for a name have the right length and a wrong last byte."""
        self.delay = 0.0

    @property
    def address(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(SimpleHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked[name] += 1
        time.sleep(self.server.delay)
        if self.server.failures[name] > 0:
            self.server.failures[name] -= 1
            self.send_error(503)
        elif self.server.cut[name] > 0 or self.server.changed[name] > 0:
            kind = self.server.cut if self.server.cut[name] > 0 else self.server.changed
            kind[name] -= 1
            content = Path(self.directory, name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if kind is self.server.cut else content[:-1] + b"x")
            self.close_connection = True
        else:
            super().do_GET()

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
