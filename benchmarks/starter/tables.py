"""The tables of the report and of the model card, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from results import Evaluation

from clothseg.evaluation.comparison import Comparison, Difference
from clothseg.model.description import ModelDescription
from clothseg.types import Float64Array, Int64Array

SCORES = {"iou": "IoU", "f1": "F1", "precision": "Precision", "recall": "Recall", "boundary_iou": "Boundary IoU"}
ABSENT = "absent"

FEW_PHOTOS = 40


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, align: str = "---:") -> str:
    """Return a Markdown table: the first column to the left, the others as `align` says."""
    lines = [head, ["---", *[align] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def estimate(score: Mapping[str, Any] | None) -> str:
    """Return a score of the JSON with its interval, or that it is absent.

    >>> estimate({"value": 0.5, "low": 0.25, "high": 0.625})
    '0.500 (0.250–0.625)'
    """
    if score is None or score["value"] is None:
        return ABSENT
    bounds = "" if score["low"] is None else f" ({score['low']:.3f}–{score['high']:.3f})"
    return f"{score['value']:.3f}{bounds}"


def change(difference: Difference) -> str:
    """Return a difference with its interval."""
    one = difference.change
    return f"{one.value:+.3f}{f' ({one.low:+.3f} to {one.high:+.3f})' if one.has_interval else ''}"


def row_shares(matrix: Int64Array) -> Float64Array:
    """Return the confusion matrix with each row divided by its sum; 0 where the truth does not show the class."""
    return np.asarray(matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1), dtype=np.float64)


def shown_classes(matrix: Int64Array) -> tuple[list[int], list[int]]:
    """Return the rows, classes that the truth shows, and the columns, classes that truth or prediction shows."""
    is_true, is_predicted = matrix.sum(axis=1) > 0, matrix.sum(axis=0) > 0
    return np.flatnonzero(is_true).tolist(), np.flatnonzero(is_true | is_predicted).tolist()


def duration(seconds: float) -> str:
    """Return a time in hours, or in minutes where it is below one.

    >>> duration(4498), duration(345)
    ('1.2 hours', '5.8 minutes')
    """
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def summary(evaluation: Evaluation) -> str:
    """Return every mean IoU and F1, and the pixel accuracy."""
    rows = [[title, estimate(mean["iou"]), estimate(mean["f1"])] for title, mean in evaluation.means]
    rows.append(["pixel accuracy", estimate(evaluation.values["pixel_accuracy"]), ""])
    return table(("", "IoU", "F1"), rows)


def classes(evaluation: Evaluation) -> str:
    """Return the scores of every class, then their means."""
    rows = []
    for one in evaluation.values["classes"]:
        scores = [ABSENT, *[""] * (len(SCORES) - 1)] if one["absent"] else [estimate(one[name]) for name in SCORES]
        rows.append([one["name"], f"{one['photos']:,}", f"{one['pixels']:,}", *scores])
    for title, means in evaluation.means:
        rows.append([f"**{title}**", "", "", *(f"**{estimate(means[name])}**" for name in SCORES)])
    rows.append(["pixel accuracy", "", "", estimate(evaluation.values["pixel_accuracy"]), *[""] * (len(SCORES) - 1)])
    return table(("Class", "Photos", "True pixels", *SCORES.values()), rows)


def against_plain(comparison: Comparison) -> str:
    """Return IoU of the plain recipe and of the starter, with the paired interval of the difference."""
    rows = [[one.name, f"{one.photos:,}", *_difference(one.scores["iou"])] for one in comparison.classes]
    rows += [[f"**{title}**", "", *_difference(means["iou"])] for title, means in comparison.mean_rows]
    rows.append(["pixel accuracy", "", *_difference(comparison.accuracy)])
    return table(("IoU", "Photos", "Plain", "Starter", "Difference", "Starter is"), rows)


def _difference(one: Difference) -> list[str]:
    if math.isnan(one.first) or math.isnan(one.second):
        return [ABSENT, ABSENT, "", ""]
    verdict = (
        "not significant" if one.change.low <= 0 <= one.change.high else "better" if one.change.low > 0 else "worse"
    )
    is_known = one.change.has_interval
    return [f"{one.first:.3f}", f"{one.second:.3f}", change(one), verdict if is_known else "too few photos"]


def confusion(evaluation: Evaluation) -> str:
    """Return the confusion matrix in percent of each row."""
    names, shares = evaluation.names, row_shares(evaluation.matrix)
    rows, columns = shown_classes(evaluation.matrix)
    lines = [[names[true], *(f"{100 * shares[true, one]:.1f}" for one in columns)] for true in rows]
    return table(("true \\ predicted", *(names[one] for one in columns)), lines)


def mistakes(evaluation: Evaluation) -> str:
    """Return, from the lowest IoU up, with which classes each garment was confused."""
    names, matrix = evaluation.names, evaluation.matrix
    rows = []
    for one in sorted(evaluation.present, key=lambda one: float(one["iou"]["value"])):
        place = one["id"]
        if place == 0:
            continue
        found = f"{matrix[place, place] / one['pixels']:.0%}"
        given = _others(matrix[place], names, place)
        taken = _others(matrix[:, place], names, place)
        rows.append([one["name"], f"{one['iou']['value']:.3f}", found, given, taken])
    head = ("Garment", "IoU", "Recall", "Its other pixels were given to", "Pixels wrongly given to it are of")
    return table(head, rows, align="---")


def _others(pixels: Any, names: list[str], own: int) -> str:
    """Return the classes with most of some pixels, the class itself not counted: up to three, from 2% of all on."""
    total = int(pixels.sum())
    order = [int(one) for one in np.argsort(-pixels) if one != own]
    found = [f"{names[one]} {pixels[one] / total:.0%}" for one in order[:3] if total and pixels[one] >= 0.02 * total]
    return ", ".join(found) or "–"


def sizes(evaluation: Evaluation) -> str:
    """Return how well objects were found by their size."""
    rows = []
    for one in evaluation.values["object_sizes"]:
        bounds = f"below {one['below_pixels']:,}" if one["below_pixels"] else f"from {one['from_pixels']:,}"
        scores = [estimate(one[name]) for name in ("iou", "recall", "found")]
        rows.append([f"{one['name']} ({bounds} pixels)", f"{one['objects']:,}", f"{one['photos']:,}", *scores])
    return table(("Size", "Objects", "Photos", "Mean IoU", "Mean recall", "Found (IoU 0.5 or more)"), rows)


def categories(description: ModelDescription) -> str:
    """Return how many photos showed each category that the model tells apart, and its IoU."""
    photos, iou = (
        whole.get("categories", {}).get(key, {})
        for whole, key in ((description.training_data, "photos_per_class"), (description.scores, "iou"))
    )
    rows = []
    for name in description.categories[1:]:
        few = f" (few photos, below {FEW_PHOTOS})" if photos[name] < FEW_PHOTOS else ""
        rows.append([f"{name}{few}", f"{photos[name]:,}", ABSENT if iou.get(name) is None else f"{iou[name]:.3f}"])
    return table(("Category", "Training photos", "IoU"), rows)


def without_clothes(values: Mapping[str, Any]) -> str:
    """Return how much of the pictures of each kind without clothes is called clothes."""
    rows = [[kind, f"{one['pictures']}", f"{one['share']:.1%}"] for kind, one in values["kinds"].items()]
    rows.append(["**all**", f"**{values['pictures']}**", f"**{values['share']:.1%}**"])
    return table(("Pictures without clothes", "Number", "Called clothes"), rows)


def speed(values: Mapping[str, Any]) -> str:
    """Return what was timed."""
    rows = []
    for one in values["rows"]:
        taken = one["milliseconds"]
        rows.append([one["what"], f"{taken:,.0f} ms" if taken is not None else f"not measured: {one['reason']}"])
    return table(("What", "Median time"), rows)
