"""The checkpoints of a training: the best three and the last, each complete at any moment."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from clothseg.data.report import SAMPLE
from clothseg.errors import MachineError, ModelError, disk_errors, one_line
from clothseg.model.best import EARLIER_FOLDERS, POINTER_NAME, BestCheckpoint
from clothseg.model.module import ClothSegmentationModel
from clothseg.model.tensor_files import add_checksum
from clothseg.pictures import whole_file

LAST_NAME = "last.ckpt"
"""The checkpoint that a training resumes from."""

_BEST_PATTERN = "clothseg-*.ckpt"


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target, adds its SHA-256, syncs it, and only then gives it its name.

    A kill at any moment leaves the previous checkpoint complete; so does a full disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            MachineError: the folder cannot be written, or the disk is full.
        """
        with whole_file(Path(path), sync=True) as temporary:
            try:
                torch.save(checkpoint, temporary)
            except RuntimeError as error:  # how torch's own writer reports a full disk
                raise MachineError(f"Cannot write {path}: {one_line(error)}. Free some space") from error
            add_checksum(temporary)


class Checkpoints(Checkpoint):
    """Keeps the checkpoints with the lowest `val_loss`, the last one, and a pointer to the best.

    After each epoch the best are written as `clothseg-<epoch>-<val_loss>.ckpt`, then `best.json`, then `last.ckpt`,
    which is also written every few minutes within an epoch. A training that resumes `last.ckpt` of its folder keeps
    that folder's best; any other training first moves what it finds there into `earlier-001`, `earlier-002`, ... .

    Args:
        folder: where the checkpoints are written.
        keep: how many of the best stay.
        every: time between two writings of `last.ckpt` within an epoch.
    """

    def __init__(self, folder: Path, *, keep: int = 3, every: timedelta = timedelta(minutes=10)) -> None:
        self.folder = folder
        self.keep = keep
        self.every = every
        self.losses: dict[str, float] = {}
        """File name → `val_loss` of the best so far."""
        self.best: BestCheckpoint | None = None
        self._continues = False
        self._is_first_save = True
        self._saved_at = time.monotonic()

    @property
    def last_path(self) -> Path:
        """Where the last checkpoint is written."""
        return self.folder / LAST_NAME

    @property
    def best_path(self) -> Path | None:
        """The checkpoint with the lowest `val_loss` so far."""
        return None if self.best is None else self.folder / self.best.path

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the time between two checkpoints from here."""
        self._saved_at = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Write `last.ckpt` when it is time, except after the last batch, which the epoch's end follows soon."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        is_time = time.monotonic() - self._saved_at >= self.every.total_seconds()
        if trainer.strategy.reduce_boolean_decision(is_time, all=False):  # clocks differ, and all must save together
            self.save_last(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the checkpoint of this epoch if it is among the best, and `last.ckpt`."""
        scores = {name: float(score) for name, score in trainer.callback_metrics.items() if name.startswith("val_")}
        if "val_loss" in scores:
            self._save_if_among_best(trainer, scores)
        self.save_last(trainer)

    def save_last(self, trainer: Trainer) -> None:
        """Write `last.ckpt`; every process must call this.

        Raises:
            ModelError: a weight is NaN or infinite; the last good checkpoint stays.
        """
        self._save(trainer, self.last_path)
        self._saved_at = time.monotonic()

    def _save_if_among_best(self, trainer: Trainer, scores: Mapping[str, float]) -> None:
        val_loss = scores["val_loss"]
        if math.isnan(val_loss) or (len(self.losses) >= self.keep and val_loss >= max(self.losses.values())):
            return
        name = f"clothseg-{trainer.current_epoch:03d}-{val_loss:.4f}.ckpt"
        ranked = sorted({**self.losses, name: val_loss}.items(), key=lambda one: one[1])
        dropped = ranked[self.keep :]
        self.losses = dict(ranked[: self.keep])
        if self.best is None or val_loss < self.best.val_loss:
            val_iou = scores.get("val_iou", math.nan)
            model = trainer.lightning_module
            is_sample = (
                isinstance(model, ClothSegmentationModel) and model.hparams["training_data"].get("source") == SAMPLE
            )
            self.best = BestCheckpoint(name, val_loss, val_iou, trainer.current_epoch, dict(scores), is_sample)
        self._save(trainer, self.folder / name)
        if trainer.is_global_zero:
            self.best.write(self.folder)
            for old_name, _ in dropped:
                (self.folder / old_name).unlink(missing_ok=True)

    def _save(self, trainer: Trainer, path: Path) -> None:
        _check_finite(trainer.lightning_module, path)
        if self._is_first_save and not self._continues and trainer.is_global_zero:
            moved = move_earlier(self.folder)
            if moved is not None:
                print(f"The checkpoints of an earlier training are now in {moved}", file=sys.stderr)
        self._is_first_save = False
        trainer.save_checkpoint(path)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training needs to know of the best so far, as plain values."""
        best = None if self.best is None else {**vars(self.best), "scores": dict(self.best.scores)}
        return {"losses": dict(self.losses), "best": best}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Restore the best so far if the training resumes in its own folder."""
        self._continues = continues(trainer.ckpt_path, self.folder)
        state = checkpoint["callbacks"].get(self.state_key)
        if not self._continues or state is None:
            return
        self.losses = {name: loss for name, loss in state["losses"].items() if (self.folder / name).is_file()}
        if state["best"] is not None and state["best"]["path"] in self.losses:
            self.best = BestCheckpoint(**state["best"])


def continues(resume: Any, folder: Path) -> bool:
    """Return whether `resume` is the last checkpoint of the training whose checkpoints are in `folder`."""
    return resume is not None and Path(resume).resolve() == (folder / LAST_NAME).resolve()


def move_earlier(folder: Path) -> Path | None:
    """Move the checkpoints in `folder` into a new folder inside it.

    Returns:
        The new folder, or None where there was nothing to move.

    Raises:
        MachineError: the folder cannot be written.
    """
    names = [POINTER_NAME, LAST_NAME, *(path.name for path in folder.glob(_BEST_PATTERN))]
    present = [name for name in names if (folder / name).exists()]
    if not present:
        return None
    numbers = [int(path.name.rpartition("-")[2]) for path in folder.glob(EARLIER_FOLDERS) if path.name[-3:].isdigit()]
    earlier = folder / EARLIER_FOLDERS.replace("*", f"{max(numbers, default=0) + 1:03d}")
    with disk_errors(f"Cannot move earlier checkpoints to {earlier}", "Check it"):
        earlier.mkdir()
        for name in present:
            (folder / name).rename(earlier / name)
    return earlier


def _check_finite(module: LightningModule, path: Path) -> None:
    for name, weights in module.state_dict().items():
        if weights.is_floating_point() and not bool(weights.isfinite().all()):
            raise ModelError(
                f"Weight {name} is NaN or infinite; {path} was not written and the checkpoints before it are good. "
                "Start a new training with a lower LEARNING_RATE"
            )
