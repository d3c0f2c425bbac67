"""Photo to network input and back: the only module that resizes and normalises, for training and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from clothseg.labels import IGNORED_ID
from clothseg.types import Float32Array, Int64Array, UInt8Array

STRIDE = 32
"""Sides of a network input are multiples of this: an encoder halves its input five times."""

AREA = "area"
INTERPOLATIONS = (AREA, *(one.name.lower() for one in Image.Resampling))
"""What `resize_image` can do: our own way, and Pillow's filters."""


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
    """The position of a photo in a network's input: its aspect ratio is kept, and it is padded right and below.

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
    interpolation: str = AREA
    """How the photo is resized; see `resize_image`."""

    @classmethod
    def squash(cls, height: int, width: int, size: tuple[int, int], interpolation: str = AREA) -> Letterbox:
        """Fit a photo to exactly `size`, (height, width): its aspect ratio is lost, and nothing is padded."""
        return cls((height, width), size, size, interpolation)

    @classmethod
    def fit(cls, height: int, width: int, size: int, *, square: bool = False) -> Letterbox:
        """Fit a photo so that its longer side is `size`; pad to multiples of 32, or to `size` x `size` if `square`."""
        scale = size / max(height, width)
        scaled = max(1, round(height * scale)), max(1, round(width * scale))
        padded = (size, size) if square else tuple(-(-side // STRIDE) * STRIDE for side in scaled)
        return cls((height, width), scaled, (padded[0], padded[1]))

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the input that the photo covers."""
        return slice(0, self.scaled_size[0]), slice(0, self.scaled_size[1])

    def image(self, image: UInt8Array, normalization: Normalization = IMAGENET) -> UInt8Array:
        """Return the photo, (H, W, 3) uint8, as an input of `input_size`, (h, w, 3) uint8."""
        return self._pad(resize_image(image, self.scaled_size, self.interpolation), normalization.fill)

    def mask(self, mask: UInt8Array) -> UInt8Array:
        """Return class ids, (H, W) uint8, as a target of `input_size`; the padding is `IGNORED_ID`."""
        return self._pad(resize_mask(mask, self.scaled_size), (IGNORED_ID,))

    def crop(self, planes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the part of `planes`, (..., h, w) as the network gave them, that the photo covers."""
        return planes[(..., *self.window)]

    def _pad(self, scaled: UInt8Array, fill: Sequence[int]) -> UInt8Array:
        if self.scaled_size == self.input_size:
            return scaled
        rows, columns = self.window
        below, right = self.input_size[0] - rows.stop, self.input_size[1] - columns.stop
        border = rows.start, below, columns.start, right
        return np.asarray(cv2.copyMakeBorder(scaled, *border, cv2.BORDER_CONSTANT, value=fill), dtype=np.uint8)


def resize_image(image: UInt8Array, size: tuple[int, int], interpolation: str = AREA) -> UInt8Array:
    """Resize (H, W, 3) uint8 to `size`, (height, width).

    Args:
        image: is returned as it is where it has this size.
        size: of the result.
        interpolation: "area" averages when it shrinks and is linear when it grows; the others are Pillow's filters, as
            the programs use with which models of other people were trained.
    """
    if image.shape[:2] == size:
        return image
    if interpolation != AREA:
        return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling[interpolation.upper()]))
    shrinks = image.shape[0] * image.shape[1] > size[0] * size[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=method), dtype=np.uint8)


def resize_mask(mask: UInt8Array, size: tuple[int, int]) -> UInt8Array:
    """Resize class ids, (H, W) uint8, to `size`, (height, width): each pixel takes the id nearest to its centre."""
    if mask.shape == size:
        return mask
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


def logits_to_mask(logits: Float32Array, size: tuple[int, int]) -> UInt8Array:
    """Return the class of each pixel at `size` from logits of another size: the highest of the linearly resized planes.

    A resized plane is a mean of four neighbours. So where four neighbours have the same highest class, that class is
    the highest anywhere between them, and nothing is resized; only the pixels along borders, a few per cent, are
    computed. No softmax: it does not move the maximum.

    Args:
        logits: (C, h, w) float32, the padding cropped away; C below 255.
        size: (height, width) of the result.

    Returns:
        (height, width) uint8, class ids; of equal logits the lowest id wins, as in `numpy.argmax`.
    """
    rows, columns = _Neighbours.along(logits.shape[1], size[0]), _Neighbours.along(logits.shape[2], size[1])
    logits = np.ascontiguousarray(logits)
    between = _between_equals(_highest(logits))
    # Whole rows are copied many times as fast as columns, so two transpositions cost less than they save.
    wide = cv2.transpose(cv2.transpose(between)[columns.first])
    mask = np.asarray(wide, dtype=np.uint8)[rows.first]
    unclear = np.flatnonzero(mask == IGNORED_ID)
    flat = mask.reshape(-1)
    for start in range(0, len(unclear), _PIECE):
        piece = unclear[start : start + _PIECE]
        flat[piece] = _highest(_interpolated(logits, rows, columns, piece)[:, None])
    return mask


_PIECE = 1 << 15
"""Pixels computed at once: with 13 classes 2 MB for each of the four neighbours."""


@dataclass(frozen=True)
class _Neighbours:
    """The two source indices around each index of a resized axis, and their weights; as in `cv2.resize`."""

    first: Int64Array
    second: Int64Array
    share: Float32Array
    """How much of the second there is, 0 to 1."""

    @classmethod
    def along(cls, length: int, target: int) -> _Neighbours:
        position = ((np.arange(target) + 0.5) * (length / target) - 0.5).astype(np.float32)
        first = np.floor(position).astype(np.int64)
        share = np.where((first < 0) | (first >= length - 1), 0, position - first).astype(np.float32)
        first = first.clip(0, length - 1)
        return cls(first, np.minimum(first + 1, length - 1), share)


def _highest(logits: Float32Array) -> UInt8Array:
    """Return the highest class of each pixel, (h, w) uint8; several times as fast as `numpy.argmax` over planes."""
    best = logits[0].copy()
    highest = np.zeros(best.shape, dtype=np.uint8)
    ids = np.empty_like(highest)
    for class_id, plane in enumerate(logits[1:], 1):
        cv2.compare(plane, best, cv2.CMP_GT, dst=ids)  # 255 where it wins
        # Ids only rise, so the larger one is the later winner: several times as fast as a copy where it wins.
        np.minimum(ids, np.uint8(class_id), out=ids)
        cv2.max(highest, ids, dst=highest)
        cv2.max(best, plane, dst=best)
    return highest


def _between_equals(corners: UInt8Array) -> UInt8Array:
    """Return, for each pixel and its next ones right and below, their common value, or `IGNORED_ID`."""
    square = np.ones((2, 2), dtype=np.uint8)
    # OpenCV's padding for erosion and dilation never wins.
    lowest, highest = cv2.erode(corners, square, anchor=(0, 0)), cv2.dilate(corners, square, anchor=(0, 0))
    return np.where(lowest == highest, corners, np.uint8(IGNORED_ID))


def _interpolated(logits: Float32Array, rows: _Neighbours, columns: _Neighbours, pixels: Int64Array) -> Float32Array:
    """Return the resized logits, (C, n), of n pixels.

    Args:
        logits: (C, h, w) float32.
        rows: neighbours of each row of the result.
        columns: neighbours of each column of the result.
        pixels: (n,) int64, indices into the flattened result.
    """
    row, column = np.divmod(pixels, len(columns.first))
    left, right, across = columns.first[column], columns.second[column], columns.share[column]
    length = logits.shape[2]
    above, below, down = rows.first[row] * length, rows.second[row] * length, rows.share[row]
    planes = logits.reshape(len(logits), -1)  # one index in place of two: twice as fast
    upper = planes.take(above + left, 1) * (1 - across) + planes.take(above + right, 1) * across
    lower = planes.take(below + left, 1) * (1 - across) + planes.take(below + right, 1) * across
    return np.asarray(upper * (1 - down) + lower * down, dtype=np.float32)


def resize_plane(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Resize (h, w) float32 to `size`, (height, width), linearly; the result shares no memory with `plane`."""
    if plane.shape == size:
        return plane.astype(np.float32, copy=True)
    resized = cv2.resize(np.ascontiguousarray(plane), size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
