"""`clothseg train`: train a model, or resume a training."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from clothseg.data.manifest import Manifest
from clothseg.data.packed import read_manifest
from clothseg.errors import ModelError, SettingError, check_input, command
from clothseg.labels import load_classes
from clothseg.settings import Settings


@dataclass(frozen=True)
class Train:
    """Train a model on the prepared dataset, or resume a training.

    The best checkpoints by val_loss and last.ckpt go to the checkpoints folder, curves and pictures to the logs folder:
    uv run tensorboard --logdir logs
    """

    ckpt: Path | None = None
    """Checkpoint to resume, such as checkpoints/last.ckpt: same optimizer, learning rate, epoch and next photo.
    With more epochs than before, the learning rate follows the longer curve from there on."""
    dry_run: bool = False
    """Check data, weights, memory and disk in a few steps, print how long the training would take, and write nothing.
    """
    settings: Annotated[Settings, tyro.conf.arg(name="")] = field(default_factory=Settings)

    def run(self) -> int:
        """Train, print the result, and return the exit code."""
        check_inputs(self)
        from clothseg.data.datamodule import ClothSegmentationData
        from clothseg.model.module import ClothSegmentationModel
        from clothseg.training.callbacks import build_callbacks
        from clothseg.training.dry_run import dry_run
        from clothseg.training.fit import fit, print_result

        data = ClothSegmentationData.from_settings(self.settings)
        model = ClothSegmentationModel.from_settings(self.settings, data, with_weights=self.ckpt is None)
        if self.dry_run:
            dry_run(model, data, settings=self.settings, resume=self.ckpt)
            return 0
        callbacks = build_callbacks(self.settings)
        result = fit(model, data, settings=self.settings, callbacks=callbacks, resume=self.ckpt)
        print_result(result, data.classes)
        return 0


def check_inputs(command: Train) -> None:
    """Check that the inputs exist before torch is loaded, which takes seconds.

    Raises:
        MissingInputError, DataError: there is no dataset, or its manifest is damaged.
        MachineError, MissingExtraError: it is in a store that cannot be read.
        SettingError: `classes` names other classes than the dataset was prepared with.
        MissingModelError: the checkpoint to resume from is not there.
    """
    manifest = read_manifest(command.settings)
    check_classes(command.settings, manifest)
    if command.ckpt is not None:
        hint = "Pass the path of a last.ckpt, or start a new training without --ckpt"
        check_input(command.ckpt, "Checkpoint", hint, error=ModelError)


def check_classes(settings: Settings, manifest: Manifest) -> None:
    """Refuse a `classes` setting that differs from the classes of the dataset, whose masks have these only.

    The default is not compared, so that a dataset with custom classes trains without naming them again.

    Raises:
        SettingError: the classes differ.
    """
    if settings.classes != Settings.classes and load_classes(settings.classes) != manifest.classes:
        where = settings.shards or settings.data_path
        raise SettingError(
            f"CLASSES is {settings.classes}, but the dataset {manifest.name} in {where} was prepared "
            f"with {len(manifest.classes)} other classes ({', '.join(manifest.classes.names[:4])}, …). "
            f'Run "{command("prepare", "--classes", settings.classes)}" first, or leave CLASSES at {Settings.classes}'
        )
