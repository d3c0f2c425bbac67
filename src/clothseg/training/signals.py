"""Leaving on Ctrl-C, SIGTERM or SIGUSR1: after the step at hand, with a whole `last.ckpt`."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from clothseg.training.checkpoints import Checkpoints

# SIGUSR1 is what Slurm and others send some time before they end a job; Windows has no such signal.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class TrainingStopped(SystemExit):
    """A signal ended the training; all that was learnt is in `last_path`. Its exit code is 128 + the signal."""

    def __init__(self, signal_number: int, last_path: Path) -> None:
        super().__init__(128 + signal_number)
        self.signal_number = signal_number
        self.last_path = last_path

    def __str__(self) -> str:
        name = signal.Signals(self.signal_number).name
        return f"{name} stopped the training. Go on with: uv run train.py --ckpt {shlex.quote(str(self.last_path))}"


class StopOnSignal(Callback):
    """Turns a signal into a checkpoint and `TrainingStopped`, on all processes at the same step.

    A signal may arrive in the middle of an optimizer step, when the weights are half old and half new. So it is noted
    only, and obeyed when the step is complete. A second Ctrl-C leaves at once, with the checkpoint there was.

    Args:
        checkpoints: writes `last.ckpt`.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received = 0
        """Number of the first signal that arrived; 0 for none."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Take over the signals for the time of a training; loader processes, forked later, then outlive a Ctrl-C."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in _SIGNALS}
            self._install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the signals back."""
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
        """Take the signals over again: Lightning has just put its own handler on SIGTERM, which saves nothing.

        Signals often go to all processes of a job. Those that load photos must not leave before the step is complete.
        """
        self._install()
        loaders: Any = (trainer.train_dataloader, trainer.val_dataloaders)
        for loader in loaders:
            loader.worker_init_fn = partial(_start_deaf, loader.worker_init_fn)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Leave after a step; after an epoch's last step its validation is begun first, to be resumed there."""
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._leave_if_asked(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave before a validation; the resumed training begins with it."""
        self._leave_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *args: Any
    ) -> None:
        """Leave within a validation; the resumed training begins with the whole of it."""
        loader: Any = trainer.val_dataloaders
        # Processes may differ by a photo, and so by a batch: one that asked the others after its own last would wait
        # for an answer that they, in the sum of the scores already, do not give.
        if batch_idx < len(loader.dataset) // trainer.world_size // loader.batch_size:
            self._leave_if_asked(trainer)

    def _leave_if_asked(self, trainer: Trainer) -> None:
        number = self.received
        if trainer.world_size > 1:  # the signal may have reached one process only, and all must leave at the same step
            asked = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(asked, reduce_op="max"))
        if number:
            self.checkpoints.save_last(trainer)
            stopped = TrainingStopped(number, self.checkpoints.last_path)
            if trainer.is_global_zero:
                print(stopped, file=sys.stderr)
            raise stopped


def _start_deaf(start: Callable[[int], None] | None, worker_id: int) -> None:
    """Start a loader process that leaves when the training closes it or is gone, and at no signal."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if start is not None:
        start(worker_id)
