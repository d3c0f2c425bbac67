"""Samples for training and validation, a photo and its mask, augmented or letterboxed; and batches of them."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Sequence
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from clothseg.data.augmentation import Strength, augment, draw_augmentation, letterbox
from clothseg.data.packed import PackedPairs
from clothseg.data.pair import FilePairs
from clothseg.settings import CropSize
from clothseg.types import UInt8Array


class Sample(TypedDict):
    """One photo with its mask, as the network takes it."""

    image: Tensor
    """(3, H, W) uint8 RGB, in memory as (H, W, 3)."""
    mask: Tensor
    """(H, W) uint8 class ids; 255 around the photo."""
    name: str
    """Path of the photo inside its folder, without the suffix."""


class Batch(TypedDict):
    """Samples of one batch."""

    image: Tensor
    """(B, 3, H, W) uint8 RGB in channels-last memory."""
    mask: Tensor
    """(B, H, W) uint8 class ids; 255 around the photos."""
    name: list[str]


class ClothDataset(Dataset[Sample]):
    """Photos and their masks as samples of one size, square unless they are augmented and `crop_size` is not.

    A sample is a pure function of the seed and its key, so that neither the number of workers nor a resumed training
    changes it. `img_size` and `crop_size` are those of `draw_augmentation`; without a `strength`, photos are
    letterboxed, as in validation and prediction.
    """

    def __init__(
        self,
        pairs: FilePairs | PackedPairs,
        *,
        img_size: int,
        crop_size: CropSize | None = None,
        seed: int = 42,
        strength: Strength | None = None,
    ) -> None:
        self.pairs = pairs
        self.img_size = img_size
        self.crop_size = crop_size
        self.seed = seed
        self.strength = strength

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: tuple[int, int] | int) -> Sample:
        """Return the sample of `(epoch, index)`, or of `index` in epoch 0; see `__getitems__`."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int] | int]) -> list[Sample]:
        """Return the samples of a batch, which torch asks for at once, so that a remote store is, too.

        Raises:
            DataError: a photo or its mask cannot be read, or they do not fit together; the message names the file.
            MissingInputError: one of them does not exist.
            MachineError: a remote store, the network or the disk failed.
        """
        epochs_and_indices = [key if isinstance(key, tuple) else (0, key) for key in keys]
        found = self.pairs.read([index for _, index in epochs_and_indices])
        return [
            self._sample(*named, epoch=epoch, index=index)
            for (epoch, index), named in zip(epochs_and_indices, found, strict=True)
        ]

    def _sample(self, name: str, image: UInt8Array, mask: UInt8Array, *, epoch: int, index: int) -> Sample:
        if self.strength is None:
            image, mask = letterbox(image, mask, self.img_size)
        else:
            rng = np.random.default_rng([self.seed, epoch, index])
            augmentation = draw_augmentation(rng, mask.shape, self.img_size, self.strength, self.crop_size)
            image, mask = augment(image, mask, augmentation)
        return {"image": torch.from_numpy(image).permute(2, 0, 1), "mask": torch.from_numpy(mask), "name": name}


def collate(samples: Sequence[Sample]) -> Batch:
    """Return `samples` as one batch; a loader process writes it into memory that it shares with the training."""
    images = default_collate([sample["image"].permute(1, 2, 0) for sample in samples])
    return {
        "image": images.permute(0, 3, 1, 2),
        "mask": default_collate([sample["mask"] for sample in samples]),
        "name": [sample["name"] for sample in samples],
    }


def start_worker(worker_id: int = 0) -> None:
    """Set up a loader process: one thread, as the processes run in parallel, and an allocator that reuses its memory.

    A 550 x 830 photo costs 1,050 page faults and 40% of its time otherwise. Up to 128 MB stay with the process.
    """
    cv2.setNumThreads(0)
    set_trim_threshold(128 << 20)


# Source: glibc, malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

LARGEST_TRIM_THRESHOLD = (1 << 31) - 1
"""In bytes; glibc takes no larger one."""

_LARGEST_MMAP_THRESHOLD = 32 << 20


def set_trim_threshold(limit: int) -> None:
    """Let the allocator reuse up to `limit` bytes of freed memory in this process, if its C library is glibc.

    By default glibc returns a freed buffer of pixels or activations to the system, and the next one costs a page fault
    per 4 KB.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # musl has no mallopt
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
            mallopt(_M_TRIM_THRESHOLD, limit)
