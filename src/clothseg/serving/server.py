"""The server: a socket, uvicorn with time limits for slow clients, and a graceful shutdown."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from clothseg.errors import MachineError, SettingError
from clothseg.serving.app import build_app
from clothseg.serving.limits import MIN_BYTES_PER_SECOND, Keys, Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Pool

READ_CHECK_SECONDS = 15.0
"""How often the server checks how much of a response a slow client has read."""

_KEEP_ALIVE_SECONDS = 15
_MAX_HEAD_BYTES = 16_384  # of a request line with its headers


def listen(host: str, port: int) -> socket.socket:
    """Open the socket to listen on.

    Raises:
        MachineError: the port is taken, or may not be opened.
        SettingError: the host or the port does not exist.
    """
    if not 0 <= port <= 65535:
        raise SettingError(f"--port is {port}. Allowed: 0 to 65535; 0 takes any that is free")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except socket.gaierror as error:
        raise SettingError(f"--host is {host!r}, which is no address of this machine ({error.strerror})") from error
    except OSError as error:
        hint = "Pass another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "Pass another --host"
        raise MachineError(f"Cannot listen on {host} port {port}: {error.strerror}. {hint}") from error


def address_of(listener: socket.socket) -> str:
    """Return the URL of a socket, as it is typed into a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    listener: socket.socket,
    load_options: Mapping[str, str | None],
    *,
    workers: int,
    limits: Limits,
    keys: Keys,
    cors_origins: Sequence[str],
    on_ready: Callable[[str, str], None],
) -> None:
    """Serve until a signal comes, finish the accepted requests, and raise the signal again; see `Pool` and `build_app`.

    Raises:
        ClothsegError: the model cannot be loaded.
    """
    metrics = Metrics()

    def stop() -> None:
        server.should_exit = True

    pool = Pool(load_options, workers=workers, limits=limits, metrics=metrics, on_failure=stop, on_ready=on_ready)
    config = uvicorn.Config(
        build_app(pool, limits=limits, metrics=metrics, keys=keys, cors_origins=cors_origins),
        http=partial(TimeLimitedProtocol, head_seconds=limits.upload_grace),  # type: ignore[arg-type]
        loop="asyncio",  # also where uvloop is installed: the tests run with asyncio
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        # The rest is for idle connections, and for requests that need no worker.
        limit_concurrency=limits.max_uploads + 256,
        # An accepted photo may have to be uploaded, to wait, and to be segmented.
        timeout_graceful_shutdown=round(2 * limits.upload_grace + 2 * limits.deadline),
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if pool.failure is not None:
        raise pool.failure


class TimeLimitedProtocol(H11Protocol):
    """uvicorn's protocol with time limits for the head of a request and for reading a response.

    uvicorn itself limits only the time of connections that are idle after a response.

    Args:
        head_seconds: how long a client may take to send the head of a request, and to stop sending after an early
            response.
    """

    def __init__(self, *, head_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self._head_seconds = head_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the head of the first request."""
        super().connection_made(transport)
        self._set_head_timer(runs=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._read_timer):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Read data, which may complete a head or a request."""
        super().data_received(data)
        self._set_head_timer(runs=self.cycle is None or self.cycle.response_complete)

    def _set_head_timer(self, *, runs: bool) -> None:
        """Let the timer run while the server waits for a request, and stop it while it answers one."""
        if not runs and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif runs and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._head_seconds, self.transport.abort)

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn's own timer for idle connections runs, too."""
        super().on_response_complete()
        self._set_head_timer(runs=False)

    def pause_writing(self) -> None:
        """Start to check a client that reads more slowly than the server writes."""
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        self._read_timer = self.loop.call_later(READ_CHECK_SECONDS, self._check_reading)

    def resume_writing(self) -> None:
        """Stop to check it."""
        super().resume_writing()
        if self._read_timer is not None:
            self._read_timer.cancel()

    def _check_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if self._unread - unread < MIN_BYTES_PER_SECOND * READ_CHECK_SECONDS:
            self.transport.abort()
            return
        self._unread = unread
        self._read_timer = self.loop.call_later(READ_CHECK_SECONDS, self._check_reading)
