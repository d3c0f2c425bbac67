"""A stand-in for the Hugging Face hub on this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import huggingface_hub.constants
import pytest


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does: 404 with a code for what is not there, a commit and a checksum for what is."""

    files: dict[str, bytes]
    asked: list[str]
    refusals: dict[str, tuple[int, str]]
    """Start of a path → status and code, such as those of a gated repository."""
    cut: set[str]
    """Paths of which half is sent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = self.files.get(self.path)
        refusals = [answer for start, answer in self.refusals.items() if self.path.startswith(start)]
        status, code = refusals[0] if refusals else (404, "EntryNotFound")
        self.send_response(200 if content is not None and not refusals else status)
        if content is None or refusals:
            self.send_header("X-Error-Code", code)
            content = None
        else:
            self.send_header("X-Repo-Commit", "a" * 40)
            self.send_header("ETag", f'"{hashlib.sha256(self.path.encode()).hexdigest()}"')
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET" and content:
            self.wfile.write(content[: len(content) // 2] if self.path in self.cut else content)
            self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it
        pass


def use_endpoint(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the variable HF_ENDPOINT does when it is set before the start."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    """Serve an empty hub while the block lasts."""
    Hub.files, Hub.asked, Hub.refusals, Hub.cut = {}, [], {}, set()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        use_endpoint(f"http://127.0.0.1:{server.server_address[1]}", monkeypatch)
        yield Hub
        server.shutdown()
        thread.join()
