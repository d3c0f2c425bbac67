"""The tables of the report and of the model card, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from results import Evaluation, estimate_of

from clothseg.evaluation.compare import Comparison, Difference
from clothseg.evaluation.measures import SCORES, TITLES
from clothseg.evaluation.report import words
from clothseg.evaluation.report.markdown import table
from clothseg.evaluation.report.matrix import row_shares, shown_classes

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
"""What `ablation.py` calls its recipes, in words."""

_WORST = 10
_MISSED = 0.1  # a garment is missed if less than this share of its pixels was found
_INVENTED = 0.002  # share of the photo from which a garment that is not there is told
_VERDICTS = {"better": "better", "worse": "worse", "unclear": "within chance", "absent": words.ABSENT}


def of_words(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose columns are words, all to the left."""
    return table(head, rows).replace("---:", "---")


def shown(score: Mapping[str, Any] | None) -> str:
    """Return a score of the JSON with its interval, or that it is absent."""
    return words.estimate(estimate_of(score))


def duration(seconds: float) -> str:
    """Return a time in hours, or in minutes where it is below one.

    >>> duration(4498), duration(345)
    ('1.2 hours', '5.8 minutes')
    """
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def classes(evaluation: Evaluation) -> str:
    """Return the scores of every class, then their means."""
    rows = []
    for one in evaluation.values["classes"]:
        scores = [words.ABSENT, *[""] * (len(SCORES) - 1)] if one["absent"] else [shown(one[name]) for name in SCORES]
        rows.append([one["name"], f"{one['photos']:,}", f"{one['pixels']:,}", *scores])
    for title, means in evaluation.means:
        rows.append([f"**{title}**", "", "", *(f"**{shown(means[name])}**" for name in SCORES)])
    rows.append(["pixel accuracy", "", "", shown(evaluation.values["pixel_accuracy"]), *[""] * (len(SCORES) - 1)])
    return table(("Class", "Photos", "True pixels", *(TITLES[name] for name in SCORES)), rows)


def against_plain(comparison: Comparison) -> str:
    """Return IoU of the plain recipe and of the starter, with the paired interval of the difference."""
    rows = [[one.name, f"{one.photos:,}", *_difference(one.scores["iou"])] for one in comparison.classes]
    rows += [[f"**{title}**", "", *_difference(means["iou"])] for title, means in comparison.mean_rows]
    rows.append(["pixel accuracy", "", *_difference(comparison.accuracy)])
    return table(("IoU", "Photos", "Plain", "Starter", "Difference", "Starter is"), rows)


def _difference(one: Difference) -> list[str]:
    if one.verdict == "absent":
        return [words.ABSENT, words.ABSENT, "", ""]
    bounds = f" ({one.change.low:+.3f} to {one.change.high:+.3f})" if one.change.has_interval else ""
    verdict = _VERDICTS[one.verdict] if one.change.has_interval else "too few photos"
    return [words.number(one.first), words.number(one.second), f"{one.change.value:+.3f}{bounds}", verdict]


def confusion(evaluation: Evaluation) -> str:
    """Return the confusion matrix in percent of each row."""
    names, shares = evaluation.names, row_shares(evaluation.matrix)
    rows, columns = shown_classes(evaluation.matrix)
    lines = [[names[true], *(f"{100 * shares[true, one]:.1f}" for one in columns)] for true in rows]
    return table(("true \\ predicted", *(names[one] for one in columns)), lines)


def mistakes(evaluation: Evaluation) -> str:
    """Return, from the lowest IoU up, what each garment was taken for, and what was taken for it."""
    names, matrix = evaluation.names, evaluation.matrix
    rows = []
    for one in sorted(evaluation.present, key=lambda one: float(one["iou"]["value"])):
        place = one["id"]
        if place == 0:
            continue
        found = f"{matrix[place, place] / one['pixels']:.0%}"
        given = _others(matrix[place], names, place)
        taken = _others(matrix[:, place], names, place)
        rows.append([one["name"], words.number(one["iou"]["value"]), found, given, taken])
    head = ("Garment", "IoU", "Its pixels found", "The others were given to", "Pixels wrongly given to it are of")
    return of_words(head, rows)


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
        scores = [shown(one[name]) for name in ("iou", "recall", "found")]
        rows.append([f"{one['name']} ({bounds} pixels)", f"{one['objects']:,}", f"{one['photos']:,}", *scores])
    return table(("Size", "Objects", "Photos", "Mean IoU", "Mean recall", "Found (IoU 0.5 or more)"), rows)


def garments(evaluation: Evaluation) -> str:
    """Return how well photos were segmented by how many garments they show."""
    rows = [
        [f"{one['garments']} garments", f"{one['photos']:,}", shown(one["photo_iou"]), shown(one["pixel_accuracy"])]
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
        invented = [name for name, (_, truth, told, *_) in counts.items() if not truth and told >= _INVENTED * total]
        found = [name for name, (_, truth, *_) in counts.items() if truth]
        cells = (", ".join(names) or "–" for names in (found, missed, invented))
        rows.append([one["photo"], words.number(one["iou"]), *cells])
    return of_words(("Photo", "IoU", "Shows", "Missed", "Invented"), rows)


def ablation(values: Mapping[str, Any]) -> str:
    """Return mean IoU of each recipe and what it gains on the plain one."""
    lines = values["rows"]
    plain = next((one["mean_iou"] for one in lines if one["recipe"] == "plain"), None)
    names = [name for name in lines[0]["iou"] if name != "background"]
    rows = []
    for one in lines:
        gain = "" if plain is None or one["recipe"] == "plain" else f"{one['mean_iou'] - plain:+.3f}"
        scores = [words.number(one["iou"][name]) if name in one["iou"] else words.ABSENT for name in names]
        title = RECIPES.get(one["recipe"], one["recipe"])
        rows.append(
            [f"`{one['recipe']}`: {title}", words.number(one["mean_iou"]), gain, f"{one['accuracy']:.3f}", *scores]
        )
    return table(("Recipe", "Mean IoU", "Gain", "Accuracy", *names), rows)


def speed(values: Mapping[str, Any]) -> str:
    """Return what was timed."""
    rows = []
    for one in values["rows"]:
        taken = one["milliseconds"]
        rows.append([one["what"], f"{taken:,.0f} ms" if taken is not None else f"not measured: {one['reason']}"])
    return table(("What", "Median time"), rows)
