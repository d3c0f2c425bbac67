"""The main scores of an evaluation or a comparison as a table for a terminal."""

from __future__ import annotations

from rich.table import Table

from clothseg.evaluation.compare import Comparison
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.measures import SCORES, TITLES
from clothseg.evaluation.report import comparison_words, words


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
    for name, means in summary.mean_rows:
        others = [words.value_of(means[score]) for score in SCORES[1:]]
        table.add_row(name, "", words.value_of(means["iou"]), words.bounds_of(means["iou"]), *others)
    accuracy = summary.accuracy
    table.add_row("pixel accuracy", "", words.value_of(accuracy), words.bounds_of(accuracy))
    large = summary.consistency
    for name, share in (("large garments torn", large.torn), ("large garments of wrong majority", large.wrong)):
        table.add_row(name, f"{large.photos:,}", words.value_of(share), words.bounds_of(share))
    return table


def difference_table(comparison: Comparison) -> Table:
    """Return the IoU of each class on both sides, the difference, and whether it is beyond chance."""
    table = Table(title=f"{comparison_words.title(comparison)}: {words.photos(comparison.num_photos)}")
    table.add_column("IoU of", no_wrap=True)
    for heading in ("photos", *comparison.names, "difference", "95%", ""):
        table.add_column(heading, justify="right", overflow="fold")
    rows = [(one.name, f"{one.photos:,}", one.scores["iou"]) for one in comparison.classes]
    rows += [(name, "", scores["iou"]) for name, scores in comparison.mean_rows]
    rows += [("pixel accuracy", "", comparison.accuracy)]
    for place, (name, photos, one) in enumerate(rows):
        if place == len(comparison.classes):
            table.add_section()
        if one.verdict == "absent":
            table.add_row(name, words.ABSENT, style="dim")
            continue
        figures = [words.number(one.first), words.number(one.second), comparison_words.change(one.change)]
        table.add_row(name, photos, *figures, comparison_words.change_bounds(one.change), comparison_words.verdict(one))
    return table
