"""The plain way from photo to network and back: squashed to a square, varied by torchvision's usual list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

UInt8Array = npt.NDArray[np.uint8]


def plain_samples(found: Sequence[tuple[Path, Path]], size: int, *, seed: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Load photos and masks as (B, 3, size, size) and (B, size, size) uint8, augmented after `seed`."""
    chain = v2.Compose(
        [
            v2.Resize((size, size)),
            v2.RandomResizedCrop(size, scale=(0.5, 1.0)),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(12),
            v2.RandomAffine(0, translate=(0.05, 0.05), shear=5),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.05),
            v2.RandomGrayscale(0.1),
        ]
    )
    images, masks = [], []
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.default_rng(list(seed)).integers(1 << 62)))
        for photo, mask in found:
            image, target = chain(
                tv_tensors.Image(decode_image(str(photo), mode=ImageReadMode.RGB)),
                tv_tensors.Mask(decode_image(str(mask), mode=ImageReadMode.UNCHANGED)),
            )
            images.append(image)
            masks.append(target[0])
    return torch.stack(images), torch.stack(masks)


def squash(image: UInt8Array, size: int) -> UInt8Array:
    """Return a photo, (H, W, 3) uint8, as a square of `size`, whatever its shape."""
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def unsquash(logits: npt.NDArray[np.float32], size: tuple[int, int]) -> UInt8Array:
    """Return the likeliest class of each pixel at `size`, (height, width), from logits, (C, h, w) of the square."""
    planes = [cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in logits]
    return np.asarray(np.argmax(planes, axis=0), dtype=np.uint8)
