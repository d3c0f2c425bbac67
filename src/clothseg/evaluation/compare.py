"""Two evaluations side by side: how they differ, and which differences are beyond chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from clothseg.errors import DataError
from clothseg.evaluation.bootstrap import LEAST_PHOTOS, interval, resampled_sums
from clothseg.evaluation.measures import SCORES, measure
from clothseg.evaluation.metrics import Estimate, rows_of_means
from clothseg.evaluation.photo_counts import COUNTS
from clothseg.evaluation.records import Side
from clothseg.types import Float64Array, Int64Array

Verdict = Literal["better", "worse", "unclear", "absent"]

_FIRST, _SECOND = 0, 1


@dataclass(frozen=True)
class Difference:
    """One score of the first and the second, and the second less the first."""

    first: float
    second: float
    change: Estimate
    """With its paired interval: both are scored on the same resampled photos."""

    @property
    def verdict(self) -> Verdict:
        """Whether the second is better or worse beyond chance: whether the interval leaves out 0."""
        if self.change.is_absent:
            return "absent"
        if self.change.low > 0:
            return "better"
        return "worse" if self.change.high < 0 else "unclear"


@dataclass(frozen=True)
class ClassDifference:
    """How one class differs."""

    class_id: int
    name: str
    photos: int
    """Photos whose truth shows it."""
    scores: dict[str, Difference]
    """By the names of `SCORES`."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of predictions, scored on the same photos."""

    first: Side
    second: Side
    num_photos: int
    left_out_photos: tuple[str, ...]
    """Photos that only one of the two was scored on."""
    accuracy: Difference
    means: dict[str, Difference]
    """Of the means over the classes present, by the names of `SCORES`."""
    garment_means: dict[str, Difference]
    """The same without the background."""
    chosen_means: dict[str, Difference]
    """The same without the classes of `left_out_classes`; empty if there are none."""
    left_out_classes: tuple[str, ...]
    classes: tuple[ClassDifference, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What to call the two: their own names, told apart where they are the same."""
        first, second = self.first.name, self.second.name
        return (f"{first} (A)", f"{second} (B)") if first == second else (first, second)

    @property
    def mean_rows(self) -> list[tuple[str, dict[str, Difference]]]:
        """The differences of every mean over classes, behind its name."""
        return rows_of_means(self.means, self.garment_means, self.chosen_means, self.left_out_classes)

    def verdicts(self) -> dict[Verdict, list[str]]:
        """Return the classes by whether the second's IoU is better or worse beyond chance."""
        found: dict[Verdict, list[str]] = {"better": [], "worse": [], "unclear": [], "absent": []}
        for one in self.classes:
            found[one.scores["iou"].verdict].append(one.name)
        return found


def compare(first: Side, second: Side, *, leave_out: tuple[str, ...] = ()) -> Comparison:
    """Compare two evaluations on the photos that both were scored on.

    Args:
        first: what is compared with.
        second: what is compared.
        leave_out: names of the classes that one more mean is without.

    Raises:
        DataError: their classes or their truth differ, or they share no photo.
        SettingError: there is no class of a name to leave out.
    """
    if first.classes.names != second.classes.names:
        raise DataError(
            f"{first.name} and {second.name} were scored on other classes: {', '.join(first.classes.names)}; "
            f"{', '.join(second.classes.names)}. Evaluate both on the same data"
        )
    of_second = frozenset(second.photos)
    shared = [name for name in first.photos if name in of_second]
    if not shared:
        raise DataError(
            f"{first.name} was scored on {first.data_name}, {first.split}, and {second.name} on {second.data_name}, "
            f"{second.split}: no photo is in both. Evaluate both on the same data"
        )
    places, second_places = _places(first, shared), _places(second, shared)
    for name, place, second_place in zip(shared, places, second_places, strict=True):
        if first.truth_checksums[place] != second.truth_checksums[second_place]:
            raise DataError(
                f"The truth of {name} is not the same in both evaluations: its mask has changed in between. "
                "Evaluate both again"
            )
    counts = np.stack([first.counts[places], second.counts[second_places]], axis=1).astype(np.int64)
    return _differences(first, second, counts, leave_out)


def _places(side: Side, photos: list[str]) -> list[int]:
    place = {name: number for number, name in enumerate(side.photos)}
    return [place[name] for name in photos]


def _differences(first: Side, second: Side, counts: Int64Array, leave_out: tuple[str, ...]) -> Comparison:
    """Return the comparison of counts, (N, 2, 5, C)."""
    class_ids = tuple(first.classes.id_of(name) for name in leave_out)
    total = measure(counts.sum(axis=0), leave_out=class_ids)
    spread = measure(resampled_sums(counts), leave_out=class_ids, stand_in=total.classes)
    photos = (counts[:, _FIRST, COUNTS.index("truth")] > 0).sum(axis=0)
    enough = len(counts) >= LEAST_PHOTOS
    return Comparison(
        first,
        second,
        num_photos=len(counts),
        left_out_photos=tuple(sorted(set(first.photos) ^ set(second.photos))),
        accuracy=_difference(total.accuracy, spread.accuracy, enough=enough),
        means=_by_score(total.means, spread.means, enough=enough),
        garment_means=_by_score(total.garment_means, spread.garment_means, enough=enough),
        chosen_means=_by_score(total.chosen_means, spread.chosen_means, enough=enough) if leave_out else {},
        left_out_classes=leave_out,
        classes=tuple(
            ClassDifference(
                class_id,
                name,
                int(photos[class_id]),
                _by_score(
                    total.classes[..., class_id],
                    spread.classes[..., class_id],
                    enough=int(photos[class_id]) >= LEAST_PHOTOS,
                ),
            )
            for class_id, name in enumerate(first.classes.names)
        ),
    )


def _by_score(values: Float64Array, resampled: Float64Array, *, enough: bool) -> dict[str, Difference]:
    """Return the differences of each score from (2, 5) values and (R, 2, 5) resampled ones."""
    return {
        name: _difference(values[:, index], resampled[:, :, index], enough=enough) for index, name in enumerate(SCORES)
    }


def _difference(values: Float64Array, resampled: Float64Array, *, enough: bool) -> Difference:
    """Return the difference of (2,) values, with the interval of the (R, 2) resampled ones if there is to be one."""
    first, second = float(values[_FIRST]), float(values[_SECOND])
    if math.isnan(first) or not enough:
        return Difference(first, second, Estimate(second - first))
    low, high = interval(resampled[:, _SECOND] - resampled[:, _FIRST])
    return Difference(first, second, Estimate(second - first, float(low), float(high)))
