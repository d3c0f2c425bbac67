"""An evaluation as one HTML page that needs no other file and no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

from clothseg.evaluation.bootstrap import LEAST_PHOTOS
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.measures import SCORES, TITLES
from clothseg.evaluation.metrics import Estimate
from clothseg.evaluation.report import parts, words
from clothseg.evaluation.report.explanations import (
    CONSISTENCY,
    GARMENTS,
    MATRIX,
    OBJECTS,
    SCORES_OF_CLASSES,
    WORST,
    circumstances,
)
from clothseg.evaluation.report.gallery import GalleryPhoto, Verdict
from clothseg.evaluation.report.matrix import matrix_table
from clothseg.labels import ClassList


def evaluation_page(evaluation: Evaluation, worst: Sequence[GalleryPhoto]) -> str:
    """Return the page, with its pictures inside."""
    title = words.title(evaluation)
    subtitle = (
        f"{words.photos(evaluation.summary.num_photos)} scored at their own size. "
        "In brackets and on whiskers: 95% intervals."
    )
    return parts.page(
        title,
        [
            f'<h1>{escape(title)}</h1>\n<p class="quiet">{subtitle}</p>',
            _failures(evaluation),
            _tiles(evaluation),
            _classes(evaluation),
            parts.section("Taken for one another", MATRIX, matrix_table(evaluation.summary.matrix, evaluation.classes)),
            _sizes(evaluation),
            _consistency(evaluation),
            _groups(evaluation),
            _worst(worst, evaluation.classes),
            "<h2>How this was measured</h2>",
            parts.facts(circumstances(evaluation)),
        ],
    )


def _failures(evaluation: Evaluation) -> str:
    if not evaluation.failures:
        return ""
    items = "".join(f"<li>{escape(one.photo)}: {escape(one.reason)}</li>" for one in evaluation.failures[:20])
    more = f"<p>and {len(evaluation.failures) - 20} more</p>" if len(evaluation.failures) > 20 else ""
    number = words.photos(len(evaluation.failures))
    return f'<div class="card warning"><b>{number} could not be scored</b><ul>{items}</ul>{more}</div>'


def _tiles(evaluation: Evaluation) -> str:
    summary = evaluation.summary
    garments = sum(one.photos > 0 for one in summary.classes[1:])
    without = f"over {garments} classes, without background"
    tiles = [
        parts.tile("Mean IoU", summary.garment_means["iou"], without),
        parts.tile("Mean IoU", summary.means["iou"], f"over {garments + 1} classes, with background"),
        parts.tile("Mean F1", summary.garment_means["f1"], without),
        parts.tile("Boundary IoU", summary.garment_means["boundary_iou"], f"mean {without}"),
        parts.tile("Pixel accuracy", summary.accuracy, "share of pixels that got their class"),
        parts.tile("Torn garments", summary.consistency.torn, f"share of {summary.consistency.garments:,} large ones"),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _classes(evaluation: Evaluation) -> str:
    summary, rows, lines = evaluation.summary, [], []
    for one in summary.classes:
        name = parts.class_name(evaluation.classes, one.class_id)
        if not one.photos:
            rows.append(_absent_row(name, one.predicted_pixels))
            lines.append(parts.row(name, [words.ABSENT, *[""] * (1 + len(SCORES))], kind="quiet"))
            continue
        counts = [f"{one.photos:,}", f"{one.pixels:,}"]
        lines.append(parts.row(name, [*(parts.with_bounds(one.scores[score]) for score in SCORES), *counts]))
        rows.append(_bar_row(name, words.photos(one.photos), one.scores["iou"], one.scores["boundary_iou"]))
    for title, means in summary.mean_rows:
        rows.append(_bar_row(escape(title), "", means["iou"], means["boundary_iou"], is_total=True))
        lines.append(
            parts.row(escape(title), [*(parts.with_bounds(means[one]) for one in SCORES), "", ""], kind="total")
        )
    key = (
        '<div class="key"><span><i style="background: var(--accent)"></i>IoU</span>'
        '<span><i style="background: var(--soft)"></i>Boundary IoU</span>'
        f"<span>Whiskers: 95% intervals, where at least {LEAST_PHOTOS} photos show the class</span></div>"
    )
    chart = f'<div class="card">{key}<div class="bars">{"".join(rows)}</div></div>'
    head = ("Class", *(TITLES[one] for one in SCORES), "Photos", "Pixels")
    return parts.section("Classes", SCORES_OF_CLASSES, chart, parts.table(head, lines))


def _absent_row(name: str, predicted_pixels: int) -> str:
    note = f"{predicted_pixels:,} pixels predicted" if predicted_pixels else ""
    return parts.bar_row(name, note, "", f'<span class="quiet">{words.ABSENT}</span>')


def _bar_row(name: str, note: str, first: Estimate, second: Estimate | None = None, *, is_total: bool = False) -> str:
    if first.is_absent:
        return parts.bar_row(name, note, "", words.ABSENT)
    drawing = parts.bars(*(one for one in (first, second) if one is not None))
    return parts.bar_row(
        name, note, drawing, words.value_of(first), note_of_figure=words.bounds_of(first), is_total=is_total
    )


def _sizes(evaluation: Evaluation) -> str:
    sizes, classes = evaluation.summary.sizes, evaluation.classes
    lines = [
        parts.row(
            f"{one.size.name}<small class='quiet'> {one.size.rule}</small>",
            [f"{one.objects:,}", f"{one.photos:,}", *map(parts.with_bounds, (one.iou, one.recall, one.found))],
        )
        for one in sizes
    ]
    head = ("Size", "Objects", "Photos", "Mean IoU", "Mean recall", "Found (IoU 0.5 or more)")
    per_class = [
        parts.row(
            parts.class_name(classes, class_id),
            [_iou_of_objects(one.class_objects[class_id], one.class_iou[class_id]) for one in sizes],
        )
        for class_id in range(1, len(classes))
        if any(one.class_objects[class_id] for one in sizes)
    ]
    by_class = parts.table(("Mean IoU of the objects", *(one.size.name for one in sizes)), per_class)
    return parts.section("Objects by size", OBJECTS, parts.table(head, lines), by_class)


def _consistency(evaluation: Evaluation) -> str:
    one = evaluation.summary.consistency
    cells = [f"{one.garments:,}", f"{one.photos:,}", parts.with_bounds(one.torn), parts.with_bounds(one.wrong)]
    rows = parts.table(words.CONSISTENCY_HEAD, [parts.row(cells[0], cells[1:])])
    return parts.section("Large garments", CONSISTENCY, rows)


def _iou_of_objects(objects: int, iou: float) -> str:
    if math.isnan(iou):
        return f'<span class="quiet">{words.ABSENT}</span>'
    return f"{words.number(iou)}<small>{objects:,} object{'s' * (objects != 1)}</small>"


def _groups(evaluation: Evaluation) -> str:
    rows = [
        _bar_row(
            f"{one.name} garment{'s' * (one.name != '1')}",
            words.photos(one.photos),
            one.photo_iou,
        )
        for one in evaluation.summary.groups
    ]
    rows.append(
        _bar_row("all photos", words.photos(evaluation.summary.num_photos), evaluation.summary.photo_iou, is_total=True)
    )
    return parts.section(
        "Photos by number of garments", GARMENTS, f'<div class="card"><div class="bars">{"".join(rows)}</div></div>'
    )


def _worst(worst: Sequence[GalleryPhoto], classes: ClassList) -> str:
    figures = "".join(_figure(one, classes) for one in worst)
    return parts.section("Worst photos", WORST, f'<div class="gallery">{figures}</div>')


def _figure(photo: GalleryPhoto, classes: ClassList) -> str:
    if photo.problem:
        views = f'<p class="quiet">{escape(photo.problem)}</p>'
    else:
        views = "".join(
            f'<div><img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}" width="{photo.size[0]}" '
            f'height="{photo.size[1]}" alt="{escape(photo.name)}: {kind}" loading="lazy">{kind}</div>'
            for jpeg, kind in zip(photo.pictures, ("photo", "truth", "prediction"), strict=True)
        )
    chips = "".join(f'<span class="chip">{_chip(one, classes)}</span>' for one in photo.verdicts)
    return (
        f'<figure class="card"><div class="views">{views}</div><figcaption><b>{words.number(photo.iou)}</b> '
        f"{escape(photo.name)}<br>{chips}</figcaption></figure>"
    )


def _chip(one: Verdict, classes: ClassList) -> str:
    verdict = words.number(one.iou)
    if not one.in_prediction:
        verdict = "missed"
    elif not one.in_truth:
        verdict = "not there"
    return f"{parts.class_name(classes, one.class_id)} {verdict}"
