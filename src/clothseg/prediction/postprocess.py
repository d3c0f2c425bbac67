"""Postprocessing of masks for editing and try-on: keep, merge, grow, shrink, feather, fill holes, drop specks.

Each function but `feather` takes a segmentation and returns another; the input is unchanged. Class names are the
model's, and distances are in pixels of the photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from clothseg.errors import SettingError
from clothseg.labels import BACKGROUND_ID
from clothseg.prediction.segmentation import Segmentation
from clothseg.types import BoolArray, Float32Array


def keep(segmentation: Segmentation, *names: str) -> Segmentation:
    """Make background of all classes but these.

    Raises:
        SettingError: the model has no such class.
    """
    kept = np.isin(segmentation.mask, _ids(segmentation, names))
    return _painted(segmentation, ~kept, BACKGROUND_ID)


def merge(segmentation: Segmentation, names: Sequence[str], *, into: str) -> Segmentation:
    """Give the pixels of some classes to another.

    Raises:
        SettingError: the model has no such class.
    """
    merged = np.isin(segmentation.mask, _ids(segmentation, names))
    return _painted(segmentation, merged, segmentation.classes.id_of(into))


def grow(segmentation: Segmentation, name: str, pixels: float, *, over: Sequence[str] | None = None) -> Segmentation:
    """Widen a class on every side by `pixels`, from centre to centre, over the classes `over`; the background if None.

    Raises:
        SettingError: the model has no such class, or `pixels` is below 0.
    """
    gives_way = (BACKGROUND_ID,) if over is None else _ids(segmentation, over)
    inside = _inside(segmentation, name)
    reached = _distance_to(inside) <= _checked(pixels, "pixels")
    return _painted(segmentation, reached & np.isin(segmentation.mask, gives_way), segmentation.classes.id_of(name))


def shrink(segmentation: Segmentation, name: str, pixels: float) -> Segmentation:
    """Take `pixels` off a class on every side that does not end at the photo's edge; they become background.

    Raises:
        SettingError: the model has no such class, or `pixels` is below 0.
    """
    inside = _inside(segmentation, name)
    lost = inside & (_distance_to(~inside) <= _checked(pixels, "pixels"))
    return _painted(segmentation, lost, BACKGROUND_ID)


def fill_holes(segmentation: Segmentation, name: str) -> Segmentation:
    """Give a class the background that it surrounds; other garments within it stay, and so do gaps at the photo's edge.

    Raises:
        SettingError: the model has no such class.
    """
    inside = _inside(segmentation, name)
    outside = np.pad(~inside, 1, constant_values=True).astype(np.uint8)
    _, areas = cv2.connectedComponents(outside, connectivity=4)
    surrounded = (areas != areas[0, 0])[1:-1, 1:-1] & ~inside
    return _painted(segmentation, surrounded & (segmentation.mask == BACKGROUND_ID), segmentation.classes.id_of(name))


def drop_specks(segmentation: Segmentation, min_area: int, *, names: Sequence[str] | None = None) -> Segmentation:
    """Make background of pieces with fewer than `min_area` pixels, of the classes `names`, or of all if None.

    Pixels that touch at a corner are one piece.

    Raises:
        SettingError: the model has no such class, or `min_area` is below 0.
    """
    _checked(min_area, "min_area")
    class_ids = range(1, segmentation.classes.num_classes) if names is None else _ids(segmentation, names)
    specks = np.zeros(segmentation.size, dtype=bool)
    for class_id in class_ids:
        inside = (segmentation.mask == class_id).astype(np.uint8)
        if not inside.any():
            continue
        _, pieces, figures, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
        is_speck = figures[:, cv2.CC_STAT_AREA] < min_area
        is_speck[0] = False  # piece 0 is all that is not of the class
        specks |= is_speck[pieces]
    return _painted(segmentation, specks, BACKGROUND_ID)


def feather(segmentation: Segmentation, name: str, radius: float) -> Float32Array:
    """Return how much of a class there is on each pixel, (H, W) float32, 0 to 1: an alpha channel for compositing.

    It falls from 1 to 0 in a straight line over `radius` pixels on either side of the edge.

    Raises:
        SettingError: the model has no such class, or `radius` is below 0.
    """
    inside = _inside(segmentation, name)
    _checked(radius, "radius")
    # The edge runs half a pixel from the centres on either side of it, so that a smaller radius softens none.
    if radius <= 0.5 or not inside.any() or inside.all():
        return inside.astype(np.float32)
    depth = np.where(inside, _distance_to(~inside) - 0.5, 0.5 - _distance_to(inside))
    return np.asarray(np.clip(0.5 + depth / (2 * radius), 0, 1), dtype=np.float32)


def _painted(segmentation: Segmentation, where: BoolArray, class_id: int) -> Segmentation:
    mask = segmentation.mask.copy()
    mask[where] = class_id
    return replace(segmentation, mask=mask)


def _ids(segmentation: Segmentation, names: Iterable[str]) -> list[int]:
    return [segmentation.classes.id_of(name) for name in names]


def _inside(segmentation: Segmentation, name: str) -> BoolArray:
    return np.asarray(segmentation.mask == segmentation.classes.id_of(name), dtype=np.bool_)


def _distance_to(pixels: BoolArray) -> Float32Array:
    """Return the distance of each pixel's centre to that of the nearest one of `pixels`; infinite if there is none."""
    if not pixels.any():
        return np.full(pixels.shape, np.inf, dtype=np.float32)
    distances = cv2.distanceTransform((~pixels).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distances, dtype=np.float32)


def _checked(value: float, what: str) -> float:
    if not value >= 0:
        raise SettingError(f"{what} is {value}. Allowed: a number from 0 up")
    return value
