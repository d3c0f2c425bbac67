"""The Ray cluster: joined or started; how many copies of a model run on it, and the first one loaded."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clothseg.cluster.worker import LoadedModel, RunOptions, describe_model
from clothseg.errors import MachineError, SettingError, one_line, require, unpack_error
from clothseg.progress import Printer

WAIT_SECONDS = 20.0
"""After so many seconds without a free slot, the command says that it waits for one."""


@dataclass(frozen=True)
class Slots:
    """CPUs or GPUs for copies of the model."""

    count: int
    num_gpus: int
    """GPUs of each copy, 0 or 1; each has one CPU in any case."""

    @property
    def resources(self) -> dict[str, int]:
        """What Ray reserves for each copy."""
        return {"num_cpus": 1, "num_gpus": self.num_gpus}

    @property
    def in_words(self) -> str:
        """Their number and kind."""
        kind = "GPU" if self.num_gpus else "CPU slot"
        return f"{self.count} {kind}{'' if self.count == 1 else 's'}"


def set_environment() -> None:
    """Set the environment variables that Ray reads when it is imported, unless they are set already."""
    # Under `uv run`, Ray would send the whole folder to every machine and start each worker in a new environment.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here sends no statistics
    # Ray prints a page to stdout, where the paths are, for each worker that died. The command prints one line instead.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # the command prints its errors


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Give `ray`, connected to a cluster: at `address`, else at RAY_ADDRESS, else a new one on this machine.

    A cluster that runs on this machine is joined only if it is named: it may be someone else's. A process that is
    already connected stays connected.

    Raises:
        MissingExtraError: Ray is not installed.
        MachineError: there is no such cluster, or it cannot be joined.
    """
    set_environment()
    ray = require("ray", "cluster")
    require("ray.data", "cluster")
    if ray.is_initialized():
        yield ray
        return
    on_sigterm = signal.getsignal(signal.SIGTERM)
    where = address or os.environ.get("RAY_ADDRESS")
    try:
        if where:
            _check_port(where)
        ray.init(address=where or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise MachineError(
            f"Cannot join the Ray cluster at {where or 'this machine'}: {one_line(error)[:200]}. "
            "Start it with: ray start --head, or pass --cluster HOST:PORT"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray's own handler would change the exit code
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_port(address: str) -> None:
    """Raise OSError if nothing listens at an address: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            pass


def slots_of(ray: Any, *, runs_on_gpu: bool, workers: int | None) -> Slots:
    """Return the slots for `workers` copies of the model, or all: the cluster's GPUs if it runs on them, else its CPUs.

    Raises:
        SettingError: there are fewer slots than copies, or none.
    """
    resources = ray.cluster_resources()
    kind = "GPU" if runs_on_gpu else "CPU"
    there = int(resources.get(kind, 0))
    if there < 1:
        raise SettingError(f"The cluster has no {kind}. Pass --device cpu, or add machines to it")
    if workers is not None and not 1 <= workers <= there:
        raise SettingError(f"--workers {workers}: the cluster has room for 1 to {there}, one for each {kind}")
    return Slots(workers or there, int(runs_on_gpu))


def load_first(ray: Any, options: RunOptions, content: Any, slots: Slots, console: Printer) -> LoadedModel:
    """Load the model in one slot, to get its description and to check that it runs there.

    Raises:
        ClothsegError: it cannot be loaded.
        MachineError: the workers cannot run clothseg.
    """
    reference = ray.remote(**slots.resources)(describe_model).remote(options, content)
    if not ray.wait([reference], timeout=WAIT_SECONDS)[0]:
        console.print("Waiting for a free slot of the cluster")
    try:
        described = ray.get(reference)
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"A worker of the cluster cannot load the model: {last_line(error)[:200]}. Install clothseg[cluster] "
            f"{options.version} on all its machines"
        ) from error
    if isinstance(described, LoadedModel):
        return described
    raise unpack_error(described)


def last_line(error: BaseException) -> str:
    """Return the last line of an error's message, in which Ray says what happened, or its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
