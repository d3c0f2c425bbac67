"""The model that Lightning trains: network, loss and optimizer, and the scores of a validation epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

import torch
from lightning import LightningModule
from lightning.pytorch import seed_everything
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from clothseg.errors import ModelError, SettingError
from clothseg.labels import IGNORED_ID, ClassList
from clothseg.model.description import ModelDescription
from clothseg.model.encoders import check_architecture, licence_note
from clothseg.model.loss import build_loss
from clothseg.model.network import build_network, freeze_unused
from clothseg.model.optimizer import learning_rate_factor, parameter_groups
from clothseg.scores import Scores
from clothseg.settings import Settings

DESCRIPTION_KEY = "clothseg"
"""Key of the `ModelDescription` in a checkpoint."""

Batch = Mapping[str, Any]
"""image: (B, 3, H, W) uint8 RGB; mask: (B, H, W) uint8, class ids and `IGNORED_ID`; name: list of B photo names."""


class TrainingData(Protocol):
    """What a model reads from its data, a `clothseg.data.datamodule.ClothSegmentationData`."""

    classes: ClassList
    manifest: Any

    def class_weights(self, balance: float) -> tuple[float, ...]:
        """Return the weight of each class in the loss."""


def predicted_classes(logits: Tensor) -> Tensor:
    """Return the class ids, (B, H, W) int64, of logits, (B, C, H, W); of equal logits the lowest id wins.

    On a CPU `max` takes a quarter of the time of `argmax` along the second of four dimensions.
    """
    return logits.max(dim=1).indices


class ConfusionMatrix(Metric):
    """Counts, over an epoch, how many pixels of each true class were given each class.

    Every score comes from this one table (`clothseg.scores.Scores`), so scores are those of the epoch's pixels, not
    means of batch scores, and the table of several processes is the sum of theirs.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    matrix: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("matrix", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Count a batch of predictions, (B, H, W) class ids of any integer type or (B, C, H, W) logits.

        The target is (B, H, W) uint8 or int64, true class ids; pixels of `IGNORED_ID` are not counted.
        """
        if prediction.ndim == target.ndim + 1:
            prediction = predicted_classes(prediction)
        pairs = target.long() * self.num_classes + prediction
        # A row for every value of a byte: the pixels to ignore fall into rows below the matrix, and no copy without
        # them has to be made.
        counts = torch.bincount(pairs.flatten(), minlength=(IGNORED_ID + 1) * self.num_classes)
        self.matrix += counts[: self.num_classes**2].view(self.num_classes, self.num_classes)

    def compute(self) -> Tensor:
        """Return the (C, C) int64 matrix: rows are the truth, columns the prediction."""
        return self.matrix


class ClothSegmentationModel(LightningModule):
    """A network that learns to segment clothes.

    Logs `train_loss` and `train_loss_step`, `val_loss`, `val_iou`, `val_f1`, `val_acc`, and `val_iou/NAME` for every
    class that the validation photos show; a class they do not show is in no mean and is not logged.

    `val_loss` is the mean over photos of the loss of the batch of each. As the Dice part is of a batch as a whole,
    runs compare by `val_loss` only at equal batch size; the scores do not depend on it.

    Arguments that are not described here are the settings of the same name; see `clothseg.settings.Settings`.

    Args:
        classes: the classes to learn, or what their `to_dicts` returned, as a checkpoint stores them.
        image_size: longer side of its photos, in pixels.
        class_weights: (C,) how much a pixel of each class counts in dice-ce; None: all the same.
        training_data: what it learns from, in plain values, for the model's description.

    Raises:
        SettingError, ModelError, MachineError: as `build_network`.
    """

    def __init__(
        self,
        classes: ClassList | Sequence[Mapping[str, Any]],
        *,
        architecture: str = "unet",
        encoder_name: str = "mit_b1",
        encoder_weights: str | None = "imagenet",
        decoder_width: float = 1.0,
        image_size: int = 512,
        loss: str = "dice-ce",
        class_weights: Sequence[float] | None = None,
        learning_rate: float = 3e-4,
        encoder_rate: float = 1.0,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        training_data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes if isinstance(classes, ClassList) else ClassList.from_dicts(classes)
        self.architecture = check_architecture(architecture)
        encoder_weights = None if encoder_weights is None else str(encoder_weights)
        # Plain values only: a checkpoint is read with weights_only=True. The settings of the run go to the logger.
        self.save_hyperparameters(
            {
                "classes": self.classes.to_dicts(),
                "architecture": self.architecture,
                "encoder_name": encoder_name,
                "encoder_weights": encoder_weights,
                "decoder_width": decoder_width,
                "image_size": image_size,
                "loss": loss,
                "class_weights": None if class_weights is None else list(class_weights),
                "learning_rate": learning_rate,
                "encoder_rate": encoder_rate,
                "weight_decay": weight_decay,
                "warmup": warmup,
                "training_data": dict(training_data or {}),
            },
            logger=False,
        )
        self.network = build_network(
            self.architecture,
            encoder_name,
            encoder_weights=encoder_weights,
            num_classes=self.classes.num_classes,
            decoder_width=decoder_width,
        )
        freeze_unused(self.network, image_size)
        self.licence = licence_note(encoder_name, encoder_weights)
        self.last_scores: dict[str, Any] = {}
        self.loss = build_loss(loss, class_weights)
        self.confusion = ConfusionMatrix(self.classes.num_classes)
        self.mean_loss = MeanMetric()

    @classmethod
    def from_settings(cls, settings: Settings, data: TrainingData, *, with_weights: bool = True) -> Self:
        """Return a model for the classes of `data`; its new weights are random numbers of the setting SEED.

        Without `with_weights`, the encoder does not start from ENCODER_WEIGHTS: a resumed training takes all weights
        from its checkpoint, so it needs neither a file of weights nor the internet.

        Raises:
            SettingError, ModelError, MachineError: as `build_network`.
        """
        seed_everything(settings.seed, workers=True, verbose=False)
        return cls(
            data.classes,
            architecture=settings.architecture,
            encoder_name=settings.encoder_name,
            encoder_weights=settings.encoder_weights if with_weights else None,
            decoder_width=settings.decoder_width,
            image_size=settings.img_size,
            loss=settings.loss,
            class_weights=data.class_weights(settings.class_balance),
            learning_rate=settings.learning_rate,
            encoder_rate=1.0 if settings.encoder_weights is None else settings.encoder_rate,
            weight_decay=settings.weight_decay,
            warmup=settings.warmup,
            training_data=data.manifest.summary(),
        )

    @property
    def description(self) -> ModelDescription:
        """The description for a model file, with the scores of the latest validation."""
        return ModelDescription(
            classes=self.classes,
            architecture=self.architecture,
            encoder_name=self.hparams["encoder_name"],
            decoder_width=self.hparams["decoder_width"],
            image_size=self.hparams["image_size"],
            normalization=self.network.normalization,
            licence=self.licence,
            training_data=self.hparams["training_data"],
            scores=self.last_scores,
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits, (B, C, H, W) float32, of photos, (B, 3, H, W) uint8 RGB."""
        logits: Tensor = self.network(image.contiguous(memory_format=torch.channels_last))
        return logits

    def configure_model(self) -> None:
        """Store the weights channels last, which is faster for convolutions on CPUs and tensor cores."""
        self.network.to(memory_format=torch.channels_last)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ModelError: the loss is NaN or infinite; the photos of the batch are named.
            SettingError: a batch of one photo is too small for this network.
        """
        try:
            logits = self(batch["image"])
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            larger = "or raise IMG_SIZE" if self.architecture == "unet" else "raise IMG_SIZE, or choose unet"
            raise SettingError(
                f"ARCHITECTURE {self.architecture} averages over too little here: a batch of {len(batch['image'])} at "
                f"{batch['image'].shape[-1]} pixels. Raise BATCH_SIZE to 2 or more (a short last batch counts too), "
                f"{larger}"
            ) from error
        loss = self.loss(logits, batch["mask"])
        self._check_finite(loss, batch, f"training step {batch_idx}")
        size = len(batch["image"])
        self.log("train_loss_step", loss, prog_bar=True, batch_size=size)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=size)
        return torch.as_tensor(loss)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add a batch to the epoch's loss and confusion matrix.

        Returns:
            `prediction`, (B, H, W) int64 class ids, for callbacks that draw.
        """
        logits = self(batch["image"])
        loss = self.loss(logits, batch["mask"])
        self._check_finite(loss, batch, f"validation step {batch_idx}")
        prediction = predicted_classes(logits)
        self.mean_loss.update(loss, weight=len(batch["image"]))
        self.confusion.update(prediction, batch["mask"])
        return {"prediction": prediction}

    def on_validation_epoch_start(self) -> None:
        """Reset what was counted in an earlier validation."""
        self.mean_loss.reset()
        self.confusion.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole epoch, over all processes."""
        scores = Scores.from_confusion(self.confusion.compute().cpu().numpy())
        values = {"val_loss": float(self.mean_loss.compute())}
        means = {"val_iou": scores.mean_iou, "val_f1": scores.mean_f1, "val_acc": float(scores.accuracy)}
        iou = {name: float(value) for name, value in zip(self.classes.names, scores.iou, strict=True) if value == value}
        # Without a single counted pixel the means are NaN, and are not logged.
        values |= {name: value for name, value in means.items() if value == value}
        self.log_dict(values, prog_bar=True, sync_dist=True)
        self.log_dict({f"val_iou/{name}": value for name, value in iou.items()}, sync_dist=True)
        if not self.trainer.sanity_checking:
            self.last_scores = values | {"iou": {name: iou.get(name) for name in self.classes.names}}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW, and a schedule with another learning rate at every step.

        Raises:
            SettingError: the number of epochs is unlimited.
        """
        num_steps = self.trainer.estimated_stepping_batches
        if num_steps == float("inf"):
            raise SettingError("EPOCHS is unlimited; the learning rate needs an end to fall towards. Set a number")
        warmup = self.hparams["warmup"]
        optimizer = torch.optim.AdamW(
            parameter_groups(
                self.network,
                learning_rate=self.hparams["learning_rate"],
                encoder_rate=self.hparams["encoder_rate"],
                weight_decay=self.hparams["weight_decay"],
            )
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, int(num_steps), warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the model's description; remove the name of the encoder's first weights, which the file replaces."""
        checkpoint[DESCRIPTION_KEY] = self.description.to_dict()
        checkpoint["hyper_parameters"] = dict(checkpoint["hyper_parameters"]) | {"encoder_weights": None}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what only the first run knows: the licence of the first weights, and the latest scores."""
        description = ModelDescription.from_dict(checkpoint.get(DESCRIPTION_KEY))
        self.licence = description.licence
        self.last_scores = dict(description.scores)

    def _check_finite(self, loss: Tensor, batch: Batch, where: str) -> None:
        if not torch.isfinite(loss):
            names = batch.get("name", ())
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise ModelError(
                f"The loss became {loss.item()} in epoch {self.current_epoch}, {where} (photos {shown}). "
                "The checkpoints have the state before: resume the last one with --precision 32-true if it was "
                f"another, or start a new training with a lower LEARNING_RATE (now {self.hparams['learning_rate']:g})"
            )
