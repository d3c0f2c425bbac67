"""What TensorBoard shows of a training: settings, hyperparameters and pictures, also of a resumed one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from clothseg.data.manifest import spread
from clothseg.drawing import classes_in, overlay, side_by_side, with_legend
from clothseg.labels import ClassList
from clothseg.settings import Settings
from clothseg.training.checkpoints import continues
from clothseg.training.resume import ResumePoint
from clothseg.transforms import Letterbox, resize_image, resize_mask
from clothseg.types import UInt8Array

HPARAM_METRICS = ("val_loss", "val_iou", "val_f1", "val_acc")
"""Scores shown beside the hyperparameters; TensorBoard takes the last value of each."""

_HPARAMS = (
    *("classes", "architecture", "encoder_name", "encoder_weights", "decoder_width", "img_size", "batch_size"),
    *("epochs", "learning_rate", "encoder_rate", "weight_decay", "warmup", "precision", "seed"),
)

_SHOWN_SIZE = 320
"""Longer side of a photo in TensorBoard, in pixels; larger ones would make a log of gigabytes."""


def open_log(settings: Settings, resume: ResumePoint | None) -> TensorBoardLogger:
    """Return the log of a training, a folder `version_N` in `settings.logs_path`.

    A training that resumes `last.ckpt` continues its log; TensorBoard hides what that log has from later steps, as
    after a kill. Any other training gets a new log.
    """
    folder, first_step = None, None
    if (
        resume is not None
        and continues(resume.path, settings.checkpoints_path)
        and (settings.logs_path / resume.log_folder).is_dir()
    ):
        folder, first_step = resume.log_folder, resume.global_step
    return TensorBoardLogger(
        settings.logs_path, name="", version=folder, default_hp_metric=False, purge_step=first_step
    )


def describe_run(logger: TensorBoardLogger, settings: Settings, classes: ClassList) -> None:
    """Write the settings as text, those that matter for the scores as hyperparameters, and the charts to see first.

    The hyperparameters name the scores without a value: TensorBoard's table reads them from the curves, so that it is
    right at any time and for a training that was killed.
    """
    values = settings.to_dict()
    logger.log_hyperparams(values)  # without scores of its own this writes hparams.yaml, and nothing else
    rows = [f"| {name} | {value} |" for name, value in values.items()]
    logger.experiment.add_text("settings", "\n".join(["| setting | value |", "|---|---|", *rows]))
    shown = {name: value if isinstance(value := values[name], int | float) else str(value) for name in _HPARAMS}
    experiment, session_start, _ = hparams(shown, dict.fromkeys(HPARAM_METRICS, 0.0))  # type: ignore[no-untyped-call]
    writer = logger.experiment._get_file_writer()  # add_hparams would open a second log beside this one
    writer.add_summary(experiment)
    writer.add_summary(session_start)
    charts = {
        "losses": ["train_loss", "val_loss"],
        "scores of all classes": ["val_iou", "val_f1", "val_acc"],
        "IoU per class": [f"val_iou/{name}" for name in classes.names],
    }
    exact = {title: ["Multiline", [f"^{re.escape(tag)}$" for tag in tags]] for title, tags in charts.items()}
    logger.experiment.add_custom_scalars({"Training": exact})


@dataclass(frozen=True)
class _Example:
    """A photo that is shown after each epoch."""

    tag: str
    image: UInt8Array
    """(S, S, 3) uint8 RGB, as validation sees it."""
    mask: UInt8Array
    """(S, S) uint8, the true class ids."""
    box: Letterbox


class PredictionPictures(Callback):
    """Shows in TensorBoard, after each epoch, how the model segments the same few photos: photo, truth, prediction.

    The first process draws the pictures after the validation, from photos without augmentation, so that those of two
    epochs can be compared. Of each split these are `count`, spread evenly over it.
    """

    def __init__(self, count: int = 4) -> None:
        self.count = count
        self._examples: list[_Example] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the photos that are shown."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Trainer sets it where fit was given one
        if trainer.is_global_zero:
            self._examples = [
                *_examples("train", data.train_dataset, self.count),
                *_examples("val", data.val_dataset, self.count),
            ]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the pictures of this epoch; the model is still in evaluation mode here, without gradients."""
        logger = trainer.logger
        if not isinstance(logger, TensorBoardLogger):
            return
        for example in self._examples:
            picture = _picture(pl_module, example)
            logger.experiment.add_image(example.tag, picture, trainer.global_step, dataformats="HWC")


def _examples(split_name: str, dataset: Any, count: int) -> list[_Example]:
    examples = []
    for number, (_, image, mask) in enumerate(dataset.pairs.read(spread(range(len(dataset)), count))):
        height, width = mask.shape
        box = Letterbox.fit(height, width, dataset.img_size, square=True)
        examples.append(_Example(f"predictions/{split_name}_{number}", box.image(image), box.mask(mask), box))
    return examples


def _picture(module: LightningModule, example: _Example) -> UInt8Array:
    image = torch.from_numpy(example.image).permute(2, 0, 1).unsqueeze(0).to(module.device)
    with torch.inference_mode():
        prediction = module(image)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    photo, truth, predicted = (plane[example.box.window] for plane in (example.image, example.mask, prediction))
    height, width = example.box.scaled_size
    size = Letterbox.fit(height, width, min(_SHOWN_SIZE, max(height, width))).scaled_size
    classes: ClassList = module.classes  # type: ignore[assignment]  # Lightning types every attribute as a tensor
    return draw_prediction(resize_image(photo, size), resize_mask(truth, size), resize_mask(predicted, size), classes)


def draw_prediction(image: UInt8Array, truth: UInt8Array, prediction: UInt8Array, classes: ClassList) -> UInt8Array:
    """Return photo, (H, W, 3) uint8 RGB, truth and prediction side by side, with the names of the classes they show.

    Truth and prediction are (H, W) uint8, class ids.
    """
    shown = sorted({*classes_in(truth), *classes_in(prediction)})
    views = side_by_side(image, overlay(image, truth, classes), overlay(image, prediction, classes))
    return with_legend(views, classes, shown)
