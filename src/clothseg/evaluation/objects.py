"""Scores of objects: how much of each object was found, by size, and whether a large garment got one class."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from clothseg.labels import BACKGROUND_ID
from clothseg.types import BoolArray, Float64Array, Int64Array, UInt8Array


@dataclass(frozen=True)
class ObjectSize:
    """Objects of at least `least` and fewer than `below` pixels, at the photo's own size."""

    name: str
    least: int
    below: int | None

    @property
    def rule(self) -> str:
        """The bounds as text."""
        if self.below is None:
            return f"from {self.least:,} px"
        return f"{self.least:,} to {self.below - 1:,} px" if self.least > 1 else f"up to {self.below - 1:,} px"


# Source: cocodataset.org, "Detection Evaluation": areas of 32² and 96² pixels divide small, medium and large.
SIZES = (ObjectSize("small", 1, 32**2), ObjectSize("medium", 32**2, 96**2), ObjectSize("large", 96**2, None))

FOUND_IOU = 0.5
"""The least IoU of an object that counts as found."""

NUMBER, RECALL, IOU, FOUND = range(4)
"""Last axis of `count_objects`: number of objects, sums of their recalls and IoUs, and number of objects found."""


def count_objects(prediction: UInt8Array, truth: UInt8Array, num_classes: int) -> Float64Array:
    """Count the objects of a photo and sum their scores, by size and class.

    `prediction` and `truth` are (H, W) uint8, class ids below `num_classes`. An object is a connected region (8
    neighbours) of one class in the truth; the background has no objects. Its size is its number of pixels. Its recall
    is the share of them that were predicted as its class. Its IoU is with the predicted pixels of its class that are
    nearer to it than to the photo's other objects of that class: each predicted pixel of a class that the photo shows
    belongs to exactly one object.

    Returns:
        (sizes, num_classes, 4) float64; last axis: `NUMBER`, `RECALL`, `IOU`, `FOUND`.
    """
    sums = np.zeros((len(SIZES), num_classes, 4))
    for class_id in np.flatnonzero(np.bincount(truth.ravel(), minlength=num_classes)[:num_classes]):
        if class_id == BACKGROUND_ID:
            continue
        area, hits, predicted = _match(truth == class_id, prediction == class_id)
        iou = hits / (area + predicted - hits)
        size = np.searchsorted([one.least for one in SIZES], area, side="right") - 1
        for column, values in (
            (NUMBER, np.ones_like(iou)),
            (RECALL, hits / area),
            (IOU, iou),
            (FOUND, iou >= FOUND_IOU),
        ):
            sums[:, class_id, column] = np.bincount(size, weights=values, minlength=len(SIZES))
    return sums


LARGE_SHARE = 0.02
"""The least share of the photo's pixels that a large garment covers."""
TORN_SHARE = 0.12
"""A garment is torn if more than one garment class was predicted on more than this share of its pixels."""

REGIONS, TORN, WRONG = range(3)
"""Axis of `count_consistency`: number of large garments, of torn ones, and of those whose majority class is wrong."""


def count_consistency(prediction: UInt8Array, truth: UInt8Array, num_classes: int) -> Int64Array:
    """Count the large garments of a photo, and those that were not predicted as one class, or not as the right one.

    Arguments are those of `count_objects`. A large garment is a connected region (8 neighbours) of one class in the
    truth, not of the background, that covers at least `LARGE_SHARE` of the photo. It is torn if more than one class
    besides the background was predicted on more than `TORN_SHARE` of it. Its majority class is wrong if more of its
    pixels were predicted as another class, or as background, than as its own.

    Returns:
        (3,) int64: `REGIONS`, `TORN`, `WRONG`.
    """
    counts = np.zeros(3, np.int64)
    pixels = np.bincount(truth.ravel(), minlength=num_classes)[:num_classes]
    for class_id in np.flatnonzero(pixels >= LARGE_SHARE * truth.size):
        if class_id == BACKGROUND_ID:
            continue
        number, region, statistics, _ = cv2.connectedComponentsWithStats((truth == class_id).astype(np.uint8))
        for one in range(1, number):
            if statistics[one, cv2.CC_STAT_AREA] < LARGE_SHARE * truth.size:
                continue
            predicted = np.bincount(prediction[region == one], minlength=num_classes)
            share = np.delete(predicted, BACKGROUND_ID) / statistics[one, cv2.CC_STAT_AREA]
            counts += 1, (share > TORN_SHARE).sum() > 1, predicted.argmax() != class_id
    return counts


def _match(truth: BoolArray, prediction: BoolArray) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Return the area of each object of one class, its correctly predicted pixels, and all predicted pixels."""
    left, top, width, height = cv2.boundingRect((truth | prediction).astype(np.uint8))
    box = slice(top, top + height), slice(left, left + width)
    truth, prediction = truth[box], prediction[box]
    # Each pixel gets the number, from 1, of the nearest object; a pixel of an object gets the number of that object.
    _, nearest = cv2.distanceTransformWithLabels(
        (~truth).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
    )
    number = int(nearest.max()) + 1
    area, hits, predicted = (
        np.bincount(nearest[part], minlength=number)[1:] for part in (truth, truth & prediction, prediction)
    )
    return area, hits, predicted
