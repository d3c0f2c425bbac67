"""The callbacks of a training: progress, messages, averaged weights, and the list of all of them."""

from __future__ import annotations

import math
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, RichProgressBar, WeightAveraging
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor

from clothseg.progress import ProgressLines
from clothseg.settings import Settings
from clothseg.training.checkpoints import Checkpoints
from clothseg.training.tensorboard import PredictionPictures

_SHOWN_SCORES = ("train_loss", "val_loss", "val_iou", "val_f1", "val_acc")


def build_callbacks(settings: Settings) -> list[Callback]:
    """Return the callbacks of a training; `fit` adds those that make it resumable."""
    callbacks: list[Callback] = [
        Progress(),
        LearningRateMonitor(logging_interval="step"),
        Messages(),
        PredictionPictures(),
    ]
    if settings.averaging:
        callbacks.append(AveragedWeights(settings.averaging))
    if settings.patience:
        callbacks.append(EarlyStopping("val_loss", patience=settings.patience))
    return [*callbacks, Checkpoints(settings.checkpoints_path)]


class Progress(RichProgressBar):
    """How far the running epoch is, on stderr: a bar on a terminal, a line now and then in a log."""

    def __init__(self) -> None:
        super().__init__(console_kwargs={"stderr": True})
        self._lines = None if sys.stderr.isatty() else ProgressLines("", "batches")
        if self._lines is not None:
            self.disable()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a new bar, or count from here."""
        super().on_train_epoch_start(trainer, pl_module)
        if self._lines is not None:
            self._lines.begin(f"epoch {trainer.current_epoch}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar, or print a line if it is time."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._lines is not None and trainer.is_global_zero:
            loss = self.get_metrics(trainer, pl_module).get("loss", math.nan)
            self._lines.show(batch_idx + 1, int(self.total_train_batches), f", loss {float(loss):.4f}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what is shown beside the bar: the loss of the step; `Messages` prints the scores."""
        metrics = super().get_metrics(trainer, pl_module)
        return {"loss": metrics["train_loss_step"]} if "train_loss_step" in metrics else {}


class Messages(Callback):
    """Prints what is trained, and one line per epoch: they stay above the progress bar and in a batch job's log."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what is trained on what and where, and the terms of the model's licence."""
        if not trainer.is_global_zero:
            return
        model: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Trainer sets it where fit was given one
        print(
            f"Training {model.architecture} with {model.hparams['encoder_name']} on {len(data.train_dataset)} photos, "
            f"validating on {len(data.val_dataset)}: {len(model.classes)} classes, {trainer.precision}, "
            f"{trainer.world_size} x {trainer.strategy.root_device.type}",
            file=sys.stderr,
        )
        if model.licence:
            print(f"Licence: {model.licence}", file=sys.stderr)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's losses and mean scores; a score for which no pixel was counted is left out."""
        if not trainer.is_global_zero:
            return
        scores = {name: float(trainer.callback_metrics.get(name, math.nan)) for name in _SHOWN_SCORES}
        line = "  ".join(f"{name} {score:.4f}" for name, score in scores.items() if not math.isnan(score))
        print(f"epoch {trainer.current_epoch}  {line}", file=sys.stderr)


class AveragedWeights(WeightAveraging):
    """Keeps an exponential moving average of the weights; the average is validated and saved, and not trained on.

    In the list of callbacks it follows those that draw what the validated model predicts, and precedes those that save.

    Args:
        decay: share of the average that a step leaves unchanged. It rises to this, as the average of a short training
            would otherwise still contain the random weights of its start.
            Source: tensorflow.org, tf.train.ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=moving_average(decay))
        self._is_swapped = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the averaged weights in."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the averaged weights until the predictions were drawn."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Swap the weights of the training in again."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the model, and the weights of the training beside it, also within a validation."""
        validated = checkpoint["state_dict"]
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._is_swapped:
            checkpoint["current_model_state"], checkpoint["state_dict"] = checkpoint["state_dict"], validated


def moving_average(decay: float) -> Any:
    """Return the function that moves an averaged tensor towards the one of a step, for torch's AveragedModel."""

    def move(average: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        steps = int(num_averaged)
        share = min(decay, (1 + steps) / (10 + steps))
        if not average.is_floating_point():
            return current
        return average.lerp(current.to(average.dtype), 1 - share)

    return move
