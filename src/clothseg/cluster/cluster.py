"""The Ray cluster: joined or started, and how many copies of a model fit on it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from clothseg.cluster.worker import Loaded, Plan, describe, unpacked
from clothseg.errors import MachineError, SettingError, one_line, require

WAIT_BEFORE_TELLING = 20.0
"""Seconds that a slot may take before it is said what is waited for."""


@dataclass(frozen=True)
class Slots:
    """What copies of the model run on."""

    count: int
    num_gpus: int
    """GPUs of each copy, 0 or 1; each has one CPU in any case."""

    @property
    def resources(self) -> dict[str, int]:
        """What Ray is to set aside for each copy."""
        return {"num_cpus": 1, "num_gpus": self.num_gpus}

    @property
    def in_words(self) -> str:
        """How many there are and of what."""
        kind = "GPU" if self.num_gpus else "CPU slot"
        return f"{self.count} {kind}{'' if self.count == 1 else 's'}"


def set_environment() -> None:
    """Choose how Ray behaves in this process, unless someone has chosen already; it looks when it is imported."""
    # Under `uv run`, Ray would send the whole folder to every machine and start each worker in a new environment.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here calls nobody
    # Ray prints a page on stdout, where ours are the paths, about each worker that died. We say it in one line.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors are ours to tell


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[Any]:
    """Give `ray`, connected to a cluster: at `address`, else at RAY_ADDRESS, else a new one on this machine.

    A cluster that happens to run here is not joined unasked, as Ray would: it may be someone else's. A process that is
    connected already stays so.

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
            _knock(where)
        ray.init(address=where or "local", log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise MachineError(
            f"Cannot join the Ray cluster at {where or 'this machine'}: {one_line(error)[:200]}. "
            "Start it with: ray start --head, or pass --cluster HOST:PORT"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray puts its own there, which leaves with another exit code
    try:
        yield ray
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raise OSError where nobody listens: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=10):
            pass


def slots_of(ray: Any, *, runs_on_gpu: bool, workers: int | None) -> Slots:
    """Return the slots for copies of the model: one for each GPU where it can use them, else for each CPU.

    Args:
        ray: connected.
        runs_on_gpu: whether the model is asked to run on a GPU, or may and the cluster has some.
        workers: no more than these.

    Raises:
        SettingError: more copies than there are slots, or none at all.
    """
    resources = ray.cluster_resources()
    kind = "GPU" if runs_on_gpu else "CPU"
    there = int(resources.get(kind, 0))
    if there < 1:
        raise SettingError(f"The cluster has no {kind}. Pass --device cpu, or add machines to it")
    if workers is not None and not 1 <= workers <= there:
        raise SettingError(f"--workers {workers}: the cluster has room for 1 to {there}, one for each {kind}")
    return Slots(workers or there, int(runs_on_gpu))


def first_loaded(ray: Any, plan: Plan, content: Any, slots: Slots, console: Console) -> Loaded:
    """Load the model in one slot, to know what it is and that it runs there.

    Raises:
        ClothsegError: it cannot be loaded.
        MachineError: the workers cannot run clothseg.
    """
    asked = ray.remote(**slots.resources)(describe).remote(plan, content)
    if not ray.wait([asked], timeout=WAIT_BEFORE_TELLING)[0]:
        console.print("Waiting for a free slot of the cluster")
    try:
        told = ray.get(asked)
    except ray.exceptions.RayError as error:
        raise MachineError(
            f"A worker of the cluster cannot load the model: {_last_line(error)}. Install clothseg[cluster] "
            f"{plan.version} on all its machines"
        ) from error
    if isinstance(told, Loaded):
        return told
    raise unpacked(told)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__
