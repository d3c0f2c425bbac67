"""Every score that follows from counts, with its interval: per class, means, by object size and number of garments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from clothseg.evaluation.bootstrap import Estimate, resampled_sums
from clothseg.evaluation.counts import COUNTS, SplitCounts
from clothseg.evaluation.objects import FOUND, IOU, NUMBER, RECALL, REGIONS, SIZES, TORN, WRONG, ObjectSize
from clothseg.scores import Scores, mean_over_present
from clothseg.types import Float64Array, Int64Array

Score = TypeVar("Score")

TITLES = {"iou": "IoU", "f1": "F1", "precision": "Precision", "recall": "Recall", "boundary_iou": "Boundary IoU"}
"""The title of each score of a class in reports; all but the boundary IoU are properties of `Scores`."""
SCORES = tuple(TITLES)
"""The scores of a class, in the order of their axis."""

MEANS = ("with_background", "without_background", "without_left_out")
"""The means over classes, in the order of their axis; the last leaves out the classes that the user names."""

GARMENT_GROUPS = ((0, 2, "up to 2"), (3, 3, "3"), (4, 4, "4"), (5, 5, "5"), (6, None, "6 or more"))
"""Groups of photos by how many classes besides the background they show: from, to, text."""


@dataclass(frozen=True, eq=False)
class ScoreArrays:
    """S scores of summed counts; the leading axes are those of the counts, such as resamples."""

    classes: Float64Array
    """(..., S, C): the scores of each class, NaN where the truth does not show it."""
    means: Float64Array
    """(..., 3, S): for each of `MEANS` the mean of each score over the classes that are present."""
    accuracy: Float64Array
    """(...): share of the pixels with the right class."""


def compute_scores(
    counts: npt.NDArray[np.integer] | Float64Array,
    *,
    leave_out: Sequence[int] = (),
    fallback: Float64Array | None = None,
) -> ScoreArrays:
    """Return the scores of counts.

    Args:
        counts: (..., 5, C), whose rows are those of `COUNTS`.
        leave_out: ids of the classes that the mean `without_left_out` leaves out.
        fallback: (..., S, C): scores of all photos, used in the means of a resample for classes that the resample does
            not show. Every mean is then over the same classes; otherwise a rare and difficult class would raise the
            mean of each resample without it.
    """
    hits, truth, predicted, boundary_hits, boundary_union = np.moveaxis(counts, -2, 0)
    pixels = Scores(hits, truth, predicted)
    boundary = {"boundary_iou": pixels.share(boundary_hits, boundary_union)}
    classes = np.stack([boundary[name] if name in boundary else getattr(pixels, name) for name in SCORES], axis=-2)
    filled = classes if fallback is None else np.where(np.isnan(classes), fallback, classes)
    means = (
        mean_over_present(filled),
        mean_over_present(filled, background=False),
        mean_over_present(np.delete(filled, list(leave_out), axis=-1)),
    )
    return ScoreArrays(classes, np.stack(means, axis=-2), pixels.accuracy)


@dataclass(frozen=True)
class ClassSummary:
    """The scores of one class."""

    class_id: int
    name: str
    photos: int
    """Photos whose truth shows it; 0 means that it is absent and has no scores."""
    pixels: int
    """True pixels."""
    predicted_pixels: int
    scores: dict[str, Estimate]
    """By the names of `SCORES`."""


@dataclass(frozen=True)
class SizeSummary:
    """The scores of the objects of one size; each object counts the same."""

    size: ObjectSize
    objects: int
    photos: int
    recall: Estimate
    """Mean share of an object's pixels that were predicted as its class."""
    iou: Estimate
    """Mean IoU of the objects."""
    found: Estimate
    """Share of the objects with an IoU of 0.5 or more."""
    class_objects: tuple[int, ...]
    """Number of objects of each class id."""
    class_iou: tuple[float, ...]
    """Mean IoU of the objects of each class id; NaN where there are none."""


@dataclass(frozen=True)
class Consistency:
    """Whether large garments were predicted as one class, and as the right one; see `count_consistency`.

    The JSON has these fields.
    """

    garments: int
    photos: int
    torn: Estimate
    """Share of the large garments that are torn into more than one class."""
    wrong_majority: Estimate
    """Share of them whose majority class is wrong."""


@dataclass(frozen=True)
class GroupSummary:
    """The scores of the photos with a similar number of garments. The JSON has these fields."""

    garments: str
    """Their number as text."""
    photos: int
    photo_iou: Estimate
    """Mean over the photos of the mean IoU over the garments in truth or prediction."""
    pixel_accuracy: Estimate


@dataclass(frozen=True)
class Summary:
    """All scores of an evaluation."""

    num_photos: int
    accuracy: Estimate
    photo_iou: Estimate
    means: dict[str, dict[str, Estimate]]
    """Means over the classes that are present, by the names of `MEANS` and of `SCORES`."""
    left_out: tuple[str, ...]
    """Names of the classes that the mean `without_left_out` leaves out; without any, that mean is not there."""
    classes: tuple[ClassSummary, ...]
    sizes: tuple[SizeSummary, ...]
    groups: tuple[GroupSummary, ...]
    consistency: Consistency
    matrix: Int64Array
    """(C, C): row = true class, column = predicted class."""

    @property
    def mean_rows(self) -> list[tuple[str, dict[str, Estimate]]]:
        """The title of each mean and its scores."""
        return rows_of_means(self.means, self.left_out)


def rows_of_means(means: Mapping[str, Score], left_out: Sequence[str]) -> list[tuple[str, Score]]:
    """Return the title of each mean and its value, in the order of the reports.

    >>> rows_of_means({"with_background": 0.6, "without_left_out": 0.5}, ["neck"])
    [('mean', 0.6), ('mean without neck', 0.5)]
    """
    titles = ("mean", "mean without background", f"mean without {', '.join(left_out)}")
    return [(title, means[name]) for name, title in zip(MEANS, titles, strict=True) if name in means]


def summarise(counts: SplitCounts, *, leave_out: tuple[int, ...] = ()) -> Summary:
    """Return all scores with their intervals; `leave_out` has the class ids that one more mean leaves out."""
    pixels, num_photos = counts.counts.astype(np.int64), len(counts.photos)
    total = compute_scores(pixels.sum(axis=0), leave_out=leave_out)
    resampled = compute_scores(resampled_sums(pixels), leave_out=leave_out, fallback=total.classes)
    return Summary(
        num_photos,
        accuracy=Estimate.of(total.accuracy, resampled.accuracy, num_photos=num_photos),
        photo_iou=_mean(counts.photo_iou),
        means={
            name: _by_score(total.means[index], resampled.means[:, index], num_photos)
            for index, name in enumerate(MEANS if leave_out else MEANS[:2])
        },
        left_out=tuple(counts.names[class_id] for class_id in leave_out),
        classes=tuple(
            ClassSummary(
                class_id,
                name,
                photos=int(photos),
                pixels=int(counts.matrix[class_id].sum()),
                predicted_pixels=int(counts.matrix[:, class_id].sum()),
                scores=_by_score(total.classes[:, class_id], resampled.classes[:, :, class_id], int(photos)),
            )
            for class_id, (name, photos) in enumerate(zip(counts.names, counts.photos_per_class, strict=True))
        ),
        sizes=_sizes(counts),
        groups=tuple(_group(counts, low, high, name) for low, high, name in GARMENT_GROUPS),
        consistency=_consistency(counts.consistency),
        matrix=counts.matrix,
    )


def shown_classes(matrix: Int64Array) -> tuple[list[int], list[int]]:
    """Return the class ids of a matrix's rows, those in the truth, and columns, those in truth or prediction."""
    true, either = matrix.sum(axis=1) > 0, (matrix.sum(axis=1) + matrix.sum(axis=0)) > 0
    return np.flatnonzero(true).tolist(), np.flatnonzero(either).tolist()


def row_shares(matrix: Int64Array) -> Float64Array:
    """Return the matrix with each row divided by its sum; 0 for classes that the truth does not show."""
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1))


def _by_score(values: Float64Array, resampled: Float64Array, num_photos: int) -> dict[str, Estimate]:
    """Return the estimate of each score from (S,) values and (R, S) resampled ones."""
    return {
        name: Estimate.of(values[index], resampled[:, index], num_photos=num_photos)
        for index, name in enumerate(SCORES)
    }


def _sizes(counts: SplitCounts) -> tuple[SizeSummary, ...]:
    sums, resampled = counts.photo_objects.sum(axis=0), resampled_sums(counts.photo_objects)
    summaries = []
    for index, size in enumerate(SIZES):
        photos = int((counts.photo_objects[:, index, NUMBER] > 0).sum())
        recall, iou, found = _shares(sums[index], resampled[:, index], photos, columns=(RECALL, IOU, FOUND))
        number, class_iou = counts.objects[index, :, NUMBER], counts.objects[index, :, IOU]
        summaries.append(
            SizeSummary(
                size,
                objects=int(sums[index, NUMBER]),
                photos=photos,
                recall=recall,
                iou=iou,
                found=found,
                class_objects=tuple(int(one) for one in number),
                class_iou=tuple(_quotient(class_iou, number).tolist()),
            )
        )
    return tuple(summaries)


def _consistency(counts: Int64Array) -> Consistency:
    sums, photos = counts.sum(axis=0), int((counts[:, REGIONS] > 0).sum())
    torn, wrong = _shares(sums, resampled_sums(counts), photos, columns=(TORN, WRONG))
    return Consistency(int(sums[REGIONS]), photos, torn, wrong)


def _shares(
    sums: Float64Array | Int64Array, resampled: Float64Array, num_photos: int, *, columns: Sequence[int]
) -> list[Estimate]:
    """Return columns divided by the first one, which counts the objects or pixels of which the others are shares.

    The sums over the `num_photos` that have such objects or pixels are (K,), those of each resample (R, K).
    """
    return [
        Estimate.of(
            _quotient(sums[column], sums[0]), _quotient(resampled[:, column], resampled[:, 0]), num_photos=num_photos
        )
        for column in columns
    ]


def _quotient(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _group(counts: SplitCounts, low: int, high: int | None, name: str) -> GroupSummary:
    chosen = (counts.num_garments >= low) & (counts.num_garments <= (len(counts.names) if high is None else high))
    photos = int(chosen.sum())
    if not photos:
        return GroupSummary(name, 0, Estimate(math.nan), Estimate(math.nan))
    rows = [COUNTS.index("truth"), COUNTS.index("hits")]
    pixels = counts.counts[chosen][:, rows].sum(axis=-1, dtype=np.int64)
    (accuracy,) = _shares(pixels.sum(axis=0), resampled_sums(pixels), photos, columns=(1,))
    return GroupSummary(name, photos, _mean(counts.photo_iou[chosen]), accuracy)


def _mean(values: Float64Array) -> Estimate:
    """Return the mean of one value per photo with its interval."""
    resampled = resampled_sums(values[:, None])[:, 0] / max(1, len(values))
    return Estimate.of(values.mean(), resampled, num_photos=len(values))
