"""A real `clothseg serve` in a process of its own, on a free port of 127.0.0.1, and raw connections to it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.conftest import HANG_SECONDS

JPEG = {"Content-Type": "image/jpeg"}


class RunningServer:
    """Started and ready inside the block; nothing of it outlives the block.

    Args:
        arguments: flags beside --port.
        environment: variables beside the present ones.
        program: what runs the command line; this Python and our package if empty.
    """

    def __init__(self, *arguments, environment=None, program=(), cwd=None):
        self._arguments = [str(one) for one in arguments]
        self._environment = os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {})
        self._program = program or (sys.executable, "-m", "clothseg.cli")
        self._cwd = cwd

    def __enter__(self):
        self._messages = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [*self._program, "serve", "--port", "0", *self._arguments],
            env=self._environment,
            cwd=self._cwd,
            stdout=subprocess.PIPE,
            stderr=self._messages,
            text=True,
            start_new_session=True,
        )
        self.pid = self._process.pid
        try:
            self.address = self._process.stdout.readline().strip()
            assert self.address.startswith("http://"), self.messages()
            self.wait_until(self.is_ready)
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind, *_):
        if kind is None and self._process.poll() is None:
            self.signal(signal.SIGTERM)
            self.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()
        self._messages.close()

    def client(self, **options):
        return httpx.Client(base_url=self.address, timeout=HANG_SECONDS, trust_env=False, **options)

    def connected(self):
        """Return a raw connection."""
        host, _, port = self.address.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=HANG_SECONDS)

    def post(self, photo):
        with self.client() as client:
            return client.post("/v1/segment?output=mask", content=photo, headers=JPEG)

    def is_ready(self):
        with contextlib.suppress(httpx.TransportError), self.client() as client:
            return client.get("/readyz").status_code == 200
        return False

    def wait_until(self, condition):
        """Wait for a condition; a server that ended meanwhile says why."""
        end = time.monotonic() + HANG_SECONDS
        while not condition():
            assert self._process.poll() is None, f"the server ended: {self.messages()}"
            assert time.monotonic() < end, f"not within {HANG_SECONDS} s: {self.messages()}"
            time.sleep(0.02)

    def metric(self, name):
        """The value of a metric without labels, or with those in the name."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)

    def workers(self):
        """The process ids of the workers."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(OSError):  # threads and processes end meanwhile
                for pid in (task / "children").read_text().split():
                    if b"clothseg.serving.worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        found.append(int(pid))
        return found

    def kilobytes(self):
        """Memory of the server and its workers."""
        total = 0
        for pid in (self.pid, *self.workers()):
            status = Path(f"/proc/{pid}/status").read_text()
            total += next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return total

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self):
        return self._process.wait(HANG_SECONDS)

    def messages(self):
        self._messages.seek(0)
        return self._messages.read()


def head_of(photo, length=None, more=""):
    """Return the head of a request with a photo, as bytes.

    Args:
        length: what the head says, if not the photo's own length.
        more: further header lines, each with its line end.
    """
    length = len(photo) if length is None else length
    lines = f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n"
    return f"{lines}{more}\r\n".encode()


def read_all(connection):
    """Return all that the server says; a client that still sends after the server has closed is reset later."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        if not received:
            raise
    return received


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
