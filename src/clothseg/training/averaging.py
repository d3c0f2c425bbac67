"""Weights averaged over the steps: less noisy than those of any one step, and what is validated and saved."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor


class AveragedWeights(WeightAveraging):
    """Keeps an exponential moving average of the weights and validates and saves that; training goes on with its own.

    Place it after callbacks that draw what the validated model predicts, and before those that save.

    Args:
        decay: share of the average that a step leaves as it is. It rises to this, as the average of a short training
            would otherwise still hold the random weights of its start.
            Source: tensorflow.org, tf.train.ExponentialMovingAverage, min(decay, (1 + n) / (10 + n)).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=moving_average(decay))
        self._is_swapped = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the averaged weights in place."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averaged weights in place until the predictions were drawn."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights of the training back."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the model, and the weights of the training beside it, also in a broken-off validation."""
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
