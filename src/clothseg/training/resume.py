"""Resuming a training exactly: at the same step, with the same samples and random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from clothseg.errors import ModelError, SettingError, command
from clothseg.labels import ClassList
from clothseg.model.description import ModelDescription
from clothseg.model.module import DESCRIPTION_KEY
from clothseg.model.tensor_files import read_tensor_file
from clothseg.settings import Settings

TRAINING_KEY = "clothseg_training"
"""Key of the training's progress and settings in a checkpoint."""

_FIXED_SETTINGS = (
    *("img_size", "crop_size", "batch_size", "loss", "class_balance", "averaging"),
    *("learning_rate", "encoder_rate", "weight_decay", "warmup", "seed"),
)
"""Settings that a resumed training must not change, since steps already done depend on them. `epochs` may change: from
the next step on, the learning rate follows the curve of a training planned with that many epochs."""

_ORDER = "photo by photo"

_VALIDATION_TO_DO = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
"""Lightning's counters of a validation that stopped in its first batch: resumed, it runs the whole validation."""


@dataclass(frozen=True)
class ResumePoint:
    """Where and how a training stopped."""

    path: Path
    epoch: int
    """The epoch to resume in, counted from 0."""
    batches_done: int
    """Batches of that epoch that each process has already trained on."""
    global_step: int
    """Optimizer steps done."""
    num_ranks: int
    """Processes that trained together."""
    num_photos: int
    """Training photos."""
    log_folder: str
    """Folder of its TensorBoard log, inside the logs folder."""
    settings: Mapping[str, Any]
    """Its settings, as `Settings.to_dict` gives them."""
    order: str = _ORDER
    """How its photos were ordered; earlier versions had another order for packed datasets."""

    @classmethod
    def read(cls, path: Path, model: ModelDescription) -> ResumePoint:
        """Read where a checkpoint stopped, before anything is set up.

        Raises:
            MissingModelError: there is no such file.
            ModelError: it is damaged, no checkpoint of a training, or of another model than `model`.
        """
        hint = f'Resume from a checkpoint of "{command("train")}", or start a new training without --ckpt'
        checkpoint = read_tensor_file(path, kind="Checkpoint", hint=hint)
        if not isinstance(checkpoint, Mapping):
            raise ModelError(f"Checkpoint {path} is no checkpoint of a training. {hint}")
        state = checkpoint.get(TRAINING_KEY)
        if not isinstance(state, Mapping) or "loops" not in checkpoint or "optimizer_states" not in checkpoint:
            raise ModelError(
                f"{path} contains a model but not the state of a training. Resume from a checkpoint that training "
                "wrote, such as checkpoints/last.ckpt"
            )
        trained = ModelDescription.from_dict(checkpoint.get(DESCRIPTION_KEY))
        for name in ("classes", "architecture", "encoder_name", "decoder_width"):
            before, now = getattr(trained, name), getattr(model, name)
            if before != now:
                before, now = (", ".join(one.names) if isinstance(one, ClassList) else one for one in (before, now))
                raise ModelError(
                    f"{path} was trained with {name.upper()} {before}, now it is {now}. Use the same, or {hint}"
                )
        return cls(path=path, global_step=checkpoint["global_step"], **state)

    def check(self, settings: Settings, *, num_ranks: int, num_photos: int) -> None:
        """Refuse to resume with other settings than those of the training.

        Raises:
            SettingError: a setting, the number of processes or photos, or their order differs.
        """
        for name in _FIXED_SETTINGS:
            if name not in self.settings:
                raise SettingError(
                    f"{self.path} was trained by an earlier clothseg, which had no {name.upper()} and trained "
                    "differently, so its epoch cannot be resumed. Start a new training without --ckpt"
                )
            before, now = self.settings[name], settings.to_dict()[name]
            if before != now:
                words = " ".join(map(str, before)) if isinstance(before, list | tuple) else before
                self._refuse(f"{name.upper()} {before}", f"{now}", f"Pass --{name.replace('_', '-')} {words}")
        if self.epoch > settings.epochs:
            raise SettingError(
                f"{self.path} has done {self.epoch} epochs already, EPOCHS is {settings.epochs}. Raise it"
            )
        if self.num_ranks != num_ranks:
            self._refuse(f"{self.num_ranks} processes", f"{num_ranks}", "Set DEVICES and NUM_NODES as they were")
        if self.num_photos != num_photos:
            self._refuse(f"{self.num_photos} photos", f"{num_photos}", "Use the same DATA_PATH or SHARDS")
        if self.order != _ORDER:
            self._refuse(f"photos in the order {self.order}", _ORDER, "Use the clothseg that trained it")

    def _refuse(self, before: str, now: str, hint: str) -> None:
        raise SettingError(
            f"{self.path} was trained with {before}, now it is {now}, so its epoch cannot be resumed. "
            f"{hint}, or start a new training without --ckpt"
        )


class ExactResume(Callback):
    """Makes a resumed training end with the same weights as an uninterrupted one.

    The order of the photos and their augmentation are functions of seed and epoch (`clothseg.data`), and so is, through
    this callback, every random number of a step (dropout): a function of seed, epoch, batch and process. So a
    checkpoint stores which step comes next, and no state of a generator. Only the `train_loss` of an epoch that was
    resumed in its middle differs: it is the mean over the steps since.

    The arguments are stored in each checkpoint, to be compared when it is resumed; see `ResumePoint`.
    """

    def __init__(self, settings: Settings, *, num_photos: int, log_folder: str) -> None:
        self.settings = settings
        self.num_photos = num_photos
        self.log_folder = log_folder
        self._position: dict[str, int] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note which batch comes next."""
        state = checkpoint[TRAINING_KEY]
        self._position = {"epoch": state["epoch"], "batches_done": state["batches_done"]}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the loader which batch comes next.

        Lightning 2.6 would do so itself, but not where the learning rate's schedule asks for the number of steps: that
        sets the loader up before the checkpoint is read.
        """
        if self._position is not None:
            loader: Any = trainer.train_dataloader
            loader.load_state_dict(self._position)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the random numbers of this step."""
        torch.manual_seed(step_seed(self.settings.seed, trainer.current_epoch, batch_idx, trainer.global_rank))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the settings of the training and which step comes next."""
        progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning's types leave out its counters
        batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        is_between_epochs = progress.processed == progress.ready
        checkpoint[TRAINING_KEY] = {
            "epoch": progress.processed,
            "batches_done": 0 if is_between_epochs else batches.processed,
            "num_ranks": trainer.world_size,
            "num_photos": self.num_photos,
            "log_folder": self.log_folder,
            "settings": self.settings.to_dict(),
        }
        if trainer.validating:
            # Lightning counts a validation that stopped after any other batch as done, and trains past the epoch's end.
            checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"] = {
                "total": dict(_VALIDATION_TO_DO),
                "current": dict(_VALIDATION_TO_DO),
                "is_last_batch": False,
            }


def step_seed(seed: int, epoch: int, batch: int, rank: int) -> int:
    """Return the seed of one training step on one process; other arguments give another seed."""
    return int(np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(1, np.uint64)[0])
