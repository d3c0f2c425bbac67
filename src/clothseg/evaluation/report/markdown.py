"""An evaluation as Markdown: every table of the page, without the pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.measures import SCORES, TITLES
from clothseg.evaluation.report import words
from clothseg.evaluation.report.explanations import (
    CONSISTENCY,
    GARMENTS,
    OBJECTS,
    SCORES_OF_CLASSES,
    WORST,
    circumstances,
)
from clothseg.evaluation.report.gallery import GALLERY_PHOTOS
from clothseg.evaluation.report.matrix import row_shares, shown_classes

_MATRIX = "Each row is a true class; its cells say in percent which classes its pixels were given."


def evaluation_markdown(evaluation: Evaluation) -> str:
    """Return the Markdown file's text."""
    sections = [
        f"# {words.title(evaluation)}",
        f"{words.photos(evaluation.summary.num_photos)} scored at their own size; in brackets 95% intervals.",
        *_failures(evaluation),
        "## Classes",
        SCORES_OF_CLASSES,
        _classes(evaluation),
        "## Taken for one another",
        _MATRIX,
        _matrix(evaluation),
        "## Objects by size",
        OBJECTS,
        _sizes(evaluation),
        _sizes_of_classes(evaluation),
        "## Large garments",
        CONSISTENCY,
        _consistency(evaluation),
        "## Photos by number of garments",
        GARMENTS,
        _groups(evaluation),
        "## Worst photos",
        WORST,
        _worst(evaluation),
        "## How this was measured",
        table(("", ""), circumstances(evaluation)),
    ]
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the others to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def _failures(evaluation: Evaluation) -> list[str]:
    if not evaluation.failures:
        return []
    lines = [f"- {one.photo}: {one.reason}" for one in evaluation.failures]
    return [f"**{words.photos(len(evaluation.failures))} could not be scored:**", "\n".join(lines)]


def _classes(evaluation: Evaluation) -> str:
    summary, rows = evaluation.summary, []
    for one in summary.classes:
        if not one.photos:
            rows.append([one.name, words.ABSENT, "", *[""] * len(SCORES)])
            continue
        scores = [words.estimate(one.scores[score]) for score in SCORES]
        rows.append([one.name, f"{one.photos:,}", f"{one.pixels:,}", *scores])
    for title, means in summary.mean_rows:
        rows.append([f"**{title}**", "", "", *(f"**{words.estimate(means[score])}**" for score in SCORES)])
    rows.append(["pixel accuracy", "", "", words.estimate(summary.accuracy), *[""] * (len(SCORES) - 1)])
    return table(("Class", "Photos", "True pixels", *(TITLES[score] for score in SCORES)), rows)


def _matrix(evaluation: Evaluation) -> str:
    matrix, names = evaluation.summary.matrix, evaluation.classes.names
    shares, (rows, columns) = row_shares(matrix), shown_classes(matrix)
    lines = [[names[true], *(f"{100 * shares[true, one]:.1f}" for one in columns)] for true in rows]
    return table(("true \\ predicted", *(names[one] for one in columns)), lines)


def _sizes(evaluation: Evaluation) -> str:
    rows = [
        [
            f"{one.size.name}, {one.size.rule}",
            f"{one.objects:,}",
            f"{one.photos:,}",
            *(words.estimate(score) for score in (one.iou, one.recall, one.found)),
        ]
        for one in evaluation.summary.sizes
    ]
    return table(("Size", "Objects", "Photos", "Mean IoU", "Mean recall", "Found (IoU 0.5 or more)"), rows)


def _sizes_of_classes(evaluation: Evaluation) -> str:
    sizes, rows = evaluation.summary.sizes, []
    for class_id, name in enumerate(evaluation.classes.names):
        cells = [
            words.ABSENT if math.isnan(iou) else f"{words.number(iou)} of {objects:,}"
            for objects, iou in ((one.class_objects[class_id], one.class_iou[class_id]) for one in sizes)
        ]
        if any(one.class_objects[class_id] for one in sizes):
            rows.append([name, *cells])
    return table(("Mean IoU of the objects", *(one.size.name for one in sizes)), rows)


def _consistency(evaluation: Evaluation) -> str:
    return table(words.CONSISTENCY_HEAD, [words.consistency(evaluation.summary.consistency)])


def _groups(evaluation: Evaluation) -> str:
    summary = evaluation.summary
    rows = [
        [f"{one.name} garments", f"{one.photos:,}", words.estimate(one.photo_iou), words.estimate(one.accuracy)]
        for one in summary.groups
    ]
    total = [
        "all photos",
        f"{summary.num_photos:,}",
        words.estimate(summary.photo_iou),
        words.estimate(summary.accuracy),
    ]
    return table(("Photos with", "Photos", "Mean IoU of a photo", "Pixel accuracy"), [*rows, total])


def _worst(evaluation: Evaluation) -> str:
    tally = evaluation.tally
    rows = [[tally.photos[one], words.number(float(tally.photo_iou[one]))] for one in evaluation.worst(GALLERY_PHOTOS)]
    return table(("Photo", "IoU"), rows)
