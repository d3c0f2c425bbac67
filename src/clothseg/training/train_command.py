"""`clothseg train`: train a model, or resume a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.errors import MissingModelError
from clothseg.settings import Settings
from clothseg.training.result import print_result


@dataclass(frozen=True)
class Train:
    """Train a model on the prepared data set, or go on with a training.

    The best checkpoints by val_loss and last.ckpt go to the checkpoints folder, curves and pictures to the logs folder:
    uv run tensorboard --logdir logs
    """

    ckpt: Path | None = None
    """Checkpoint to go on from, such as checkpoints/last.ckpt: same optimizer, learning rate, epoch and next photo.
    With more epochs than before, the learning rate follows the longer curve from there on."""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)

    def run(self) -> int:
        """Train, say what came out, and return the exit code."""
        check_inputs(self)
        from clothseg.training.build import build_data, build_model
        from clothseg.training.callbacks import build_callbacks
        from clothseg.training.fit import fit

        data = build_data(self.settings)
        model = build_model(self.settings, data, with_weights=self.ckpt is None)
        callbacks = build_callbacks(self.settings)
        result = fit(model, data, settings=self.settings, callbacks=callbacks, resume=self.ckpt)
        print_result(result, data.classes)
        return 0


def check_inputs(command: Train) -> None:
    """Refuse what is not there before torch is loaded, which takes seconds.

    Raises:
        MissingInputError, DataError: there is no prepared data set, or its manifest is damaged.
        MissingModelError: the checkpoint to resume from is not there.
    """
    Manifest.read(command.settings.data_path / DATASET_FOLDER)
    if command.ckpt is not None and not command.ckpt.exists():
        raise MissingModelError(
            f"Checkpoint not found: {command.ckpt}. Pass the path of a last.ckpt, or train anew without --ckpt"
        )
