"""One training run: set up Lightning, fit, and print the result."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger

from clothseg.data.datamodule import ClothSegmentationData, out_of_shared_memory
from clothseg.data.dataset import LARGEST_TRIM_THRESHOLD, set_trim_threshold
from clothseg.errors import MachineError, SettingError, command, make_folder, one_line
from clothseg.labels import ClassList
from clothseg.model.module import ClothSegmentationModel
from clothseg.model.optimizer import preferred_precision
from clothseg.settings import Settings
from clothseg.training.checkpoints import Checkpoints, WholeFileIO
from clothseg.training.resume import ExactResume, ResumePoint
from clothseg.training.signals import EndTogether, StopOnSignal, is_lost_connection, lost_connection
from clothseg.training.tensorboard import describe_run, open_log

_CLIP_NORM = 1.0
"""Largest norm of a gradient that is not clipped, so that a rare batch of odd photos cannot move the weights far."""

_QUIET = (
    "does not have many workers",  # the number of cores is known already
    "exists and is not empty",
    "Consider setting `persistent_workers",
    "Please add the following callbacks",  # a resumed training may have other callbacks
    "WeightAveraging callback with a model that overrides",  # it changes the memory format only
    "isinstance(treespec, LeafSpec)",  # Lightning 2.6 itself calls what torch 2.15 deprecates
)
"""Warnings of Lightning about what is intended, or about its own code."""

_MEMORY_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")

_HINT = {
    "torchrun": "Give DEVICES the number of --nproc-per-node, and NUM_NODES that of --nnodes",
    "SLURM": "Give DEVICES the number of --ntasks-per-node, and NUM_NODES that of --nodes",
}


@dataclass(frozen=True)
class FitResult:
    """The result of a training."""

    best_path: Path | None
    """Checkpoint with the lowest `val_loss`; None if no epoch was completed."""
    last_path: Path
    """Checkpoint to resume from."""
    scores: Mapping[str, float]
    """Validation scores of the best checkpoint by their name in TensorBoard; absent classes are not among them."""
    epochs: int
    """Epochs completed, those before a resume counted."""
    is_main_process: bool
    """True for the one of several processes that may print."""


def fit(
    model: ClothSegmentationModel,
    data: ClothSegmentationData,
    *,
    settings: Settings,
    callbacks: Sequence[Callback],
    resume: Path | None = None,
) -> FitResult:
    """Train `model` on the batches of `data` as the settings say, or resume at the very step of a checkpoint.

    Of `callbacks`, `Checkpoints` is added if it is not among them.

    Raises:
        SettingError: settings that do not fit the machine or the training to be resumed.
        ModelError: `resume` is no checkpoint of a training, or does not fit `model`; the loss became NaN.
        MachineError: out of memory or disk.
        TrainingStopped: a signal ended the training; it is a SystemExit, and `last.ckpt` is complete.
    """
    check_paths(settings, resume)
    point = None if resume is None else ResumePoint.read(resume, model.description)
    seed_everything(settings.seed, workers=True, verbose=False)
    checkpoints = next((one for one in callbacks if isinstance(one, Checkpoints)), None)
    if checkpoints is None:
        checkpoints = Checkpoints(settings.checkpoints_path)
        callbacks = [*callbacks, checkpoints]
    log = open_log(settings, point)
    num_photos = len(data.train_dataset)
    exact = ExactResume(settings, num_photos=num_photos, log_folder=Path(log.log_dir).name)
    together = EndTogether(checkpoints.last_path)
    with quiet(), named_failures(model, settings, checkpoints.last_path), StopOnSignal(checkpoints) as stop:
        trainer = build_trainer(data, settings=settings, callbacks=[together, *callbacks, exact, stop], log=log)
        if trainer.strategy.root_device.type == "cpu":
            # Each step allocates the activations of every layer again. Where the process keeps them, a step of U-Net
            # with mobilenet_v2 at 384 pixels, 4 photos and one thread takes 12% less processor time (2033 → 1798 ms,
            # medians over epochs of two trainings each, the cores busy with others; 2026-11-25).
            set_trim_threshold(LARGEST_TRIM_THRESHOLD)
        if point is not None:
            point.check(settings, num_ranks=trainer.world_size, num_photos=num_photos)
            if point.epoch >= settings.epochs and trainer.is_global_zero:
                print(f"{resume} has done all {point.epoch} epochs. Pass more --epochs to continue", file=sys.stderr)
        make_folders(settings)  # only now: a refused training makes none
        if trainer.is_global_zero:
            describe_run(log, settings, data.classes)
        trainer.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
    best = checkpoints.best
    progress: Any = trainer.fit_loop.epoch_progress.current  # Lightning's types leave out its counters
    return FitResult(
        best_path=checkpoints.best_path,
        last_path=checkpoints.last_path,
        scores={} if best is None else best.scores,
        epochs=progress.processed,
        is_main_process=trainer.is_global_zero,
    )


def print_result(result: FitResult, classes: ClassList) -> None:
    """Print the best checkpoint, its scores and the next command on stdout, once for all processes."""
    if not result.is_main_process:
        return
    if result.best_path is None:
        print(f"No epoch was completed. Resume with: {command('train', '--ckpt', result.last_path)}")
        return
    scores = result.scores
    width = max(len(name) for name in classes.names)
    print(f"\nIoU per class on the validation photos, best of {result.epochs} epochs:")
    for name in classes.names:
        iou = scores.get(f"val_iou/{name}", math.nan)
        print(f"  {name:<{width}}  {'absent' if math.isnan(iou) else f'{iou:.4f}'}")
    means = (f"{name} {scores[name]:.4f}" for name in ("val_loss", "val_iou", "val_f1", "val_acc") if name in scores)
    print("  ".join(means))
    print(f"Best checkpoint: {result.best_path}")
    print(f"Next: {command('predict', 'PHOTO', '--ckpt', result.best_path)}")


def build_trainer(
    data: ClothSegmentationData,
    *,
    settings: Settings,
    callbacks: Sequence[Callback],
    log: TensorBoardLogger | bool,
    fast_dev_run: int = 0,
) -> Trainer:
    """Set up Lightning's Trainer as `settings` say; with `fast_dev_run`, for so many steps that write nothing.

    Raises:
        SettingError: this machine does not have the devices or the precision asked for, or torchrun or SLURM started
            another number of processes.
    """
    precision: Any = settings.precision
    if precision == "auto":
        precision = preferred_precision(settings.accelerator)
    is_on_gpu = settings.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    try:
        trainer = Trainer(
            accelerator=settings.accelerator,
            devices="auto" if settings.devices is None else settings.devices,
            num_nodes=settings.num_nodes,
            strategy=settings.strategy,
            precision=precision,
            max_epochs=settings.epochs,
            gradient_clip_val=_CLIP_NORM,
            callbacks=list(callbacks),
            logger=log,
            fast_dev_run=fast_dev_run or False,
            plugins=[WholeFileIO()],
            use_distributed_sampler=False,  # EpochSampler distributes the samples, and resumes within an epoch
            num_sanity_val_steps=0,  # would show up in the scores of the first epoch
            sync_batchnorm=is_on_gpu,  # several GPUs then learn as one with a larger batch; torch has none for the CPU
            benchmark=is_on_gpu,  # every batch has one size, so that measuring convolutions pays off
            enable_model_summary=False,
            enable_progress_bar=not fast_dev_run,
        )
    except MisconfigurationException as error:
        raise SettingError(
            f"{one_line(error)}. Change ACCELERATOR, DEVICES, NUM_NODES, STRATEGY or PRECISION"
        ) from error
    except RuntimeError as error:
        if "SLURM" in str(error):  # tasks that were asked for in a way that Lightning does not take
            raise SettingError(one_line(error)) from error
        raise
    _check_processes(trainer)
    steps = math.ceil(len(data.train_dataset) / (data.batch_size * trainer.world_size))
    connector: Any = trainer  # the number of processes, and so of steps, is known only now
    connector.log_every_n_steps = max(1, min(50, steps // 10))
    return trainer


def _check_processes(trainer: Trainer) -> None:
    """Refuse to train on another number of processes than were started.

    Where the settings ask for one process, Lightning trains in each by itself, and all write to the same files; where
    they ask for more than there are, it waits for the others.

    Raises:
        SettingError: torchrun or SLURM started more or fewer processes than the settings ask for, here or in all.
    """
    environment: TorchElasticEnvironment | SLURMEnvironment
    if TorchElasticEnvironment.detect():  # the first choice, as it is Lightning's: it may run inside a SLURM job
        name, environment = "torchrun", TorchElasticEnvironment()
    elif SLURMEnvironment.detect():
        name, environment = "SLURM", SLURMEnvironment()
    else:
        return
    devices, nodes, started = trainer.num_devices, trainer.num_nodes, environment.world_size()
    if started != devices * nodes:
        raise SettingError(
            f"{name} started {started} processes, but {devices} on each of {nodes} machines are asked for. "
            f"{_HINT[name]}"
        )
    try:
        environment.validate_settings(num_devices=devices, num_nodes=nodes)
    except ValueError as error:
        raise SettingError(f"{one_line(error)} {_HINT[name]}") from error


def make_folders(settings: Settings) -> None:
    """Make the folders that a training writes, before its hours.

    Raises:
        MachineError: one cannot be written.
    """
    for folder in (settings.checkpoints_path, settings.logs_path):
        make_folder(folder, "Choose another CHECKPOINTS_PATH or LOGS_PATH")


def check_paths(settings: Settings, resume: Path | None) -> None:
    """Refuse `::` in a path: Lightning, which opens them with fsspec, reads it as a chain of addresses.

    Raises:
        SettingError: there is one in the checkpoint to resume, or in a folder that the training writes.
    """
    given = {"CHECKPOINTS_PATH": settings.checkpoints_path, "LOGS_PATH": settings.logs_path, "--ckpt": resume}
    for name, path in given.items():
        if path is not None and "::" in str(path):
            raise SettingError(
                f'{name} is {path}. Lightning reads "::" as the end of an address. Pass a path without it'
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the messages of Lightning about itself and its devices, and nothing else."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for part in _QUIET:
            warnings.filterwarnings("ignore", message=f".*{re.escape(part)}")
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _killed_loader(error: RuntimeError) -> MachineError:
    """Return the error for a loader process that the system killed; with a full /dev/shm, that is a bus error."""
    if "Bus error" in str(error) or "shared memory" in str(error):
        return out_of_shared_memory()
    return MachineError(
        f"A process that loads photos was killed ({one_line(error)[:200]}). If memory ran out, lower NUM_WORKERS"
    )


def _is_out_of_memory(error: Exception) -> bool:
    is_named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_named or any(one in str(error) for one in _MEMORY_SIGNS)


def fitting_batch_size(model: ClothSegmentationModel, settings: Settings) -> int | None:
    """Return the half, quarter and so on of the batch size with which a step fits into memory, tried on the device.

    Returns:
        Photos of a step, 0 if not even one fits, or None where several processes train, or a step fails otherwise.
    """
    is_on_gpu = settings.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    device = torch.device("cuda" if is_on_gpu else "cpu")
    num_processes = (settings.devices or (torch.cuda.device_count() if is_on_gpu else 1)) * settings.num_nodes
    if num_processes > 1 or (not is_on_gpu and torch.backends.mps.is_available()):  # MPS shares the system's memory
        return None
    precision = preferred_precision(settings.accelerator) if settings.precision == "auto" else settings.precision
    sides = settings.crop_size or settings.img_size
    height, width = sides if isinstance(sides, tuple) else (sides, sides)
    size = settings.batch_size // 2
    while size:
        try:
            model.to(device).zero_grad(set_to_none=True)
            if is_on_gpu:
                torch.cuda.empty_cache()
            image = torch.zeros(size, 3, height, width, dtype=torch.uint8, device=device)
            kind = torch.float16 if precision == "16-mixed" else torch.bfloat16
            with torch.autocast(device.type, kind, enabled=precision != "32-true"):
                loss = model.loss(model(image), image[:, 0])
            torch.autograd.backward(loss)
            return size
        except (RuntimeError, MemoryError, ValueError) as error:  # ValueError: too small a batch for this network
            if not _is_out_of_memory(error):
                return None
            traceback.clear_frames(error.__traceback__)
        size //= 2
    return 0


@contextlib.contextmanager
def named_failures(model: ClothSegmentationModel, settings: Settings, last_path: Path | None) -> Iterator[None]:
    """Turn errors of torch about memory, loader processes and lost connections into ones that say what to do."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the step
            size = None if isinstance(error, MemoryError) else fitting_batch_size(model, settings)
            advice = "Lower BATCH_SIZE first, then IMG_SIZE"
            if size is not None:
                advice = (
                    f"A step of {size} fits: pass --batch-size {size}"
                    if size
                    else "Not even one photo fits: lower IMG_SIZE"
                )
            raise MachineError(
                f"Out of memory with BATCH_SIZE {settings.batch_size} and IMG_SIZE {settings.img_size}. {advice}"
            ) from error
        if isinstance(error, RuntimeError) and "DataLoader worker" in str(error):
            raise _killed_loader(error) from error
        if last_path is not None and is_lost_connection(error):
            raise lost_connection(error, last_path) from error
        raise
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning makes exit code 1 of it
            raise KeyboardInterrupt from error
        raise
