"""A dry run: a few real steps that check data, weights, memory and disk, and tell how long a training will take."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.errors import check_space
from clothseg.model.module import ClothSegmentationModel
from clothseg.settings import Settings
from clothseg.training.fit import build_trainer, check_paths, make_folders, named_failures, quiet
from clothseg.training.resume import ResumePoint

STEPS = 2
"""Of training and of validation; the first one starts processes and chooses algorithms, and is not timed."""
LOADED = 16
"""Photos that are loaded to time that."""
CPU_BATCH = 2
"""Photos of a step on a CPU, where a batch of 32 would take minutes; fewer if BATCH_SIZE is."""
_BYTES_PER_WEIGHT = 16
"""In a checkpoint: float32 weights, their moving average, and two moments of AdamW."""
_NUM_CHECKPOINTS = 5
"""The three best, the last, and one that is being written."""


class _Clock(Callback):
    """Takes the shortest time from one step to the next, in seconds; their photos were loaded during the first."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def _take(self, name: str) -> None:
        now = time.perf_counter()
        if name in self._last:
            self.seconds[name] = min(now - self._last[name], self.seconds.get(name, float("inf")))
        self._last[name] = now

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any) -> None:
        """Take the time of a training step."""
        float(step[0]["loss"])  # waits for the GPU
        self._take("train")

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *step: Any) -> None:
        """Take the time of a validation step."""
        self._take("val")


def dry_run(
    model: ClothSegmentationModel, data: ClothSegmentationData, *, settings: Settings, resume: Path | None = None
) -> None:
    """Train and validate for a few steps, and print what a whole training would take; no file is written.

    On a CPU, batches have `CPU_BATCH` photos. The checkpoint to resume is checked and not used.

    Raises:
        SettingError, ModelError, MachineError: as `fit`; also where the disk has no room for the checkpoints.
    """
    check_paths(settings, resume)
    make_folders(settings)
    if resume is not None:
        ResumePoint.read(resume, model.description)
    num_bytes = _NUM_CHECKPOINTS * _BYTES_PER_WEIGHT * sum(weight.numel() for weight in model.parameters())
    check_space(settings.checkpoints_path, num_bytes, what=f"the checkpoints in {settings.checkpoints_path}")
    wanted, clock = settings.batch_size, _Clock()
    print(f"Dry run: {STEPS} steps of training and of validation", file=sys.stderr)
    with quiet(), named_failures(model, settings, None):
        trainer = build_trainer(data, settings=settings, callbacks=[clock], log=False, fast_dev_run=STEPS)
        device = trainer.strategy.root_device
        if device.type == "cpu" and wanted > CPU_BATCH:
            settings = replace(settings, batch_size=CPU_BATCH)
            data = ClothSegmentationData.from_settings(settings)
        trainer.fit(model, datamodule=data)
    if not trainer.is_global_zero:
        return
    num_photos, num_val = len(data.train_dataset), len(data.val_dataset)
    print(f"Data: {num_photos:,} photos, {num_val:,} to validate, {len(data.classes)} classes: {data.manifest.name}")
    weights = model.hparams["encoder_weights"] or "random numbers"
    print(f"Network: {model.architecture} with {model.hparams['encoder_name']}, which starts from {weights}")
    print(f"Memory: {_memory(device, settings)}")
    print(f"Disk: {num_bytes / 1e9:.1f} GB for checkpoints in {settings.checkpoints_path}, which has room")
    per_step = settings.batch_size * trainer.world_size
    steps = -(-num_photos // (wanted * trainer.world_size))
    print(f"Training: {settings.epochs} epochs of {steps:,} steps, {settings.epochs * steps:,} in all")
    if {"train", "val"} <= clock.seconds.keys():
        photo, val_photo = clock.seconds["train"] / per_step, clock.seconds["val"] / per_step
        num_loaders = max(1, data.train_dataloader().num_workers) * trainer.world_size
        load = _seconds_to_load(data) / num_loaders
        hours = settings.epochs * (num_photos * max(photo, load) + num_val * max(val_photo, load)) / 3600
        print(
            f"Time: {photo * 1e3:,.1f} ms a photo for the network, {load * 1e3:,.1f} ms for loading (processes: "
            f"{num_loaders}) at the same time, so about {hours:,.2g} h for all epochs"
        )


def _seconds_to_load(data: ClothSegmentationData) -> float:
    """Return the seconds that one process takes to load a training photo."""
    began, count = time.perf_counter(), min(LOADED, len(data.train_dataset))
    for number in range(count):
        data.train_dataset[number * len(data.train_dataset) // count]
    return (time.perf_counter() - began) / count


def _memory(device: torch.device, settings: Settings) -> str:
    step = f"a step of {settings.batch_size} photos at {settings.img_size} pixels"
    if device.type != "cuda":
        return f"{step} fits; on a {device.type} the memory of the whole batch is not measured"
    used, total = torch.cuda.max_memory_reserved(device), torch.cuda.get_device_properties(device).total_memory
    return f"{step} takes {used / 1e9:.1f} of {total / 1e9:.1f} GB of {torch.cuda.get_device_name(device)}"
