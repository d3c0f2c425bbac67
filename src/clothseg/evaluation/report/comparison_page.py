"""A comparison as one HTML page that needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from clothseg.evaluation.compare import Comparison, Difference
from clothseg.evaluation.evaluation import Circumstances
from clothseg.evaluation.measures import TITLES
from clothseg.evaluation.report import comparison_words, parts, words

_NARROWEST = 0.02  # end of the scale of differences: smaller ones are not blown up beyond it


def comparison_page(comparison: Comparison, circumstances: Circumstances) -> str:
    """Return the page."""
    title = comparison_words.title(comparison)
    sentences = f"{comparison_words.sentence(comparison)} {comparison_words.sentence_of_classes(comparison)}"
    left_out = f"{words.photos(len(comparison.left_out_photos))} that only one was scored on are left out."
    return parts.page(
        title,
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="quiet">{words.photos(comparison.num_photos)} scored at their own size.</p>',
            f'<div class="card">{escape(sentences)}</div>',
            f'<div class="card warning">{left_out}</div>' if comparison.left_out_photos else "",
            parts.section("IoU of each class", comparison_words.EXPLANATION, _chart(comparison)),
            *(_table(comparison, score) for score in comparison_words.SHOWN),
            "<h2>How this was measured</h2>",
            parts.facts(comparison_words.circumstances(comparison, circumstances)),
        ],
    )


def _chart(comparison: Comparison) -> str:
    rows = [
        (parts.class_name(comparison.first.classes, one.class_id), words.photos(one.photos), one.scores["iou"])
        for one in comparison.classes
    ]
    totals = [(name, means["iou"]) for name, means in comparison.mean_rows]
    all_of_them = [one for _, _, one in rows] + [one for _, one in totals]
    ends = [abs(bound) for one in all_of_them for bound in (one.change.value, one.change.low, one.change.high)]
    reach = max([_NARROWEST, *(end for end in ends if end == end)])  # NaN equals nothing, not even itself
    lines = [_bar_row(name, note, one, reach) for name, note, one in rows]
    lines += [_bar_row(escape(name), "", one, reach, is_total=True) for name, one in totals]
    key = (
        '<div class="key"><span><i style="background: var(--good)"></i>better beyond chance</span>'
        '<span><i style="background: var(--bad)"></i>worse beyond chance</span>'
        '<span><i style="background: var(--soft)"></i>within chance</span>'
        f"<span>Scale: −{reach:.2f} to +{reach:.2f}</span></div>"
    )
    return f'<div class="card">{key}<div class="bars">{"".join(lines)}</div></div>'


def _bar_row(name: str, note: str, one: Difference, reach: float, *, is_total: bool = False) -> str:
    if one.verdict == "absent":
        return parts.bar_row(name, "", "", f'<span class="quiet">{words.ABSENT}</span>')
    drawing = parts.difference_bar(one.change, one.verdict, reach=reach)
    figure = comparison_words.change(one.change)
    return parts.bar_row(name, note, drawing, figure, note_of_figure=comparison_words.verdict(one), is_total=is_total)


def _table(comparison: Comparison, score: str) -> str:
    lines = [
        parts.row(parts.class_name(comparison.first.classes, one.class_id), _cells(one.scores, score))
        for one in comparison.classes
    ]
    lines += [parts.row(escape(name), _cells(means, score), kind="total") for name, means in comparison.mean_rows]
    head = (TITLES[score], *comparison.names, "Difference", "95%", "")
    return f"<h2>{TITLES[score]}</h2>\n{parts.table(head, lines)}"


def _cells(scores: Mapping[str, Difference], score: str) -> list[str]:
    one = scores[score]
    if one.verdict == "absent":
        return [words.ABSENT, "", "", "", ""]
    figures = [words.number(one.first), words.number(one.second), comparison_words.change(one.change)]
    verdict = f'<span class="{one.verdict}">{comparison_words.verdict(one)}</span>'
    return [*figures, comparison_words.change_bounds(one.change), verdict]
