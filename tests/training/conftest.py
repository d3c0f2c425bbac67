import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.labels import ClassList, ClothingClass
from clothseg.model.module import ClothSegmentationModel
from clothseg.settings import Settings
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import FitResult, fit

CLASSES = ClassList(
    (
        ClothingClass("background", (0, 0, 0)),
        ClothingClass("shirt", (200, 40, 0)),
        ClothingClass("trousers", (0, 190, 80)),
        ClothingClass("hat", (60, 0, 220)),
    )
)
"""The hat is in no photo: a class absent from the data."""


def write_data(data_path: Path, *, train: int = 12, val: int = 4) -> None:
    """Write a prepared dataset of small photos: a shirt above trousers, at places that differ from photo to photo."""
    folder = data_path / DATASET_FOLDER
    rng = np.random.default_rng(0)
    splits = {}
    for name, photos, masks, count in (("train", "train", "train_masks", train), ("val", "test", "val_masks", val)):
        pixels, seen = np.zeros(len(CLASSES), dtype=int), np.zeros(len(CLASSES), dtype=int)
        for number in range(count):
            image, mask = _draw(rng)
            for part, content in ((photos, encode_jpeg(image)), (masks, encode_png(mask))):
                path = folder / part / f"{number:03d}{'.jpg' if part == photos else '.png'}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            counts = np.bincount(mask.ravel(), minlength=len(CLASSES))
            pixels, seen = pixels + counts, seen + (counts > 0)
        splits[name] = Split(photos, masks, count, tuple(pixels.tolist()), tuple(seen.tolist()))
    Manifest("drawn", "tests/training", "CC0", CLASSES, splits).write(folder)


def _draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    height, width = (int(side) for side in rng.integers(56, 96, 2))
    left, top = width // 5 + int(rng.integers(0, 8)), height // 6 + int(rng.integers(0, 8))
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top : height // 2, left : width - left] = 1
    mask[height // 2 : height - top // 2, left : width - left] = 2
    image = CLASSES.palette[mask] * 0.8 + rng.integers(0, 50, (height, width, 3))
    return image.astype(np.uint8), mask


class Watcher(Callback):
    """Records the samples and learning rate of each step, and calls `do` at one place of the training."""

    def __init__(self, hook: str = "", epoch: int = -1, batch: int = 0, do: Callable[[], Any] = lambda: None) -> None:
        self.place = (hook, epoch, batch)
        self.do = do
        self.samples: list[tuple[int, str]] = []
        self.learning_rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.samples += [(trainer.current_epoch, name) for name in batch["name"]]
        self.learning_rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self._act(trainer, "train", batch_idx)

    def on_validation_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._act(trainer, "val", batch_idx)

    def _act(self, trainer: Trainer, hook: str, batch: int) -> None:
        if self.place == (hook, trainer.current_epoch, batch):
            self.do()


class Bench:
    """A folder with a dataset, and trainings on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_data(root / "data")
        self.settings = Settings(
            data_path=root / "data",
            img_size=32,
            batch_size=4,
            num_workers=0,
            architecture="pspnet",  # the fewest layers of all, and has both dropout and batch norm
            encoder_name="tu-test_byobnet",
            encoder_weights=None,
            decoder_width=0.25,
            epochs=2,
            learning_rate=2e-3,
            precision="32-true",
            accelerator="cpu",
            checkpoints_path=root / "checkpoints",
            logs_path=root / "logs",
        )

    watcher = Watcher
    classes = CLASSES
    model = staticmethod(ClothSegmentationModel.from_settings)

    def named(self, name: str, **values: Any) -> Settings:
        """Return the settings with their own checkpoints and logs, and with `values`."""
        folder = self.root / name
        paths = {"checkpoints_path": folder / "checkpoints", "logs_path": folder / "logs"}
        return replace(self.settings, **{**paths, **values})

    def train(
        self, settings: Settings, *, resume: Path | None = None, watcher: Callback | None = None
    ) -> tuple[FitResult, ClothSegmentationModel]:
        data = ClothSegmentationData.from_settings(settings)
        model = self.model(settings, data, with_weights=resume is None)
        callbacks = build_callbacks(settings)
        callbacks = callbacks if watcher is None else [watcher, *callbacks]
        return fit(model, data, settings=settings, callbacks=callbacks, resume=resume), model


def flags_of(settings: Settings, *names: str, **values: Any) -> list[str]:
    """Return the words that give `clothseg train` the settings of a bench: those that it sets, `names` and `values`."""
    names = (
        *("data_path", "img_size", "batch_size", "num_workers", "architecture", "encoder_name", "encoder_weights"),
        *("decoder_width", "epochs", "learning_rate", "precision", "accelerator", "checkpoints_path", "logs_path"),
        *names,
    )
    values = {name: getattr(settings, name) for name in names} | values
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def process_environment(**more: str) -> dict[str, str]:
    """Return the environment of a training in a process of its own, without what launchers and trainings set."""
    launchers = ("SLURM_", "TORCHELASTIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(launchers)} | more


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@dataclass(frozen=True)
class Finished:
    """An undisturbed training, which tests read and do not change."""

    bench: Bench
    settings: Settings
    result: FitResult
    weights: dict[str, torch.Tensor]
    """The averaged ones, as the model holds them at the end."""
    watcher: Watcher

    @property
    def last(self) -> dict[str, Any]:
        """The content of `last.ckpt`."""
        return torch.load(self.settings.checkpoints_path / "last.ckpt", weights_only=True)


def _finish(bench: Bench, name: str, **values: Any) -> Finished:
    settings, watcher = bench.named(name, **values), Watcher()
    result, model = bench.train(settings, watcher=watcher)
    return Finished(bench, settings, result, model.state_dict(), watcher)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A training of three epochs."""
    return _finish(Bench(tmp_path_factory.mktemp("finished")), "whole", epochs=3)


@pytest.fixture(scope="session")
def longer(finished: Finished) -> Finished:
    """The same training, planned and done with five epochs."""
    return _finish(finished.bench, "longer", epochs=5, patience=0)


@pytest.fixture(name="write_data")
def write_data_fixture() -> Callable[..., None]:
    return write_data
