"""Ends of a training before its last epoch: on a signal after the current step, on the loss of a process at once."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from clothseg.errors import MachineError, command, one_line
from clothseg.training.checkpoints import Checkpoints

# SIGUSR1 is what Slurm and others send some time before they end a job; Windows has no such signal.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]

_LOST_CONNECTION = ("gloo/transport", "Connection closed by peer", "Connection reset by peer", "NCCL", "ProcessGroup")
"""Parts of the errors of torch's backends when another process does not answer."""

_POLL_SECONDS = 0.5
"""Time between two checks of whether the other processes run."""

_IF_KILLED = "If memory ran out, lower BATCH_SIZE or NUM_WORKERS."


class TrainingStopped(SystemExit):
    """A signal ended the training; resume it from `last_path`. The exit code is 128 + the signal."""

    def __init__(self, signal_number: int, last_path: Path) -> None:
        super().__init__(128 + signal_number)
        self.signal_number = signal_number
        self.last_path = last_path

    def __str__(self) -> str:
        name = signal.Signals(self.signal_number).name
        return f"{name} stopped the training. Resume with: {command('train', '--ckpt', self.last_path)}"


class StopOnSignal(Callback):
    """Turns a signal into a checkpoint and `TrainingStopped`, on all processes at the same step.

    A signal may arrive in the middle of an optimizer step, when half of the weights are updated. So the handler only
    records it, and the training stops when the step is complete. A second Ctrl-C ends the program at once, with the
    checkpoint that is there.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received = 0
        """Number of the first signal that arrived; 0 for none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Install the handlers for the time of a training."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
            self._install()
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _install(self) -> None:
        for number in self._before:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = self.received or number

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the handlers again: Lightning has just set its own one of SIGTERM, which saves nothing.

        Signals often go to all processes of a job. Those that load photos must run until the step is complete.
        """
        self._install()
        loaders: Any = (trainer.train_dataloader, trainer.val_dataloaders)
        for loader in loaders:
            loader.worker_init_fn = partial(_ignore_signals, loader.worker_init_fn)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Stop after a step; after an epoch's last step, stop when its validation starts, and resume there."""
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._stop_if_asked(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before a validation; the resumed training starts with it."""
        self._stop_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Stop within a validation; the resumed training starts with the whole of it."""
        loader: Any = trainer.val_dataloaders
        # One process may have a photo, and so a batch, more: after it, the others already sum the scores and would not
        # answer.
        if batch_idx < len(loader.dataset) // trainer.world_size // loader.batch_size:
            self._stop_if_asked(trainer)

    def _stop_if_asked(self, trainer: Trainer) -> None:
        number = self.received
        if trainer.world_size > 1:  # the signal may have reached one process only, and all must stop at the same step
            asked = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(asked, reduce_op="max"))
        if number:
            self.checkpoints.save_last(trainer)
            stopped = TrainingStopped(number, self.checkpoints.last_path)
            if trainer.is_global_zero:
                print(stopped, file=sys.stderr)
            raise stopped


def _ignore_signals(start: Callable[[int], None] | None, worker_id: int) -> None:
    """Start a loader process that ignores signals; it ends when the training closes it or is gone."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if start is not None:
        start(worker_id)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether `error` is what a process raises when another one of its training is gone."""
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _LOST_CONNECTION)


def lost_connection(error: BaseException, last_path: Path) -> MachineError:
    """Return the error to raise in place of `error`."""
    return MachineError(
        f"Another process of the training is gone or does not answer ({one_line(error)[:120]}). Its own message, if it "
        f"printed one, is above. {_IF_KILLED} {_hint(last_path)}"
    )


class EndTogether(Callback):
    """Ends this process when one that trains with it on this machine is killed, or ends with an error of its own.

    Otherwise this process would wait in its next all-reduce, on GPUs for half an hour, where nothing can interrupt it.
    So a thread ends it at once; the checkpoints on disk are complete at any moment. If another process had an error of
    its own, such as a broken photo in its share, its exit code is used. Lightning itself would kill all
    processes without a message, and only where it is not the first that is gone.

    torchrun and SLURM end the processes that they started. But if torchrun itself is killed, its processes would
    continue unnoticed, so they save and stop. The message names `last_path`, the checkpoint to resume from.
    """

    def __init__(self, last_path: Path) -> None:
        self.last_path = last_path
        self._is_over = threading.Event()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch from the first step on."""
        launcher: Any = trainer.strategy.launcher
        processes = list(getattr(launcher, "procs", []))
        if processes:  # Lightning's observer watches the first list, `kill` takes the new one
            launcher.procs.clear()
            launcher.procs = processes
        is_of_torchrun = TorchElasticEnvironment.detect()
        is_of_lightning = trainer.local_rank > 0 and not is_of_torchrun and not SLURMEnvironment.detect()
        parent = os.getppid() if is_of_torchrun or is_of_lightning else 0
        if processes or parent:
            arguments = (launcher, processes, parent, is_of_torchrun)
            threading.Thread(target=self._watch, args=arguments, daemon=True, name="end-together").start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop watching when this process fails; on a lost connection, let the thread print the reason first."""
        if is_lost_connection(exception):
            time.sleep(4 * _POLL_SECONDS)
        self._is_over.set()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop watching: the processes now end one after the other."""
        self._is_over.set()

    def _watch(self, launcher: Any, processes: Sequence[Any], parent: int, is_of_torchrun: bool) -> None:
        while not self._is_over.wait(_POLL_SECONDS):
            if parent and os.getppid() != parent:
                if is_of_torchrun:
                    print("clothseg: torchrun is gone; the training stops after this step", file=sys.stderr, flush=True)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                self._end(f"The first process of the training was killed. {_IF_KILLED}")
            ended = next((one for one in processes if one.poll()), None)
            # What made another process fail may make this one fail, too, and with a better message.
            if ended is None or (ended.returncode > 0 and self._is_over.wait(_POLL_SECONDS)):
                continue
            with contextlib.suppress(OSError):
                launcher.kill(signal.SIGKILL)
            if ended.returncode > 0:
                self._end("Another process of the training failed, and said why above.", ended.returncode)
            name = signal.Signals(-ended.returncode).name
            self._end(f"Process {ended.pid} of the training was ended by {name}. {_IF_KILLED}")

    def _end(self, what: str, code: int = MachineError.exit_code) -> NoReturn:
        print(f"clothseg: {what} {_hint(self.last_path)}", file=sys.stderr, flush=True)
        os._exit(code)


def _hint(last_path: Path) -> str:
    return f"Resume with as many processes and: --ckpt {shlex.quote(str(last_path))}"
