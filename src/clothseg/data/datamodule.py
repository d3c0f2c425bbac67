"""The data module: training and validation batches of a prepared or packed dataset, in an order that resumes."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from clothseg.cores import num_loaders
from clothseg.data.augmentation import Strength
from clothseg.data.dataset import Batch, ClothDataset, Sample, collate, start_worker
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.packed import PackedPairs, Store, read_packed_manifest
from clothseg.data.pair import FilePairs
from clothseg.data.sampler import EpochSampler
from clothseg.errors import ClothsegError, DataError, MachineError, command, one_line
from clothseg.settings import CropSize, Settings


class BatchLoader(DataLoader[Sample]):
    """A DataLoader that starts an epoch when its first batch is requested, and that knows its position.

    Lightning makes the iterator before it sets the epoch of a resumed training. torch's own loader starts to load at
    that moment, so it would load the wrong epoch.
    """

    epoch_sampler: EpochSampler

    def __init__(self, dataset: ClothDataset, sampler: EpochSampler, *, num_workers: int) -> None:
        super().__init__(
            dataset,
            batch_size=sampler.batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
            persistent_workers=num_workers > 0,
            prefetch_factor=2 if num_workers else None,  # torch refuses a number without workers
        )
        self.epoch_sampler = sampler
        self._position = {"epoch": 0, "batches_done": 0}

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # DataLoader promises its own iterator class
        sampler = self.epoch_sampler
        self._position = {"epoch": sampler.epoch, "batches_done": sampler.next_batch}
        try:
            for batch in self._start():
                self._position["batches_done"] += 1
                yield batch
        except (ConnectionError, EOFError) as error:
            if not self.num_workers:
                raise
            # The process was killed while it sent a batch, before torch noticed its end.
            raise RuntimeError(f"DataLoader worker is gone: {one_line(error)}") from error
        except Exception as error:
            if _MARK not in str(error):
                raise
            raise _unwrapped(error) from error

    def _start(self) -> Iterator[Batch]:
        with warnings.catch_warnings():
            # Python 3.12 warns that a fork next to threads may hang; the workers use no lock of those threads.
            warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
            return super().__iter__()

    def state_dict(self) -> dict[str, int]:
        """Return epoch and batches done, which Lightning stores in its checkpoints."""
        return dict(self._position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches of `state`, if the next epoch requested is the same."""
        self.epoch_sampler.start_at(state["batches_done"], epoch=state["epoch"])


_MARK = "Original Traceback"
"""What torch writes before the traceback of a loader process, in the message of the error."""
_SHARED_MEMORY_SIGNS = ("shared memory", "/torch_", "shm_open", "resize file")


def _unwrapped(error: Exception) -> Exception:
    """Return the error of a loader process, without the traceback that torch puts into its message.

    Errors of memory keep their class, as the caller knows which setting to lower.
    """
    kind = type(error)
    traceback = str(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    _, mark, message = traceback.rpartition(f"\n{name}: ")
    what = one_line(Exception(message if mark else traceback.rstrip().rpartition("\n")[2]))
    if isinstance(error, ClothsegError):
        return kind(what)
    if any(sign in what for sign in _SHARED_MEMORY_SIGNS):
        return out_of_shared_memory()
    if isinstance(error, MemoryError) or "out of memory" in what or "allocate memory" in what:
        return MemoryError(what)
    return MachineError(
        f"A process that loads photos failed: {kind.__name__}: {what[:300]}. Set NUM_WORKERS 0 to load in the training "
        "process, and see where"
    )


def out_of_shared_memory() -> MachineError:
    """Return the error for loader processes whose batches do not fit into shared memory."""
    try:
        size = f"{shutil.disk_usage(_SHARED_MEMORY).total / 2**20:,.3g} MB"
    except OSError:
        size = "not there"
    return MachineError(
        f"Shared memory ran out: {_SHARED_MEMORY}, through which loader processes hand over batches, is {size}. "
        "Enlarge it (docker run --shm-size=2g), lower NUM_WORKERS or BATCH_SIZE, or set NUM_WORKERS 0 to do without it"
    )


_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


class ClothSegmentationData(LightningDataModule):
    """Training and validation batches of the dataset in `DATA_PATH / "fashionist"`, or of a packed one.

    Batches are {"image": (B, 3, H, W) uint8 RGB, "mask": (B, H, W) uint8 class ids with 255 around the photo,
    "name": list of str}. The loaders distribute the samples over processes themselves: pass
    `use_distributed_sampler=False` to Lightning's Trainer.

    The arguments are the settings of the same name; see `clothseg.settings.Settings`. Without `augment`, training
    photos are letterboxed as in validation.

    Raises:
        MissingInputError: there is no prepared dataset.
        DataError: it is damaged, or a split is empty.
        SettingError, MachineError, MissingExtraError: a store that cannot be read.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        img_size: int,
        crop_size: CropSize | None = None,
        batch_size: int,
        num_workers: int | None = None,
        seed: int = 42,
        augment: bool = True,
        shards: str | None = None,
    ) -> None:
        super().__init__()
        self._folder = Path(data_path) / DATASET_FOLDER
        self._store = None if shards is None else Store(shards)
        self.manifest = Manifest.read(self._folder) if self._store is None else read_packed_manifest(self._store)
        self.classes = self.manifest.classes
        self.img_size = img_size
        self.crop_size = crop_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.train_dataset, self.train_sampler = self._split("train", Strength() if augment else None)
        self.val_dataset, self.val_sampler = self._split("val", None)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the batches that the settings describe, from files or from a packed dataset.

        Raises:
            MissingInputError, DataError, SettingError, MachineError, MissingExtraError: as the class says.
        """
        return cls(
            settings.data_path,
            img_size=settings.img_size,
            crop_size=settings.crop_size,
            batch_size=settings.batch_size,
            num_workers=settings.num_workers,
            seed=settings.seed,
            shards=settings.shards,
        )

    def class_weights(self, balance: float) -> tuple[float, ...]:
        """Return how much a training pixel of each class counts; see `balanced_weights`."""
        return balanced_weights(self.manifest.splits["train"].pixels_per_class, balance)

    def train_dataloader(self) -> BatchLoader:
        """Return the loader of the training batches."""
        return self._loader(self.train_dataset, self.train_sampler)

    def val_dataloader(self) -> BatchLoader:
        """Return the loader of the validation batches."""
        return self._loader(self.val_dataset, self.val_sampler)

    def _split(self, name: str, strength: Strength | None) -> tuple[ClothDataset, EpochSampler]:
        """Return the samples of a split and their order: random for training, else as they are stored."""
        dataset = ClothDataset(
            self._pairs(name), img_size=self.img_size, crop_size=self.crop_size, seed=self.seed, strength=strength
        )
        return dataset, EpochSampler(len(dataset), seed=self.seed, shuffle=name == "train", batch_size=self.batch_size)

    def _pairs(self, name: str) -> FilePairs | PackedPairs:
        split = self.manifest.splits.get(name)
        if self._store is not None:
            where, found = self._store.address, split is not None and split.count > 0
        else:
            files = [] if split is None else pairs(self._folder, split)
            where, found = str(self._folder), bool(files)
        if split is None or not found:
            raise DataError(f'The dataset in {where} has no photos to call "{name}". Run "{command("prepare")}" again')
        num_classes = len(self.classes)
        if self._store is not None:
            return PackedPairs(self._store, name, count=split.count, num_classes=num_classes)
        return FilePairs(files, self._folder / split.photos, num_classes=num_classes)

    def _loader(self, dataset: ClothDataset, sampler: EpochSampler) -> BatchLoader:
        trainer: Any = self.trainer
        if trainer is not None:
            sampler.distribute(rank=trainer.global_rank, num_ranks=trainer.world_size)
        per_machine = 1 if trainer is None else trainer.num_devices
        return BatchLoader(dataset, sampler, num_workers=num_loaders(self.num_workers, num_processes=per_machine))


HEAVIEST = 10.0
"""Most that a pixel of a rare class counts; above, a few wrong outlines would dominate the training."""


def balanced_weights(pixels_per_class: Sequence[int], balance: float) -> tuple[float, ...]:
    """Return how much a pixel of each class counts.

    A class weighs its share of the pixels to the power of minus `balance`, scaled so that the average pixel weighs 1,
    and `HEAVIEST` at most. A class without pixels weighs 1, which is never used.

    Args:
        pixels_per_class: of the training masks.
        balance: 0 gives all pixels the same weight, 1 gives all classes the same total weight.

    >>> [round(weight, 2) for weight in balanced_weights([900, 90, 10, 0], 0.5)]
    [0.78, 2.47, 7.41, 1.0]
    """
    pixels = np.asarray(pixels_per_class, dtype=np.float64)
    present = pixels > 0
    weights = np.ones(len(pixels))
    if present.any():
        share = pixels[present] / pixels.sum()
        weight = share**-balance
        weights[present] = np.minimum(weight / (weight * share).sum(), HEAVIEST)
    return tuple(weights.tolist())
