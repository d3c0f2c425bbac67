"""A comparison as Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from clothseg.evaluation.compare import Comparison, Difference
from clothseg.evaluation.evaluation import Circumstances
from clothseg.evaluation.measures import TITLES
from clothseg.evaluation.report import comparison_words, words
from clothseg.evaluation.report.markdown import table


def comparison_markdown(comparison: Comparison, circumstances: Circumstances) -> str:
    """Return the Markdown file's text."""
    rows = [
        [one.name, f"{one.photos:,}", *_cells(one.scores)] if one.photos else [one.name, words.ABSENT, *[""] * 7]
        for one in comparison.classes
    ]
    rows += [[f"**{name}**", "", *_cells(means)] for name, means in comparison.mean_rows]
    first, second = comparison.names
    others = [TITLES[name] for name in comparison_words.SHOWN[1:]]
    head = ["Class", "Photos", f"IoU {first}", f"IoU {second}", "Difference", "95%", "", *others]
    sections = [
        f"# {comparison_words.title(comparison)}",
        f"{comparison_words.sentence(comparison)} {comparison_words.sentence_of_classes(comparison)}",
        comparison_words.EXPLANATION,
        table(head, rows),
        "The last two columns are differences, too.",
        "## How this was measured",
        table(("", ""), comparison_words.circumstances(comparison, circumstances)),
    ]
    return "\n\n".join(sections) + "\n"


def _cells(scores: Mapping[str, Difference]) -> list[str]:
    iou = scores["iou"]
    figures = [words.number(iou.first), words.number(iou.second), comparison_words.change(iou.change)]
    others = [_with_verdict(scores[name]) for name in comparison_words.SHOWN[1:]]
    return [*figures, comparison_words.change_bounds(iou.change), comparison_words.verdict(iou), *others]


def _with_verdict(one: Difference) -> str:
    return f"{comparison_words.change(one.change)} {comparison_words.verdict(one)}"
