"""The plots of the report, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import svg
from results import Results, estimate_of

from clothseg.evaluation.report.matrix import row_shares, shown_classes

_LEFT = 170  # where bars begin: names stand before them
_WIDEST_CELL = 56


def plots(results: Results) -> dict[str, bytes]:
    """Return every plot by its file's name."""
    training = results.training
    found = {"classes.svg": _classes(results), "confusion.svg": _confusion(results)}
    if training["curves"]:
        found |= {"loss.svg": _loss(training), "validation.svg": _validation(training)}
    if results.ablation is not None:
        found["ablation.svg"] = _ablation(results.ablation)
    if "learning_rate" in training["curves"]:
        found["learning-rate.svg"] = _learning_rate(training)
    return found


def _points(training: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """Return a curve over epochs: a step of the log is the last of what it tells of."""
    per_epoch = training["steps"] / len(training["curves"]["val_loss"]["steps"])
    curve = training["curves"].get(name, {"steps": [], "values": []})
    return [((step + 1) / per_epoch, value) for step, value in zip(curve["steps"], curve["values"], strict=True)]


def _loss(training: Mapping[str, Any]) -> bytes:
    names = (
        ("train_loss_step", "training, single steps", "first faint"),
        ("train_loss", "training", "first"),
        ("val_loss", "validation", "second"),
    )
    series = [svg.Series(title, points, kind) for name, title, kind in names if (points := _points(training, name))]
    return svg.line_chart("Loss", series, x_label="epochs", note=_note(training))


def _validation(training: Mapping[str, Any]) -> bytes:
    names = (("val_iou", "mean IoU", "first"), ("val_f1", "mean F1", "second"), ("val_acc", "pixel accuracy", "third"))
    series = [svg.Series(title, points, kind) for name, title, kind in names if (points := _points(training, name))]
    return svg.line_chart("Scores while training", series, x_label="epochs", y_range=(0.0, 1.0), note=_note(training))


def _note(training: Mapping[str, Any]) -> str:
    return f"validation: {training['validated_on']}" if training["validated_on"] else ""


def _learning_rate(training: Mapping[str, Any]) -> bytes:
    series = [svg.Series("learning rate", _points(training, "learning_rate"), "first")]
    return svg.line_chart("Learning rate", series, x_label="epochs")


def _classes(results: Results) -> bytes:
    """Return the IoU of each class as bars with intervals: the starter above the plain recipe, if that was measured."""
    plain = {} if results.plain is None else {one["name"]: one["iou"] for one in results.plain.values["classes"]}
    across = svg.Axis(0, 1, _LEFT, svg.WIDTH - 70)
    shapes = svg.key([("starter model", "fill-first"), ("plain recipe", "fill-second")][: 2 if plain else 1], 72)
    rows = sorted(results.evaluation.present, key=lambda one: -one["iou"]["value"])
    for place, one in enumerate(rows):
        top = 88 + 34 * place
        shapes += [
            svg.text(_LEFT - 10, top + 17, one["name"], anchor="end"),
            svg.box(_LEFT, top, across.end - _LEFT, 27, kind="track"),
            *_bar(across, one["iou"], top, kind="fill-first"),
            *_bar(across, plain.get(one["name"]), top + 14, kind="fill-second"),
            svg.text(across.end + 8, top + 17, f"{one['iou']['value']:.3f}"),
        ]
    note = f"{results.evaluation.values['data']['photos']} photos at their own size; whiskers are 95% intervals"
    return svg.document("IoU of each class", 88 + 34 * len(rows) + 12, shapes, description=note)


def _bar(across: svg.Axis, score: Mapping[str, Any] | None, top: float, *, kind: str) -> list[str]:
    one = estimate_of(score)
    if one.is_absent:
        return []
    bar = svg.box(across.start, top, across(one.value) - across.start, 13, kind=kind)
    return [bar, svg.whisker(across(one.low), across(one.high), top + 6.5)] if one.has_interval else [bar]


def _confusion(results: Results) -> bytes:
    """Return the confusion matrix: each row a true class, in percent of its pixels."""
    matrix, names = results.evaluation.matrix, results.evaluation.names
    shares, (rows, columns) = row_shares(matrix), shown_classes(matrix)
    top, shapes = 150, []
    width = min(_WIDEST_CELL, (svg.WIDTH - _LEFT - 56) / len(columns))
    for place, column in enumerate(columns):
        x, y = _LEFT + width * (place + 0.5), top - 10
        word = svg.text(x, y, names[column])
        shapes.append(word.replace("<text ", f'<text transform="rotate(-40 {x:.1f} {y:.1f})" '))
    for number, row in enumerate(rows):
        y = top + 30 * number
        shapes.append(svg.text(_LEFT - 10, y + 19, names[row], anchor="end"))
        for place, column in enumerate(columns):
            shapes += _cell(_LEFT + width * place, y, width, share=float(shares[row, column]), is_hit=row == column)
    note = "row: true class; column: predicted class; percent of the row's pixels, empty below 0.5"
    return svg.document("Taken for one another", top + 30 * len(rows) + 16, shapes, description=note)


def _cell(x: float, y: float, width: float, *, share: float, is_hit: bool) -> list[str]:
    shapes = [svg.box(x, y, width - 2, 28, kind="track")]
    if share < 0.005:
        return shapes
    strength = 0.9 * share**0.5  # a square root spreads the small shares, which are most of the mistakes
    shapes.append(svg.box(x, y, width - 2, 28, kind="fill-first" if is_hit else "fill-miss", opacity=strength))
    kind = "light" if strength > 0.6 else ""
    return [*shapes, svg.text(x + width / 2 - 1, y + 19, f"{100 * share:.0f}", kind=kind, anchor="middle")]


def _ablation(ablation: Mapping[str, Any]) -> bytes:
    rows = ablation["rows"]
    across = svg.Axis(0, 1.1 * max(max(one["mean_iou"] for one in rows), 0.01), _LEFT, svg.WIDTH - 70)
    shapes = []
    for place, one in enumerate(rows):
        top = 64 + 28 * place
        shapes += [
            svg.text(_LEFT - 10, top + 15, one["recipe"], anchor="end"),
            svg.box(_LEFT, top, across.end - _LEFT, 20, kind="track"),
            svg.box(_LEFT, top, across(one["mean_iou"]) - _LEFT, 20, kind="fill-first"),
            svg.text(across.end + 8, top + 15, f"{one['mean_iou']:.3f}"),
        ]
    note = f"mean IoU on the tune part after {rows[0]['photos']:,} photos"
    return svg.document("Each change on its own, and all together", 64 + 28 * len(rows) + 12, shapes, description=note)
