"""The main scores of an evaluation as tables for a terminal."""

from __future__ import annotations

from rich.table import Table

from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.measures import SCORES, TITLES
from clothseg.evaluation.report import words


def score_table(evaluation: Evaluation) -> Table:
    """Return the scores of each class, their means and the pixel accuracy."""
    summary = evaluation.summary
    table = Table(title=f"{words.title(evaluation)}: {words.photos(summary.num_photos)}")
    table.add_column("class", no_wrap=True)
    for heading in ("photos", "IoU", "95%", *(TITLES[name] for name in SCORES[1:])):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in summary.classes:
        if not one.photos:
            table.add_row(one.name, words.ABSENT, style="dim")
            continue
        others = [words.value_of(one.scores[name]) for name in SCORES[1:]]
        iou = one.scores["iou"]
        table.add_row(one.name, f"{one.photos:,}", words.value_of(iou), words.bounds_of(iou), *others)
    table.add_section()
    for name, means in (("mean", summary.means), ("mean without background", summary.garment_means)):
        others = [words.value_of(means[score]) for score in SCORES[1:]]
        table.add_row(name, "", words.value_of(means["iou"]), words.bounds_of(means["iou"]), *others)
    accuracy = summary.accuracy
    table.add_row("pixel accuracy", "", words.value_of(accuracy), words.bounds_of(accuracy))
    return table
