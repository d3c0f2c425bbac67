"""A large photo seen finely in overlapping tiles, band by band, so that memory does not grow with its height."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.model.description import ModelDescription
from clothseg.prediction.test_time_augmentation import Network, Passes, look, whole_logits
from clothseg.transforms import STRIDE, Letterbox, resize_image
from clothseg.types import Float32Array, UInt8Array

IntArray = npt.NDArray[np.intp]

# Part of a tile that it shares with each neighbour at least: over it, one fades into the other.
_OVERLAP = 0.25


@dataclass(frozen=True)
class _Axis:
    """How tiles lie along one side of a photo."""

    length: int
    """Pixels of the photo."""
    tile: int
    """Pixels of a tile."""
    starts: tuple[int, ...]
    weights: tuple[Float32Array, ...]
    """What each tile counts on each of its pixels; over all tiles the sum on a pixel is 1."""

    @classmethod
    def of(cls, length: int, image_size: int) -> _Axis:
        if length <= image_size:
            return cls(length, length, (0,), (np.ones(length, dtype=np.float32),))
        overlap = int(image_size * _OVERLAP)
        count = -(-(length - image_size) // (image_size - overlap)) + 1
        starts = tuple(round(number * (length - image_size) / (count - 1)) for number in range(count))
        places = np.arange(image_size, dtype=np.float32) + 0.5
        ramp = np.minimum(np.minimum(places, image_size - places) / overlap, 1)
        total = np.zeros(length, dtype=np.float32)
        for start in starts:
            total[start : start + image_size] += ramp
        weights = tuple(np.asarray(ramp / total[start : start + image_size], dtype=np.float32) for start in starts)
        return cls(length, image_size, starts, weights)


def fineness(passes: Passes, photo_size: tuple[int, int], image_size: int) -> int:
    """Return how many times as finely as a whole a photo is to be seen; never so finely that it would be enlarged."""
    return max(1, min(passes.tiles, max(photo_size) // image_size))


def tiled(
    network: Network, pixels: UInt8Array, description: ModelDescription, passes: Passes
) -> tuple[UInt8Array, Float32Array]:
    """Segment a photo from tiles and the whole together.

    A tile shows details but not what they belong to, so its logits are averaged with those of the whole photo. Where
    tiles overlap, one fades into the other, so that no seam shows.

    Args:
        network: what is asked.
        pixels: (H, W, 3) uint8 RGB.
        description: the model's.
        passes: how finely, and whether to look at mirror images, too.

    Returns:
        The mask, (H, W) uint8; and the logits, (C, h, w) float32: means of the fine ones at the resolution at which the
        model sees the whole photo.
    """
    times = fineness(passes, (pixels.shape[0], pixels.shape[1]), description.image_size)
    whole = whole_logits(network, pixels, description, passes)
    classes, height, width = whole.shape
    fine = resize_image(pixels, (height * times, width * times))
    size = pixels.shape[0], pixels.shape[1]
    mask = np.empty(size, dtype=np.uint8)
    logits = np.empty_like(whole)
    rows_done = 0
    last_row: Float32Array = np.empty((classes, 0, width * times), dtype=np.float32)
    for first, tiles in _bands(network, fine, description, flip=passes.flip, times=times):
        after = first + tiles.shape[1]
        for class_id, plane in enumerate(tiles):
            plane += _rows(whole[class_id], 0, height, (height * times, width * times), range(first, after))
            plane /= 2
        pooled = tiles.reshape(classes, -1, times, width, times).mean(axis=(2, 4))
        logits[:, first // times : after // times] = pooled
        band = np.concatenate((last_row, tiles), axis=1)
        offset = first - last_row.shape[1]
        ready = len(mask) if after == len(fine) else _rows_before(after, len(fine), len(mask))
        mask[rows_done:ready] = _band_mask(band, offset, len(fine), size, range(rows_done, ready))
        rows_done, last_row = ready, band[:, -1:].copy()
    return mask, logits


def _bands(
    network: Network, fine: UInt8Array, description: ModelDescription, *, flip: bool, times: int
) -> Iterator[tuple[int, Float32Array]]:
    """Yield the blended logits of the tiles from the top down: first row, (C, rows, W) float32.

    The number of rows is a multiple of `times`.
    """
    down, across = (_Axis.of(length, description.image_size) for length in fine.shape[:2])
    buffer: Float32Array | None = None
    first = 0
    for number, top in enumerate(down.starts):
        for left, across_weights in zip(across.starts, across.weights, strict=True):
            tile = fine[top : top + down.tile, left : left + across.tile]
            seen = look(network, _padded(tile, description), tile.shape[:2], flip=flip)
            if buffer is None:
                buffer = np.zeros((len(seen), down.tile + times, across.length), dtype=np.float32)
            weights = down.weights[number][:, None] * across_weights
            rows = slice(top - first, top - first + down.tile)
            buffer[:, rows, left : left + across.tile] += seen * weights
        is_last = number + 1 == len(down.starts)
        after = down.length if is_last else down.starts[number + 1] // times * times
        assert buffer is not None
        yield first, buffer[:, : after - first].copy()
        kept = buffer[:, after - first :].copy()
        buffer[:, : kept.shape[1]] = kept
        buffer[:, kept.shape[1] :] = 0
        first = after


def _padded(tile: UInt8Array, description: ModelDescription) -> UInt8Array:
    height, width = (-(-side // STRIDE) * STRIDE for side in tile.shape[:2])
    box = Letterbox(tile.shape[:2], tile.shape[:2], (height, width))
    return np.ascontiguousarray(box.image(tile, description.normalization))


def _sources(rows: range, length: int, target: int) -> Float32Array:
    """Return where rows of a picture enlarged from `length` to `target` rows lie in it, as `cv2.resize` has it."""
    places = (np.arange(rows.start, rows.stop, dtype=np.float64) + 0.5) * (length / target) - 0.5
    return np.asarray(np.clip(places, 0, length - 1), dtype=np.float32)


def _rows_before(after: int, length: int, target: int) -> int:
    """Return how many of the `target` rows need none of the source rows from `after` on."""
    return int(np.searchsorted(_sources(range(target), length, target), after - 1, side="right"))


def _rows(plane: Float32Array, offset: int, length: int, size: tuple[int, int], rows: range) -> Float32Array:
    """Return some rows of a plane enlarged linearly to `size`, from the part of it that starts at row `offset`."""
    wide = cv2.resize(np.ascontiguousarray(plane), (size[1], len(plane)), interpolation=cv2.INTER_LINEAR)
    places = _sources(rows, length, size[0])
    above = places.astype(np.intp)
    below = np.minimum(above + 1, length - 1)
    share = (places - above)[:, None]
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
