"""What watches a training: progress, learning rate, early stopping, prediction pictures and checkpoints."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import STEP_OUTPUT

from clothseg.drawing import classes_in, overlay, side_by_side, with_legend
from clothseg.labels import ClassList
from clothseg.progress import ProgressLines
from clothseg.settings import Settings
from clothseg.training.averaging import AveragedWeights
from clothseg.training.checkpoints import Checkpoints
from clothseg.transforms import Letterbox, resize_image, resize_mask
from clothseg.types import UInt8Array

_SHOWN_SIZE = 320
"""Longer side of a photo in TensorBoard, in pixels; larger ones would make a log of gigabytes."""


def build_callbacks(settings: Settings) -> list[Callback]:
    """Return what watches a training; `fit` adds what makes it resumable."""
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
        """Move the bar on, or print a line if it is time."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if self._lines is not None and trainer.is_global_zero:
            loss = self.get_metrics(trainer, pl_module).get("loss", math.nan)
            self._lines.show(batch_idx + 1, int(self.total_train_batches), f", loss {float(loss):.4f}")

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar: the loss of the step; `Messages` prints the scores."""
        metrics = super().get_metrics(trainer, pl_module)
        return {"loss": metrics["train_loss_step"]} if "train_loss_step" in metrics else {}


class Messages(Callback):
    """Prints what is trained, and one line per epoch: they stay above the progress bar and in a batch job's log."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print what is trained on what and where, and the terms the model comes with."""
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
        """Print the epoch's losses and mean scores; a score that nothing was counted for is left out."""
        if not trainer.is_global_zero:
            return
        scores = {name: float(trainer.callback_metrics.get(name, math.nan)) for name in _SHOWN_SCORES}
        line = "  ".join(f"{name} {score:.4f}" for name, score in scores.items() if not math.isnan(score))
        print(f"epoch {trainer.current_epoch}  {line}", file=sys.stderr)


_SHOWN_SCORES = ("train_loss", "val_loss", "val_iou", "val_f1", "val_acc")


@dataclass(frozen=True)
class _Example:
    """A photo to be shown after each epoch."""

    tag: str
    image: UInt8Array
    """(S, S, 3) uint8 RGB, as validation sees it."""
    mask: UInt8Array
    """(S, S) uint8, the true class ids."""
    box: Letterbox


class PredictionPictures(Callback):
    """Shows in TensorBoard, after each epoch, how the model segments the same few photos: photo, truth, prediction.

    The pictures are drawn by the first process, after the validation and not in it, from photos without augmentation,
    so that those of two epochs can be compared.

    Args:
        count: photos of each split, spread evenly over it.
    """

    def __init__(self, count: int = 3) -> None:
        self.count = count
        self._examples: list[_Example] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the photos to be shown."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Trainer sets it where fit was given one
        if trainer.is_global_zero:
            self._examples = [
                *_examples("train", data.train_dataset, self.count),
                *_examples("val", data.val_dataset, self.count),
            ]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the pictures of this epoch; the model is still in evaluation mode here, and keeps no gradients."""
        logger = trainer.logger
        if not isinstance(logger, TensorBoardLogger):
            return
        for example in self._examples:
            picture = _picture(pl_module, example)
            logger.experiment.add_image(example.tag, picture, trainer.global_step, dataformats="HWC")


def _examples(split_name: str, dataset: Any, count: int) -> list[_Example]:
    indices = sorted({round(index) for index in np.linspace(0, len(dataset) - 1, count)})
    examples = []
    for number, index in enumerate(indices):
        image, mask = dataset.pairs.read(index)
        height, width = mask.shape
        box = Letterbox.fit(height, width, dataset.img_size, square=True)
        examples.append(_Example(f"predictions/{split_name}_{number}", box.image(image), box.mask(mask), box))
    return examples


def _picture(module: LightningModule, example: _Example) -> UInt8Array:
    image = torch.from_numpy(example.image).permute(2, 0, 1).unsqueeze(0).to(module.device)
    with torch.inference_mode():
        prediction = module(image)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    height, width = example.box.scaled_size
    photo, truth, predicted = (plane[:height, :width] for plane in (example.image, example.mask, prediction))
    scale = min(1.0, _SHOWN_SIZE / max(height, width))
    size = max(1, round(height * scale)), max(1, round(width * scale))
    classes: ClassList = module.classes  # type: ignore[assignment]  # Lightning types every attribute as a tensor
    return draw_prediction(resize_image(photo, size), resize_mask(truth, size), resize_mask(predicted, size), classes)


def draw_prediction(image: UInt8Array, truth: UInt8Array, prediction: UInt8Array, classes: ClassList) -> UInt8Array:
    """Return photo, truth and prediction side by side, with the names of the classes that either shows.

    Args:
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) uint8, class ids.
        prediction: (H, W) uint8, class ids.
        classes: names and colours of the ids.
    """
    shown = sorted({*classes_in(truth), *classes_in(prediction)})
    views = side_by_side(image, overlay(image, truth, classes), overlay(image, prediction, classes))
    return with_legend(views, classes, shown)
