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

RECIPES = {
    "plain": "the plain recipe",
    "pyramid": "FPN in place of U-Net",
    "narrow": "a decoder with half the channels",
    "aspect": "photos keep their shape and are seen at several scales, in crops",
    "schedule": "AdamW with warm-up and a cosine to 0, a fifth of its rate for the encoder",
    "cross-entropy": "cross-entropy in place of the focal loss",
    "balance": "cross-entropy in which rare classes count more",
    "average": "the weights are an average over the steps",
    "guesses": "also learns from photos with guessed masks, and more often from rare classes",
    "all but guesses": "all but the guessed masks",
    "all but guesses, narrow": "the same with half the decoder's channels",
    "all and narrow": "all of these, and half the decoder's channels",
    "all": "all of these but half a decoder: ours",
}
"""The recipes of the ablation, in words."""

FEW_PHOTOS = 40
_WORST = 10
_MISSED = 0.1  # a garment is missed if less than this share of its pixels was found
_INVENTED = 0.002  # a garment that is not there is invented from this share of the photo on


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


def garments(evaluation: Evaluation) -> str:
    """Return how well photos were segmented by how many garments they show."""
    rows = [
        [
            f"{one['garments']} garments",
            f"{one['photos']:,}",
            estimate(one["photo_iou"]),
            estimate(one["pixel_accuracy"]),
        ]
        for one in evaluation.values["garments_per_photo"]
    ]
    return table(("Photos with", "Photos", "Mean IoU of a photo", "Pixel accuracy"), rows)


def worst_photos(evaluation: Evaluation) -> str:
    """Return the photos with the lowest IoU: what was missed in them, and what was seen that is not there."""
    rows = []
    for one in sorted(evaluation.values["per_photo"], key=lambda one: float(one["iou"]))[:_WORST]:
        counts = {evaluation.names[int(key)]: numbers for key, numbers in one["counts"].items() if key != "0"}
        total = sum(numbers[1] for numbers in one["counts"].values())
        missed = [name for name, (hits, truth, *_) in counts.items() if truth and hits < _MISSED * truth]
        invented = [name for name, (_, truth, found, *_) in counts.items() if not truth and found >= _INVENTED * total]
        shows = [name for name, (_, truth, *_) in counts.items() if truth]
        cells = (", ".join(names) or "–" for names in (shows, missed, invented))
        rows.append([one["photo"], f"{one['iou']:.3f}", *cells])
    return table(("Photo", "IoU", "Shows", "Missed", "Invented"), rows, align="---")


def ablation(values: Mapping[str, Any]) -> str:
    """Return mean IoU of each recipe and what it gains on the plain one."""
    lines = values["rows"]
    plain = next((one["mean_iou"] for one in lines if one["recipe"] == "plain"), None)
    names = [name for name in lines[0]["iou"] if name != "background"]
    rows = []
    for one in lines:
        gain = "" if plain is None or one["recipe"] == "plain" else f"{one['mean_iou'] - plain:+.3f}"
        scores = [f"{one['iou'][name]:.3f}" if name in one["iou"] else ABSENT for name in names]
        title = RECIPES.get(one["recipe"], one["recipe"])
        rows.append([f"`{one['recipe']}`: {title}", f"{one['mean_iou']:.3f}", gain, f"{one['accuracy']:.3f}", *scores])
    return table(("Recipe", "Mean IoU", "Gain", "Accuracy", *names), rows)


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
