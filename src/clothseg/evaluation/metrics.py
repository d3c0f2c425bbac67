"""The scores of a tally with their intervals: over all photos, by object size and by the number of garments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from clothseg.evaluation.bootstrap import LEAST_PHOTOS, interval, resampled_sums
from clothseg.evaluation.counts import Tally
from clothseg.evaluation.measures import SCORES, Measures, measure
from clothseg.evaluation.objects import FOUND, IOU, NUMBER, RECALL, REGIONS, SIZES, TORN, WRONG, ObjectSize
from clothseg.types import Float64Array, Int64Array

Score = TypeVar("Score")

GARMENTS = ((0, 2, "up to 2"), (3, 3, "3"), (4, 4, "4"), (5, 5, "5"), (6, None, "6 or more"))
"""Groups of photos by how many classes besides the background they show: from, to, in words."""


@dataclass(frozen=True)
class Estimate:
    """A score and the interval around it; NaN where it is absent, or where there are too few photos for an interval."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def is_absent(self) -> bool:
        """Whether there is nothing to score."""
        return math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there were enough photos for an interval."""
        return not math.isnan(self.low)


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
    """How well objects of one size were found; each object counts the same."""

    size: ObjectSize
    objects: int
    photos: int
    recall: Estimate
    """Mean share of an object's pixels that were found."""
    iou: Estimate
    """Mean IoU of the objects."""
    found: Estimate
    """Share of the objects with an IoU of 0.5 or more."""
    class_objects: tuple[int, ...]
    """Objects of each class id."""
    class_iou: tuple[float, ...]
    """Mean IoU of the objects of each class id; NaN where there are none."""


@dataclass(frozen=True)
class Consistency:
    """Whether large garments got one class, and the right one; see `count_consistency`."""

    garments: int
    photos: int
    torn: Estimate
    """Share of the large garments that were torn over more than one class."""
    wrong: Estimate
    """Share of them whose majority class is wrong."""


@dataclass(frozen=True)
class GroupSummary:
    """Photos that show a like number of garments."""

    name: str
    photos: int
    photo_iou: Estimate
    """Mean over the photos of the mean IoU over the garments that truth or prediction shows."""
    accuracy: Estimate


@dataclass(frozen=True)
class Summary:
    """All scores of an evaluation."""

    num_photos: int
    accuracy: Estimate
    photo_iou: Estimate
    means: dict[str, Estimate]
    """Means over the classes present, by the names of `SCORES`."""
    garment_means: dict[str, Estimate]
    """The same without the background."""
    chosen_means: dict[str, Estimate]
    """The same without the classes of `left_out`; empty if there are none."""
    left_out: tuple[str, ...]
    classes: tuple[ClassSummary, ...]
    sizes: tuple[SizeSummary, ...]
    groups: tuple[GroupSummary, ...]
    consistency: Consistency
    matrix: Int64Array
    """(C, C): row = true class, column = predicted class."""

    @property
    def mean_rows(self) -> list[tuple[str, dict[str, Estimate]]]:
        """Every mean over classes, behind its name."""
        return rows_of_means(self.means, self.garment_means, self.chosen_means, self.left_out)


def rows_of_means(
    means: dict[str, Score], garment_means: dict[str, Score], chosen_means: dict[str, Score], left_out: tuple[str, ...]
) -> list[tuple[str, dict[str, Score]]]:
    """Return the means behind their names, in the order in which reports show them."""
    rows = [("mean", means), ("mean without background", garment_means)]
    return [*rows, (f"mean without {', '.join(left_out)}", chosen_means)] if left_out else rows


def summarise(tally: Tally, *, leave_out: tuple[int, ...] = ()) -> Summary:
    """Return the scores of a tally with their intervals; `leave_out` has the ids that one more mean is without."""
    counts = tally.counts.astype(np.int64)
    total = measure(counts.sum(axis=0), leave_out=leave_out)
    spread = measure(resampled_sums(counts), leave_out=leave_out, stand_in=total.classes)
    enough = len(tally.photos) >= LEAST_PHOTOS
    return Summary(
        num_photos=len(tally.photos),
        accuracy=_estimate(total.accuracy, spread.accuracy, enough=enough),
        photo_iou=_mean_estimate(tally.photo_iou),
        means=_by_score(total.means, spread.means, enough=enough),
        garment_means=_by_score(total.garment_means, spread.garment_means, enough=enough),
        chosen_means=_by_score(total.chosen_means, spread.chosen_means, enough=enough) if leave_out else {},
        left_out=tuple(tally.names[one] for one in leave_out),
        classes=_classes(tally, total, spread),
        sizes=_sizes(tally),
        groups=tuple(_group(tally, low, high, name) for low, high, name in GARMENTS),
        consistency=_consistency(tally.consistency),
        matrix=tally.matrix,
    )


def _estimate(value: Float64Array | float, resampled: Float64Array, *, enough: bool) -> Estimate:
    """Return a score, and the interval of its resampled values, (R,), if there are enough photos for one."""
    if not enough or math.isnan(float(value)):
        return Estimate(float(value))
    low, high = interval(resampled)
    return Estimate(float(value), float(low), float(high))


def _by_score(values: Float64Array, resampled: Float64Array, *, enough: bool) -> dict[str, Estimate]:
    return {name: _estimate(values[index], resampled[:, index], enough=enough) for index, name in enumerate(SCORES)}


def _classes(tally: Tally, total: Measures, spread: Measures) -> tuple[ClassSummary, ...]:
    return tuple(
        ClassSummary(
            class_id,
            name,
            photos=int(photos),
            pixels=int(tally.matrix[class_id].sum()),
            predicted_pixels=int(tally.matrix[:, class_id].sum()),
            scores=_by_score(total.classes[:, class_id], spread.classes[:, :, class_id], enough=photos >= LEAST_PHOTOS),
        )
        for class_id, (name, photos) in enumerate(zip(tally.names, tally.photos_per_class, strict=True))
    )


def _sizes(tally: Tally) -> tuple[SizeSummary, ...]:
    sums = tally.photo_objects.sum(axis=0)
    spread = resampled_sums(tally.photo_objects)
    return tuple(_size(tally, place, sums[place], spread[:, place]) for place in range(len(SIZES)))


def _size(tally: Tally, place: int, sums: Float64Array, spread: Float64Array) -> SizeSummary:
    photos = int((tally.photo_objects[:, place, NUMBER] > 0).sum())
    recall, iou, found = (
        _estimate(
            _quotient(sums[column], sums[NUMBER]),
            _quotient(spread[:, column], spread[:, NUMBER]),
            enough=photos >= LEAST_PHOTOS,
        )
        for column in (RECALL, IOU, FOUND)
    )
    of_class = tally.objects[place]
    return SizeSummary(
        SIZES[place],
        objects=int(sums[NUMBER]),
        photos=photos,
        recall=recall,
        iou=iou,
        found=found,
        class_objects=tuple(int(one) for one in of_class[:, NUMBER]),
        class_iou=tuple(_quotient(of_class[:, IOU], of_class[:, NUMBER]).tolist()),
    )


def _quotient(part: Float64Array, whole: Float64Array) -> Float64Array:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


def _consistency(counts: Int64Array) -> Consistency:
    photos, sums, spread = int((counts[:, REGIONS] > 0).sum()), counts.sum(axis=0), resampled_sums(counts)
    torn, wrong = (
        _estimate(
            _quotient(sums[column], sums[REGIONS]),
            _quotient(spread[:, column], spread[:, REGIONS]),
            enough=photos >= LEAST_PHOTOS,
        )
        for column in (TORN, WRONG)
    )
    return Consistency(int(sums[REGIONS]), photos, torn, wrong)


def _group(tally: Tally, low: int, high: int | None, name: str) -> GroupSummary:
    chosen = (tally.num_garments >= low) & (tally.num_garments <= (len(tally.names) if high is None else high))
    counts = tally.counts[chosen].astype(np.int64)
    photos = int(chosen.sum())
    if not photos:
        return GroupSummary(name, 0, Estimate(math.nan), Estimate(math.nan))
    accuracy = _estimate(
        measure(counts.sum(axis=0)).accuracy,
        measure(resampled_sums(counts)).accuracy,
        enough=photos >= LEAST_PHOTOS,
    )
    return GroupSummary(name, photos, _mean_estimate(tally.photo_iou[chosen]), accuracy)


def _mean_estimate(values: Float64Array) -> Estimate:
    """Return the mean of one value per photo with its interval."""
    resampled = resampled_sums(values[:, None])[:, 0] / max(1, len(values))
    return _estimate(values.mean(), resampled, enough=len(values) >= LEAST_PHOTOS)
