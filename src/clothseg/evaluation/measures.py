"""Every score that follows from counts, for one sum of photos or many resamples of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.scores import ClassCounts, mean_over_present
from clothseg.types import Float64Array

SCORES = ("iou", "f1", "precision", "recall", "boundary_iou")
"""The scores of a class, in the order in which they are kept."""

TITLES = {"iou": "IoU", "f1": "F1", "precision": "Precision", "recall": "Recall", "boundary_iou": "Boundary IoU"}


@dataclass(frozen=True, eq=False)
class Measures:
    """Scores of sums of photos; the leading axes are those of the counts, such as resamples."""

    classes: Float64Array
    """(..., 5, C): the scores of each class, NaN where the truth does not show it."""
    means: Float64Array
    """(..., 5): their means over the classes present."""
    garment_means: Float64Array
    """(..., 5): their means over the classes present, without the background."""
    chosen_means: Float64Array
    """(..., 5): their means over the classes present, without those that were to be left out."""
    accuracy: Float64Array
    """(...): share of the pixels that got their class."""


def measure(
    counts: npt.NDArray[np.integer] | Float64Array,
    *,
    leave_out: Sequence[int] = (),
    stand_in: Float64Array | None = None,
) -> Measures:
    """Return the scores of counts.

    Args:
        counts: (..., 5, C), whose rows are those of `COUNTS`.
        leave_out: ids of the classes that `chosen_means` is without.
        stand_in: (..., 5, C): scores of all photos, that stand in the means of a resample for those of classes that it
            does not show. So every mean is over the same classes; without it, a rare and difficult class would raise
            the mean of each resample that happens not to have it.
    """
    hits, truth, predicted, boundary_hits, boundary_union = np.moveaxis(counts, -2, 0)
    pixels = ClassCounts(hits, truth, predicted)
    scores = [getattr(pixels, name) for name in SCORES[:4]] + [pixels.share(boundary_hits, boundary_union)]
    classes = np.stack(scores, axis=-2)
    averaged = classes if stand_in is None else np.where(np.isnan(classes), stand_in, classes)
    return Measures(
        classes,
        means=mean_over_present(averaged),
        garment_means=mean_over_present(averaged, background=False),
        chosen_means=mean_over_present(np.delete(averaged, list(leave_out), axis=-1)),
        accuracy=pixels.accuracy,
    )
