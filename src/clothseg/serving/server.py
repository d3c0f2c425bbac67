"""The server: a socket, uvicorn on it, and an orderly end."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import uvicorn

from clothseg.errors import MachineError, SettingError
from clothseg.serving.app import Access, build_app
from clothseg.serving.limits import Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Pool
from clothseg.serving.protocol import ImpatientProtocol
from clothseg.serving.worker_process import ModelChoice

_IDLE_SECONDS = 15
_LARGEST_HEAD = 16_384  # bytes of a request line with its headers


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
        way_out = "Pass another --port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "Pass another --host"
        raise MachineError(f"Cannot listen on {host} port {port}: {error.strerror}. {way_out}") from error


def address_of(listener: socket.socket) -> str:
    """Return the address under which a socket can be reached, as it is typed into a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is served, and how."""

    choice: ModelChoice
    workers: int
    limits: Limits
    access: Access


def run(plan: Plan, listener: socket.socket, *, when_ready: Callable[[str, str], None]) -> None:
    """Serve until a signal comes, finish what was accepted, and hand the signal on.

    Args:
        plan: what is served.
        listener: the socket.
        when_ready: called with the model's origin and its runtime once the first worker has it.

    Raises:
        ClothsegError: the model cannot be loaded.
    """
    limits, metrics = plan.limits, Metrics()

    def stop() -> None:
        server.should_exit = True

    pool = Pool(plan.choice, workers=plan.workers, limits=limits, metrics=metrics, give_up=stop, when_ready=when_ready)
    config = uvicorn.Config(
        build_app(pool, limits=limits, access=plan.access, metrics=metrics),
        http=partial(ImpatientProtocol, head_seconds=limits.upload_grace),  # type: ignore[arg-type]
        loop="asyncio",  # also where uvloop is installed: what is tested is what runs
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
        timeout_keep_alive=_IDLE_SECONDS,
        # The rest is for connections that are idle, and for questions that need no worker.
        limit_concurrency=limits.max_uploads + 256,
        # What was accepted may still be on its way in, then wait, then be worked on.
        timeout_graceful_shutdown=round(2 * limits.upload_grace + 2 * limits.deadline),
    )
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    if pool.failure is not None:
        raise pool.failure
