"""The end of a training that lost one of its processes: at once, with a message, and with none left waiting."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from clothseg.errors import MachineError, one_line

_SIGNS = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "NCCL", "ProcessGroup")
"""What torch's backends say when another process does not answer."""

_PAUSE = 0.5
"""Seconds between two looks at whether the first process is there."""

_IF_KILLED = "If memory ran out, lower BATCH_SIZE or NUM_WORKERS."

_STARTER = "CLOTHSEG_FIRST_PROCESS"
"""Environment variable with the number of the process that started this one to train with it."""


def is_lost_connection(error: BaseException) -> bool:
    """Tell whether `error` is what a process meets when another one of its training is gone."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def lost_connection(error: BaseException, last_path: Path) -> MachineError:
    """Return the error to raise in place of `error`."""
    return MachineError(
        f"Another process of the training is gone or does not answer ({one_line(error)[:120]}). Its own message, if it "
        f"left one, is above. {_IF_KILLED} {_way_out(last_path)}"
    )


class LeaveTogether(Callback):
    """Ends this process when one that trains with it on this machine is killed, or leaves with an error of its own.

    The others would wait for the lost one in their next sum over processes, on GPUs for half an hour. They cannot be
    interrupted there, so this leaves at once; the checkpoints on disk are whole at any moment. The exit code of an
    error that only another process met, such as a broken photo in its share, becomes that of the training.

    It watches processes that Lightning started. Those of torchrun and SLURM are ended by these; but where torchrun
    itself is killed, its processes would train on with nobody to see it, so they save and leave.

    Args:
        last_path: checkpoint to go on from, for the message.
    """

    def __init__(self, last_path: Path) -> None:
        self.last_path = last_path
        self._is_over = False
        # Lightning starts this program again with the same environment, so the copies know who started them.
        self._is_copy = os.environ.get(_STARTER) == str(os.getppid())
        self._starter = os.getppid()
        os.environ[_STARTER] = str(os.getpid())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch from the first step on."""
        launcher: Any = trainer.strategy.launcher
        processes = list(getattr(launcher, "procs", []))
        if self._is_copy and trainer.world_size > 1:
            self._start(self._watch_starter)
        if TorchElasticEnvironment.detect():
            self._start(self._watch_torchrun)
        if processes and hasattr(os, "waitid"):  # where there is none, the lost connection is met in the next step
            # Lightning's own watch looks at this list, and would end the first process by SIGKILL, without a word.
            launcher.procs.clear()
            launcher.procs = processes  # `kill` goes by this one
            for process in processes:
                self._start(self._watch_copy, process, launcher)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave what fails in peace, as Lightning then ends the others; a lost connection is the watchers' matter."""
        if is_lost_connection(exception):
            time.sleep(2 * _PAUSE)
        self._is_over = True

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop watching: the processes now leave one after the other."""
        self._is_over = True

    def _start(self, watch: Callable[..., None], *words: Any) -> None:
        threading.Thread(target=watch, args=words, daemon=True, name="leave-together").start()

    def _watch_copy(self, process: Any, launcher: Any) -> None:
        with contextlib.suppress(ChildProcessError):  # it was waited for elsewhere, and left as it should
            end = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            if end is None or (end.si_code == os.CLD_EXITED and end.si_status == 0):
                return
            if end.si_code == os.CLD_EXITED:
                time.sleep(_PAUSE)  # what made it leave may make this one leave, too, and in its own way
            if self._is_over:
                return
            with contextlib.suppress(OSError):
                launcher.kill(signal.SIGKILL)
            if end.si_code == os.CLD_EXITED:
                self._leave("Another process of the training failed, and said why above.", end.si_status)
            name = signal.Signals(end.si_status).name
            self._leave(f"Process {process.pid} of the training was ended by {name}. {_IF_KILLED}")

    def _watch_starter(self) -> None:
        while not self._is_over:
            if os.getppid() != self._starter:
                self._leave(f"The first process of the training was killed. {_IF_KILLED}")
            time.sleep(_PAUSE)

    def _watch_torchrun(self) -> None:
        while not self._is_over:
            if os.getppid() != self._starter:
                print("clothseg: torchrun is gone; the training stops after this step", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(_PAUSE)

    def _leave(self, what: str, code: int = MachineError.exit_code) -> NoReturn:
        print(f"clothseg: {what} {_way_out(self.last_path)}", file=sys.stderr, flush=True)
        os._exit(code)


def _way_out(last_path: Path) -> str:
    return f"Go on with as many processes and: --ckpt {shlex.quote(str(last_path))}"
