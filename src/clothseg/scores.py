"""Scores from a confusion matrix or from counts per class; boundary IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.labels import IGNORED_ID
from clothseg.types import BoolArray, Float64Array, Int64Array, UInt8Array

Counts = Int64Array
Shares = Float64Array


def confusion_matrix(prediction: npt.NDArray[Any], target: npt.NDArray[Any], num_classes: int) -> Counts:
    """Count how often each true class was predicted as each class.

    Args:
        prediction: class ids below `num_classes`, of any shape.
        target: class ids of the same shape; pixels equal to `IGNORED_ID` are left out.
        num_classes: C, how many classes there are.

    Returns:
        (C, C) int64: row = true class, column = predicted class.
    """
    counted = target != IGNORED_ID
    pairs = target[counted].astype(np.intp) * num_classes + prediction[counted]
    return np.bincount(pairs, minlength=num_classes**2).astype(np.int64).reshape(num_classes, num_classes)


# Source: Cheng et al., "Boundary IoU" (CVPR 2021, arXiv 2103.16562), section 4: the distance for photos of any size.
BOUNDARY_SHARE = 0.02
"""Width of a boundary as a share of the photo's diagonal."""


def boundary_width(size: tuple[int, int]) -> int:
    """Return how many pixels wide the boundary of a mask of `size`, (height, width), is.

    >>> boundary_width((830, 550))
    20
    """
    return max(1, round(BOUNDARY_SHARE * float(np.hypot(*size))))


def boundary(mask: UInt8Array) -> BoolArray:
    """Return which pixels are within `boundary_width` of the contour of their own class, inside of it.

    A pixel is on the boundary if the square around it, `boundary_width` to each side, contains another class or reaches
    beyond the photo. That is the mask of each class without its erosion by a 3 x 3 kernel, as many times, with zeros
    around the photo, as in the paper's own code, but for all classes at once: erosion and dilation of the ids differ
    exactly where the square contains two of them.

    Args:
        mask: (H, W) uint8, class ids.

    Returns:
        (H, W) bool.
    """
    width = boundary_width((mask.shape[0], mask.shape[1]))
    kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    edge = np.asarray(cv2.erode(mask, kernel) != cv2.dilate(mask, kernel))
    edge[:width] = edge[-width:] = edge[:, :width] = edge[:, -width:] = True
    return edge


def boundary_counts(prediction: UInt8Array, target: UInt8Array, num_classes: int) -> Counts:
    """Count the boundary pixels of each class that prediction and truth share, and those of either.

    Args:
        prediction: (H, W) uint8, class ids below `num_classes`.
        target: (H, W) uint8, class ids; pixels equal to `IGNORED_ID` belong to no class in either.
        num_classes: C, how many classes there are.

    Returns:
        (2, C) int64: intersection and union. Their quotient is the boundary IoU.
    """
    if (target == IGNORED_ID).any():
        prediction = np.where(target == IGNORED_ID, np.uint8(IGNORED_ID), prediction)
    target_edge, prediction_edge = boundary(target), boundary(prediction)
    shared = target[target_edge & prediction_edge & (target == prediction)]
    hits, truth, predicted = (
        np.bincount(ids, minlength=IGNORED_ID + 1)[:num_classes]
        for ids in (shared, target[target_edge], prediction[prediction_edge])
    )
    return np.stack([hits, truth + predicted - hits]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores from the pixels of each class, of one photo or the sum of many; leading axes, such as resamples, may be.

    A class that the truth never shows is absent: its scores are NaN and in no mean.
    """

    hits: npt.NDArray[Any]
    """(..., C): pixels of the class that were predicted as it."""
    truth: npt.NDArray[Any]
    """(..., C): true pixels of the class."""
    predicted: npt.NDArray[Any]
    """(..., C): pixels predicted as the class."""

    @classmethod
    def from_confusion(cls, matrix: npt.ArrayLike) -> Scores:
        """Build the scores of a confusion matrix, (C, C) counts with the truth in rows."""
        counts = np.asarray(matrix, dtype=np.int64)
        return cls(counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0))

    @property
    def iou(self) -> Shares:
        """(..., C) float64: intersection over union (Jaccard index), NaN where absent."""
        return self.share(self.hits, self.truth + self.predicted - self.hits)

    @property
    def f1(self) -> Shares:
        """(..., C) float64: harmonic mean of precision and recall (Dice coefficient), NaN where absent."""
        return self.share(2 * self.hits, self.truth + self.predicted)

    @property
    def precision(self) -> Shares:
        """(..., C) float64: share of the pixels given a class that are of it; 0 where none was, NaN where absent."""
        return self.share(self.hits, np.maximum(self.predicted, 1))

    @property
    def recall(self) -> Shares:
        """(..., C) float64: share of a class's pixels that were found, NaN where absent."""
        return self.share(self.hits, self.truth)

    @property
    def accuracy(self) -> Shares:
        """(...) float64: share of all pixels that got their class; NaN if nothing was counted."""
        total = self.truth.sum(axis=-1)
        return np.where(total > 0, self.hits.sum(axis=-1) / np.maximum(total, 1), np.nan)

    def share(self, part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> Shares:
        """Return `part` / `whole` of each class, (..., C) float64, NaN where the truth does not show it."""
        shares = np.full(self.truth.shape, np.nan)
        np.divide(part, whole, out=shares, where=self.truth > 0)
        return shares

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present, background counted; NaN if nothing was counted. Of no leading axes."""
        return float(mean_over_present(self.iou))

    @property
    def mean_f1(self) -> float:
        """The same of F1."""
        return float(mean_over_present(self.f1))


def mean_over_present(values: Shares, *, background: bool = True) -> Shares:
    """Return the mean of scores, (..., C), over the classes that are present, (...); NaN where none is.

    >>> float(mean_over_present(np.array([0.9, 0.5, np.nan])))
    0.7
    """
    chosen = values[..., 0 if background else 1 :]
    present = ~np.isnan(chosen)
    number = present.sum(axis=-1)
    total = np.where(present, chosen, 0.0).sum(axis=-1)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
