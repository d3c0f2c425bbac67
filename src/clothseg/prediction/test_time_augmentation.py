"""Test-time augmentation: the network sees a photo as a whole, mirrored, at other scales, and in overlapping tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from clothseg.errors import SettingError
from clothseg.model.description import ModelDescription
from clothseg.transforms import STRIDE, Letterbox, logits_to_mask, resize_image, resize_plane
from clothseg.types import Float32Array, UInt8Array

Network = Callable[[UInt8Array], Float32Array]
"""Takes (1, h, w, 3) uint8 RGB, h and w multiples of 32, and gives (1, C, h, w) float32 logits."""

MAX_TILES = 8
"""Largest tile factor: at 512 px and 13 classes it takes 110 MB for each photo in progress."""

# Share of a tile that it has in common with each neighbour, at least: there, their weights rise and fall.
_OVERLAP = 0.25


@dataclass(frozen=True)
class TestTimeAugmentation:
    """How often and at which scales the network sees a photo; each forward pass takes the time of one prediction.

    Raises:
        SettingError: a value is not allowed.

    Examples:
        >>> TestTimeAugmentation(flip=True, scales=(1.0, 1.5)).num_forward_passes
        4
    """

    __test__: ClassVar[bool] = False  # pytest takes classes named Test... for tests

    tiles: int = 1
    """N above 1 also predicts large photos at N times the resolution, in overlapping tiles; no photo is enlarged."""
    flip: bool = False
    """Also predict the mirror image, and take the mean."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which the whole photo is predicted, as multiples of the model's own; their mean is taken."""

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= MAX_TILES:
            raise SettingError(f"tiles is {self.tiles}. Allowed: a whole number from 1 to {MAX_TILES}")
        if not self.scales or not all(0.25 <= scale <= 4 for scale in self.scales):
            raise SettingError(f"scales is {list(self.scales)}. Allowed: one or more numbers from 0.25 to 4")

    @property
    def num_forward_passes(self) -> int:
        """How many times the network sees the whole photo."""
        return len(self.scales) * (1 + self.flip)

    def tile_factor(self, photo_size: tuple[int, int], image_size: int) -> int:
        """Return how many times as finely as the whole the tiles show a photo; never so that it would be enlarged."""
        return max(1, min(self.tiles, max(photo_size) // image_size))


def check_augmentation(description: ModelDescription, augmentation: TestTimeAugmentation) -> None:
    """Refuse tiles and other scales for a network whose input has one size only.

    Raises:
        SettingError: with the size.
    """
    if description.input_size and (augmentation.tiles > 1 or augmentation.scales != (1.0,)):
        height, width = description.input_size
        raise SettingError(
            f"This model takes photos of {width} x {height} pixels only, without tiles and other scales. "
            "Leave out --tiles and --scales"
        )


def segment_pixels(
    network: Network,
    pixels: UInt8Array,
    description: ModelDescription,
    augmentation: TestTimeAugmentation,
) -> tuple[UInt8Array, Float32Array]:
    """Segment a decoded photo, (H, W, 3) uint8 RGB.

    Returns:
        The mask, (H, W) uint8 class ids; and the logits, (C, h, w) float32, at the size at which the network sees the
        whole photo, without padding: the longer side is the model's image size.
    """
    size = pixels.shape[0], pixels.shape[1]
    logits = whole_logits(network, pixels, description, augmentation)
    factor = augmentation.tile_factor(size, description.image_size)
    if factor == 1:
        return logits_to_mask(logits, size), logits
    return _with_tiles(network, pixels, logits, description, flip=augmentation.flip, factor=factor)


def whole_logits(
    network: Network,
    pixels: UInt8Array,
    description: ModelDescription,
    augmentation: TestTimeAugmentation,
) -> Float32Array:
    """Return the mean of the logits of the whole photo over its scales and mirror images; see `segment_pixels`."""
    height, width = pixels.shape[:2]
    scaled_size = description.fit(height, width).scaled_size
    total: Float32Array | None = None
    for scale in augmentation.scales:
        box = description.fit(height, width, scale=scale)
        image = box.image(pixels, description.normalization)
        logits = _forward(network, image, box, flip=augmentation.flip)
        if box.scaled_size != scaled_size:
            logits = np.stack([resize_plane(plane, scaled_size) for plane in logits])
        total = logits if total is None else total + logits
    assert total is not None
    return total if len(augmentation.scales) == 1 else total / np.float32(len(augmentation.scales))


def _forward(network: Network, image: UInt8Array, box: Letterbox, *, flip: bool) -> Float32Array:
    """Return the logits, (C, *box.scaled_size) float32, of the part of an input that a photo covers.

    The input is (h, w, 3) uint8 RGB, h and w multiples of 32. `flip` takes the mean with the mirror image's.
    """
    logits: Float32Array = box.crop(network(image[None])[0])
    if not flip:
        return logits
    mirrored = image.copy()
    mirrored[box.window] = image[box.window][:, ::-1]
    flipped_back: Float32Array = box.crop(network(mirrored[None])[0])[..., ::-1]
    return (logits + flipped_back) / np.float32(2)


@dataclass(frozen=True)
class _Axis:
    """How tiles lie along one side of a photo."""

    length: int
    """Pixels of the photo."""
    tile: int
    """Pixels of a tile."""
    starts: tuple[int, ...]
    weights: tuple[Float32Array, ...]
    """Weight of each tile on each of its pixels; over all tiles the sum on a pixel is 1."""

    @classmethod
    def of(cls, length: int, image_size: int) -> _Axis:
        if length <= image_size:
            return cls(length, length, (0,), (np.ones(length, dtype=np.float32),))
        overlap = int(image_size * _OVERLAP)
        count = -(-(length - image_size) // (image_size - overlap)) + 1
        starts = tuple(round(number * (length - image_size) / (count - 1)) for number in range(count))
        centers = np.arange(image_size, dtype=np.float32) + 0.5
        ramp = np.minimum(np.minimum(centers, image_size - centers) / overlap, 1)
        total = np.zeros(length, dtype=np.float32)
        for start in starts:
            total[start : start + image_size] += ramp
        weights = tuple(np.asarray(ramp / total[start : start + image_size], dtype=np.float32) for start in starts)
        return cls(length, image_size, starts, weights)


def _with_tiles(
    network: Network, pixels: UInt8Array, whole: Float32Array, description: ModelDescription, *, flip: bool, factor: int
) -> tuple[UInt8Array, Float32Array]:
    """Segment a photo from its tiles and the whole together, band by band: memory does not grow with its height.

    A tile shows details but not what they belong to, so its logits are averaged with those of the whole photo. Where
    tiles overlap, their weights rise and fall, so that no seam shows. `whole` is (C, h, w) float32, the logits of the
    whole photo; the tiles show it `factor` times as finely.

    Returns:
        The mask, (H, W) uint8; and the logits, (C, h, w) float32: means of the fine ones.
    """
    classes, height, width = whole.shape
    fine = resize_image(pixels, (height * factor, width * factor))
    size = pixels.shape[0], pixels.shape[1]
    mask = np.empty(size, dtype=np.uint8)
    logits = np.empty_like(whole)
    rows_done = 0
    last_row: Float32Array = np.empty((classes, 0, width * factor), dtype=np.float32)
    for first, tiles in _bands(network, fine, description, flip=flip, factor=factor):
        after = first + tiles.shape[1]
        for class_id, plane in enumerate(tiles):
            plane += _rows(whole[class_id], 0, height, (height * factor, width * factor), range(first, after))
            plane /= 2
        pooled = tiles.reshape(classes, -1, factor, width, factor).mean(axis=(2, 4))
        logits[:, first // factor : after // factor] = pooled
        band = np.concatenate((last_row, tiles), axis=1)
        offset = first - last_row.shape[1]
        ready = len(mask) if after == len(fine) else _rows_before(after, len(fine), len(mask))
        mask[rows_done:ready] = _band_mask(band, offset, len(fine), size, range(rows_done, ready))
        rows_done, last_row = ready, band[:, -1:].copy()
    return mask, logits


def _bands(
    network: Network, fine: UInt8Array, description: ModelDescription, *, flip: bool, factor: int
) -> Iterator[tuple[int, Float32Array]]:
    """Yield the blended logits of the tiles from the top down: first row, (C, rows, W) float32.

    The number of rows is a multiple of `factor`.
    """
    down, across = (_Axis.of(length, description.image_size) for length in fine.shape[:2])
    padded_size = -(-down.tile // STRIDE) * STRIDE, -(-across.tile // STRIDE) * STRIDE
    buffer: Float32Array | None = None
    first = 0
    for number, top in enumerate(down.starts):
        for left, across_weights in zip(across.starts, across.weights, strict=True):
            tile = fine[top : top + down.tile, left : left + across.tile]
            box = Letterbox(tile.shape[:2], tile.shape[:2], padded_size)
            image = np.ascontiguousarray(box.image(tile, description.normalization))
            logits = _forward(network, image, box, flip=flip)
            if buffer is None:
                buffer = np.zeros((len(logits), down.tile + factor, across.length), dtype=np.float32)
            weights = down.weights[number][:, None] * across_weights
            rows = slice(top - first, top - first + down.tile)
            buffer[:, rows, left : left + across.tile] += logits * weights
        is_last = number + 1 == len(down.starts)
        after = down.length if is_last else down.starts[number + 1] // factor * factor
        assert buffer is not None
        yield first, buffer[:, : after - first].copy()
        kept = buffer[:, after - first :].copy()
        buffer[:, : kept.shape[1]] = kept
        buffer[:, kept.shape[1] :] = 0
        first = after


def _source_rows(rows: range, length: int, target: int) -> Float32Array:
    """Return where rows of a picture enlarged from `length` to `target` rows lie in it, as in `cv2.resize`."""
    centers = (np.arange(rows.start, rows.stop, dtype=np.float64) + 0.5) * (length / target) - 0.5
    return np.asarray(np.clip(centers, 0, length - 1), dtype=np.float32)


def _rows_before(after: int, length: int, target: int) -> int:
    """Return how many of the `target` rows need none of the source rows from `after` on."""
    return int(np.searchsorted(_source_rows(range(target), length, target), after - 1, side="right"))


def _rows(plane: Float32Array, offset: int, length: int, size: tuple[int, int], rows: range) -> Float32Array:
    """Return some rows of a plane enlarged linearly to `size`, from the part of it that starts at row `offset`."""
    wide = cv2.resize(np.ascontiguousarray(plane), (size[1], len(plane)), interpolation=cv2.INTER_LINEAR)
    centers = _source_rows(rows, length, size[0])
    above = centers.astype(np.intp)
    below = np.minimum(above + 1, length - 1)
    share = (centers - above)[:, None]
    lower = wide[np.minimum(below - offset, len(wide) - 1)]  # beyond the part, its share is 0
    return np.asarray(wide[above - offset] * (1 - share) + lower * share, dtype=np.float32)


def _band_mask(band: Float32Array, offset: int, length: int, size: tuple[int, int], rows: range) -> UInt8Array:
    """Return the class of each pixel of some rows of the photo; see `transforms.logits_to_mask`."""
    best = _rows(band[0], offset, length, size, rows)
    mask = np.zeros(best.shape, dtype=np.uint8)
    for class_id in range(1, len(band)):
        plane = _rows(band[class_id], offset, length, size, rows)
        mask[plane > best] = class_id
        np.maximum(best, plane, out=best)
    return mask
