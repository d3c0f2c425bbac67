"""What one photo adds to the scores: its confusion matrix, boundary pixels and objects."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from clothseg.evaluation.objects import count_consistency, count_objects
from clothseg.scores import boundary_counts, confusion_matrix
from clothseg.types import Float64Array, Int64Array, UInt8Array

COUNTS = ("hits", "truth", "predicted", "boundary_hits", "boundary_union")
"""What is counted for each class and photo, in pixels: predicted rightly, true, predicted; boundary pixels that truth
and prediction share, and those of either. Every score per class follows from sums of these."""


@dataclass(frozen=True, eq=False)
class PhotoCounts:
    """The counts of one photo."""

    name: str
    """The photo's path inside its split's folder."""
    matrix: Int64Array
    """(C, C) int64: row = true class, column = predicted class."""
    counts: Int64Array
    """(5, C) int64: the rows of `COUNTS`."""
    objects: Float64Array
    """(sizes, C, 4) float64 as `count_objects` returns it."""
    consistency: Int64Array
    """(3,) int64 as `count_consistency` returns it."""
    truth_checksum: int
    """CRC-32 of the true mask: two evaluations compare only where they saw the same truth."""


def count_photo(name: str, prediction: UInt8Array, truth: UInt8Array, num_classes: int) -> PhotoCounts:
    """Count one photo.

    Args:
        name: the photo's.
        prediction: (H, W) uint8, class ids below `num_classes`.
        truth: (H, W) uint8, class ids below `num_classes`.
        num_classes: C, how many classes there are.
    """
    assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
    matrix = confusion_matrix(prediction, truth, num_classes)
    rows = (matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
    counts = np.concatenate([np.stack(rows), boundary_counts(prediction, truth, num_classes)])
    checksum = zlib.crc32(truth.tobytes(), zlib.crc32(repr(truth.shape).encode()))
    return PhotoCounts(
        name,
        matrix,
        counts,
        objects=count_objects(prediction, truth, num_classes),
        consistency=count_consistency(prediction, truth, num_classes),
        truth_checksum=checksum,
    )
