"""Photo to network input and back: the only place that resizes and normalises, for training and prediction alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.labels import IGNORED_ID

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

STRIDE = 32
"""Sides of a network input are multiples of this: an encoder halves its input five times."""


@dataclass(frozen=True)
class Normalization:
    """Mean and spread of each RGB channel, on a scale of 0 to 1, that a network's encoder was trained with."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def apply(self, image: UInt8Array) -> Float32Array:
        """Return `image`, (H, W, 3) uint8 RGB, as (H, W, 3) float32 with mean 0 and spread 1 over ImageNet."""
        scale = 1 / (255 * np.asarray(self.std, dtype=np.float32))
        shift = np.asarray(self.mean, dtype=np.float32) / np.asarray(self.std, dtype=np.float32)
        return np.asarray(image * scale - shift, dtype=np.float32)

    @property
    def fill(self) -> tuple[int, int, int]:
        """RGB of the padding: the mean colour, which normalises to about 0, as a convolution's own padding is."""
        red, green, blue = (round(255 * part) for part in self.mean)
        return red, green, blue


# Source: torchvision's ImageNet models; the encoders of segmentation-models-pytorch name their own.
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Letterbox:
    """Where a photo lies in a network's input: scaled to fit at the top left, never squashed, padded right and below.

    >>> box = Letterbox.fit(830, 550, 512)
    >>> box.scaled_size, box.input_size
    ((512, 339), (512, 352))
    """

    photo_size: tuple[int, int]
    """(height, width) of the photo."""
    scaled_size: tuple[int, int]
    """(height, width) of the photo inside the input."""
    input_size: tuple[int, int]
    """(height, width) of the input, padding counted."""

    @classmethod
    def fit(cls, height: int, width: int, size: int, *, square: bool = False) -> Letterbox:
        """Fit a photo so that its longer side is `size`; pad to multiples of 32, or to `size` x `size` if `square`."""
        scale = size / max(height, width)
        scaled = max(1, round(height * scale)), max(1, round(width * scale))
        padded = (size, size) if square else tuple(-(-side // STRIDE) * STRIDE for side in scaled)
        return cls((height, width), scaled, (padded[0], padded[1]))

    def image(self, image: UInt8Array, normalization: Normalization = IMAGENET) -> UInt8Array:
        """Return the photo, (H, W, 3) uint8, as an input of `input_size`, (h, w, 3) uint8."""
        return self._pad(resize_image(image, self.scaled_size), normalization.fill)

    def mask(self, mask: UInt8Array) -> UInt8Array:
        """Return class ids, (H, W) uint8, as a target of `input_size`; the padding holds `IGNORED_ID`."""
        return self._pad(resize_mask(mask, self.scaled_size), (IGNORED_ID,))

    def crop(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the part of `planes`, (..., h, w) as the network gave them, that the photo covers."""
        return planes[..., : self.scaled_size[0], : self.scaled_size[1]]

    def _pad(self, scaled: UInt8Array, fill: Sequence[int]) -> UInt8Array:
        (height, width), (input_height, input_width) = self.scaled_size, self.input_size
        if (height, width) == (input_height, input_width):
            return scaled
        padded = np.empty((input_height, input_width, *scaled.shape[2:]), dtype=np.uint8)
        padded[:height, :width] = scaled
        padded[height:] = padded[:height, width:] = fill if scaled.ndim == 3 else fill[0]
        return padded


def resize_image(image: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize (H, W, 3) uint8 to `size`, (height, width): averaged when it shrinks, linear when it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] * image.shape[1] > size[0] * size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=interpolation), dtype=np.uint8)


def resize_mask(mask: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize class ids, (H, W) uint8, to `size`, (height, width): each pixel takes the id nearest to its centre."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def logits_to_mask(logits: Float32Array, size: tuple[int, int]) -> UInt8Array:
    """Return the class of each pixel at `size` from logits of another size.

    Each class's plane is resized on its own and only the winner so far is kept, so memory does not grow with the number
    of classes. No softmax: it does not move the maximum. Classes that can win nowhere are not resized at all.

    Args:
        logits: (C, h, w) float32, the padding cropped away.
        size: (height, width) of the result.

    Returns:
        (height, width) uint8, class ids; of equal logits the lowest id wins, as in `numpy.argmax`.
    """
    first, *others = _contenders(logits)
    best = resize_plane(logits[first], size)
    mask = np.full(size, first, dtype=np.uint8)
    plane, wins = np.empty_like(best), np.empty(size, dtype=bool)
    ids = wins.view(np.uint8)
    for class_id in others:
        cv2.resize(logits[class_id], size[::-1], dst=plane, interpolation=cv2.INTER_LINEAR)
        np.greater(plane, best, out=wins)
        # Ids only rise, so the larger one is the later winner: several times as fast as a copy where `wins`.
        np.multiply(ids, class_id, out=ids)
        np.maximum(mask, ids, out=mask)
        np.maximum(best, plane, out=best)
    return mask


def _contenders(logits: Float32Array) -> list[int]:
    """Return the classes, lowest id first, that may be highest somewhere between the pixels of `logits`.

    Between four neighbours a resized plane is nowhere lower than their lowest and nowhere higher than their highest.
    So one class keeps out another whose four values are all below the four of its own.
    """
    square = np.ones((2, 2), dtype=np.uint8)
    lowest_of_four = np.asarray(cv2.erode(logits[0], square, anchor=(0, 0)), dtype=np.float32)
    buffer = np.empty_like(lowest_of_four)
    for plane in logits[1:]:
        cv2.erode(plane, square, dst=buffer, anchor=(0, 0))
        np.maximum(lowest_of_four, buffer, out=lowest_of_four)
    floor = np.asarray(cv2.erode(lowest_of_four, square, anchor=(1, 1)), dtype=np.float32)
    floor -= 1e-5 * max(float(logits.max()), -float(logits.min()))  # resizing rounds
    contenders = [class_id for class_id, plane in enumerate(logits) if (plane > floor).any()]
    return contenders or [0]  # none only if the logits are no numbers


def resize_plane(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Resize (h, w) float32 to `size`, (height, width), linearly; the result shares no memory with `plane`."""
    if plane.shape == size:
        return plane.astype(np.float32, copy=True)
    resized = cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
