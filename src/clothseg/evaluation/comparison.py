"""Compares two evaluations: how their scores differ on the same photos, and which differences are significant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from clothseg.errors import DataError
from clothseg.evaluation.bootstrap import Estimate, resampled_sums
from clothseg.evaluation.counts import COUNTS
from clothseg.evaluation.metrics import MEANS, SCORES, compute_scores, rows_of_means
from clothseg.evaluation.records import VERSION, EvaluationRecord, Provenance, interval_settings, json_text, nan_to_none
from clothseg.evaluation.report import ABSENT, change, change_bounds
from clothseg.types import Float64Array, Int64Array

Verdict = Literal["better", "worse", "unclear", "absent"]

_FIRST, _SECOND = 0, 1


@dataclass(frozen=True)
class Difference:
    """One score of the first and the second, and the second minus the first."""

    first: float
    second: float
    change: Estimate
    """With its paired interval: both are scored on the same resampled photos."""

    @property
    def verdict(self) -> Verdict:
        """Whether the second is significantly better or worse: whether the interval does not contain 0."""
        if self.change.is_absent:
            return "absent"
        if self.change.low > 0:
            return "better"
        return "worse" if self.change.high < 0 else "unclear"

    @property
    def verdict_text(self) -> str:
        """The verdict as reports print it."""
        if self.verdict == "unclear":
            return "not significant" if self.change.has_interval else "too few photos"
        return ABSENT if self.verdict == "absent" else self.verdict

    def to_dict(self) -> dict[str, Any] | None:
        """Return it as JSON has it; None if it is absent."""
        if self.verdict == "absent":
            return None
        return {
            "first": self.first,
            "second": self.second,
            "change": self.change.value,
            "low": nan_to_none(self.change.low),
            "high": nan_to_none(self.change.high),
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class ClassDifference:
    """The differences of one class."""

    class_id: int
    name: str
    photos: int
    """Photos whose truth shows it."""
    scores: dict[str, Difference]
    """By the names of `SCORES`."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of predictions, scored on the same photos."""

    first: EvaluationRecord
    second: EvaluationRecord
    num_photos: int
    left_out_photos: tuple[str, ...]
    """Photos that only one of the two was scored on."""
    accuracy: Difference
    means: dict[str, dict[str, Difference]]
    """Differences of the means over the classes that are present, by the names of `MEANS` and of `SCORES`."""
    left_out_classes: tuple[str, ...]
    """Names of the classes that the mean `without_left_out` leaves out; without any, that mean is not there."""
    classes: tuple[ClassDifference, ...]

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two; "(A)" and "(B)" are added to equal names."""
        first, second = self.first.name, self.second.name
        return (f"{first} (A)", f"{second} (B)") if first == second else (first, second)

    @property
    def title(self) -> str:
        """The names of predictions, dataset and split."""
        first, second = self.names
        return f"{second} against {first} on {self.first.data_name}, {self.first.split}"

    @property
    def mean_rows(self) -> list[tuple[str, dict[str, Difference]]]:
        """The title of each mean and its differences."""
        return rows_of_means(self.means, self.left_out_classes)

    @property
    def conclusion(self) -> str:
        """The outcome in two or three sentences: the mean IoU, and the classes with a significant difference."""
        mean = self.means["without_background"]["iou"]
        bounds = change_bounds(mean.change)
        outcome = "The difference is not significant"
        if mean.verdict in ("better", "worse"):
            outcome = f"{self.names[_SECOND]} is significantly {mean.verdict}"
        sentences = [f"{outcome}: mean IoU without background {change(mean.change)}{f' ({bounds})' if bounds else ''}."]
        for verdict in ("better", "worse"):
            names = [one.name for one in self.classes if one.scores["iou"].verdict == verdict]
            sentences += [f"IoU significantly {verdict}: {', '.join(names)}."] if names else []
        return " ".join(sentences if len(sentences) > 1 else [*sentences, "No class's IoU differs significantly."])

    def to_json(self, provenance: Provenance) -> bytes:
        """Return the bytes of the JSON file."""
        values = {
            "version": VERSION,
            "first": dict(self.first.predictions),
            "second": dict(self.second.predictions),
            "data": {"name": self.first.data_name, "split": self.first.split},
            "photos": self.num_photos,
            "left_out": list(self.left_out_photos),
            **asdict(provenance),
            "intervals": interval_settings("paired bootstrap over photos"),
            "pixel_accuracy": self.accuracy.to_dict(),
            "mean": {
                **{name: _to_dicts(self.means.get(name, {})) for name in MEANS},
                "left_out": list(self.left_out_classes),
            },
            "classes": [
                {"id": one.class_id, "name": one.name, "absent": not one.photos, "photos": one.photos}
                | _to_dicts(one.scores)
                for one in self.classes
            ],
        }
        return json_text(values).encode()


def _to_dicts(scores: Mapping[str, Difference]) -> dict[str, Any]:
    return {name: one.to_dict() for name, one in scores.items()}


def compare(first: EvaluationRecord, second: EvaluationRecord, *, leave_out: tuple[str, ...] = ()) -> Comparison:
    """Compare `second` with `first` on the photos that both were scored on.

    `leave_out` has the names of the classes that one more mean leaves out.

    Raises:
        DataError: their classes or their truth differ, or they have no photo in common.
        SettingError: a class to leave out does not exist.
    """
    if first.classes.names != second.classes.names:
        raise DataError(
            f"{first.name} and {second.name} were scored on different classes: {', '.join(first.classes.names)}; "
            f"{', '.join(second.classes.names)}. Evaluate both on the same data"
        )
    first_index, second_index = ({name: index for index, name in enumerate(one.photos)} for one in (first, second))
    shared = [name for name in first.photos if name in second_index]
    if not shared:
        raise DataError(
            f"{first.name} was scored on {first.data_name}, {first.split}, and {second.name} on {second.data_name}, "
            f"{second.split}: they have no photo in common. Evaluate both on the same data"
        )
    for name in shared:
        if first.truth_checksums[first_index[name]] != second.truth_checksums[second_index[name]]:
            raise DataError(
                f"The truth of {name} is not the same in both evaluations: its mask was changed in between. "
                "Evaluate both again"
            )
    pairs = (
        first.counts[[first_index[name] for name in shared]],
        second.counts[[second_index[name] for name in shared]],
    )
    return _differences(first, second, np.stack(pairs, axis=1).astype(np.int64), leave_out)


def _differences(
    first: EvaluationRecord, second: EvaluationRecord, counts: Int64Array, leave_out: tuple[str, ...]
) -> Comparison:
    """Return the comparison of counts, (N, 2, 5, C)."""
    class_ids = tuple(first.classes.id_of(name) for name in leave_out)
    total = compute_scores(counts.sum(axis=0), leave_out=class_ids)
    resampled = compute_scores(resampled_sums(counts), leave_out=class_ids, fallback=total.classes)
    photos = (counts[:, _FIRST, COUNTS.index("truth")] > 0).sum(axis=0).tolist()
    return Comparison(
        first,
        second,
        num_photos=len(counts),
        left_out_photos=tuple(sorted(set(first.photos) ^ set(second.photos))),
        accuracy=_difference(total.accuracy, resampled.accuracy, len(counts)),
        means={
            name: _by_score(total.means[:, index], resampled.means[:, :, index], len(counts))
            for index, name in enumerate(MEANS if leave_out else MEANS[:2])
        },
        left_out_classes=leave_out,
        classes=tuple(
            ClassDifference(
                class_id,
                name,
                photos[class_id],
                _by_score(total.classes[..., class_id], resampled.classes[..., class_id], photos[class_id]),
            )
            for class_id, name in enumerate(first.classes.names)
        ),
    )


def _by_score(values: Float64Array, resampled: Float64Array, photos: int) -> dict[str, Difference]:
    """Return the differences of each score from (2, 5) values and (R, 2, 5) resampled ones."""
    return {name: _difference(values[:, index], resampled[:, :, index], photos) for index, name in enumerate(SCORES)}


def _difference(values: Float64Array, resampled: Float64Array, photos: int) -> Difference:
    """Return the difference of (2,) values, with the interval of the (R, 2) resampled ones."""
    first, second = float(values[_FIRST]), float(values[_SECOND])
    paired = resampled[:, _SECOND] - resampled[:, _FIRST]
    return Difference(first, second, Estimate.of(second - first, paired, num_photos=photos))
