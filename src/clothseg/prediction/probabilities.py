"""Probabilities from the network's logits: soft masks, the score of each region, and whether the model is unsure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from clothseg.rle import Region
from clothseg.transforms import resize_mask, resize_plane
from clothseg.types import Float32Array, UInt8Array

UNSURE = (
    "the model is less sure of it (score {score:.2f}) than of 19 in 20 photos that it was checked on; it may be unlike "
    "those that the model learned from: check the mask"
)
"""The note on a photo whose garments have less than the usual score."""


def soft_mask(logits: Float32Array, class_id: int, size: tuple[int, int]) -> Float32Array:
    """Return the probability of a class on each pixel, 0 to 1, in another `size` than that of the logits, (C, h, w).

    The softmax is taken at the logits' resolution, then resized.
    """
    highest = logits.max(axis=0)
    total = np.zeros_like(highest)
    for plane in logits:
        total += np.exp(plane - highest)
    return resize_plane(np.exp(logits[class_id] - highest) / total, size)


def scores(logits: Float32Array, mask: UInt8Array, regions: Sequence[Region]) -> list[float]:
    """Return the mean probability of each region's class on the region, at the logits' resolution.

    The logits, (C, h, w), are of the same photo as the mask, (H, W), in another size. Only the part of them that
    contains the regions is used, and nothing is enlarged.
    """
    if not regions:
        return []
    small = resize_mask(mask, (logits.shape[1], logits.shape[2]))
    rows, columns = _frame(regions, mask.shape, small.shape)
    shown, planes = small[rows, columns], logits[:, rows, columns]
    highest = planes.max(axis=0)
    total, own, part = np.zeros_like(highest), np.zeros_like(highest), np.empty_like(highest)
    inside = {region.class_id: (shown == region.class_id).view(np.uint8) for region in regions}
    for class_id, plane in enumerate(planes):
        np.subtract(plane, highest, out=part)
        cv2.exp(part, dst=part)
        total += part
        if class_id in inside:
            cv2.copyTo(part, inside[class_id], own)
    own /= total
    found = []
    for region in regions:
        pixels = inside[region.class_id]
        mean = float(cv2.mean(own, mask=pixels)[0]) if pixels.any() else _score_of_specks(logits, mask, region)
        found.append(min(1.0, mean))
    return found


def _frame(regions: Sequence[Region], size: tuple[int, ...], small: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of the small mask that the regions of the large one lie in."""
    slices = []
    for axis in (1, 0):
        first = min(region.bbox[axis] for region in regions)
        after = max(region.bbox[axis] + region.bbox[axis + 2] for region in regions)
        length, target = size[1 - axis], small[1 - axis]
        slices.append(slice(first * target // length, -(-after * target // length)))
    return slices[0], slices[1]


def _score_of_specks(logits: Float32Array, mask: UInt8Array, region: Region) -> float:
    """Return the score of a region so small that no pixel's centre at the logits' resolution lies in it."""
    x, y, width, height = region.bbox
    rows, columns = np.nonzero(mask[y : y + height, x : x + width] == region.class_id)
    rows = (rows + y) * logits.shape[1] // mask.shape[0]
    columns = (columns + x) * logits.shape[2] // mask.shape[1]
    planes = logits[:, rows, columns]
    parts = np.exp(planes - planes.max(axis=0))
    return float((parts[region.class_id] / parts.sum(axis=0)).mean())


def doubts(logits: Float32Array, usual_score: float) -> Iterator[str]:
    """Yield a note where the garments' mean score is below the usual one; a 64th of the pixels tell it well enough."""
    if not usual_score:
        return
    sample = logits[:, ::8, ::8].reshape(len(logits), -1)
    is_garment = sample.argmax(axis=0) > 0
    if is_garment.any():
        score = float((1 / np.exp(sample - sample.max(axis=0)).sum(axis=0))[is_garment].mean())
        if score < usual_score:
            yield UNSURE.format(score=score)
