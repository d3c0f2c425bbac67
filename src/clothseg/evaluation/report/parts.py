"""The parts that pages are built of: bars with whiskers, tables, tiles, and the frame around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from clothseg.evaluation.metrics import Estimate
from clothseg.evaluation.report import words
from clothseg.evaluation.report.style import STYLE
from clothseg.labels import ClassList

_HEIGHT = 20  # of a bar's picture, in its own units; its width is 100


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page that needs no other file and no network."""
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>",
            *(part for part in parts if part),
            "</main>\n</body>\n</html>\n",
        ]
    )


def section(title: str, explanation: str, *contents: str) -> str:
    """Return a section; title and explanation are plain text."""
    return "\n".join([f"<h2>{escape(title)}</h2>", f'<p class="quiet">{escape(explanation)}</p>', *contents])


def bars(*estimates: Estimate) -> str:
    """Return scores from 0 to 1 as bars, the first one thick, with whiskers for their intervals."""
    shapes = [f'<rect class="track" width="100" height="{_HEIGHT}"/>']
    tops = ((3, 14),) if len(estimates) == 1 else ((2, 10), (14, 4))
    for one, (top, height), kind in zip(estimates, tops, ("main", "second"), strict=False):
        shapes.append(f'<rect class="{kind}" y="{top}" width="{100 * one.value:.2f}" height="{height}"/>')
        if one.has_interval:
            shapes.append(_whisker(100 * one.low, 100 * one.high, top + height / 2, reach=min(3, height / 2)))
    return _svg(shapes, ", ".join(words.estimate(one) for one in estimates))


def difference_bar(one: Estimate, kind: str, *, reach: float) -> str:
    """Return a difference as a bar from the middle, `reach` being the end of the scale on either side."""

    def place(value: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, value / reach))

    start, end = sorted((50.0, place(one.value)))
    shapes = [
        f'<rect class="track" width="100" height="{_HEIGHT}"/>',
        f'<rect class="{kind}" x="{start:.2f}" y="4" width="{end - start:.2f}" height="12"/>',
        f'<path class="zero" d="M50 0V{_HEIGHT}"/>',
    ]
    if one.has_interval:
        shapes.append(_whisker(place(one.low), place(one.high), _HEIGHT / 2, reach=3))
    return _svg(shapes, words.estimate(one))


def _whisker(low: float, high: float, middle: float, *, reach: float) -> str:
    top, bottom = middle - reach, middle + reach
    ends = f"M{low:.2f} {top:g}V{bottom:g}M{high:.2f} {top:g}V{bottom:g}"
    return f'<path class="whisker" d="M{low:.2f} {middle:g}H{high:.2f}{ends}"/>'


def _svg(shapes: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 100 {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(label)}">'
        f"{''.join(shapes)}</svg>"
    )


def bar_row(
    name: str, note: str, drawing: str, figure: str, *, note_of_figure: str = "", is_total: bool = False
) -> str:
    """Return a row of a bar chart; all but `note` and `note_of_figure` are HTML."""
    small = f"<small>{escape(note)}</small>" if note else ""
    under = f"<small>{escape(note_of_figure)}</small>" if note_of_figure else ""
    kind = "row total" if is_total else "row"
    return (
        f'<div class="{kind}"><div class="name">{name}{small}</div>{drawing or "<span></span>"}'
        f'<div class="figure">{figure}{under}</div></div>'
    )


def table(head: Sequence[str], rows: Iterable[str], *, kind: str = "") -> str:
    """Return a table that scrolls sideways where it is too wide; `rows` are HTML."""
    cells = "".join(f"<th><span>{escape(cell)}</span></th>" for cell in head)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def row(name: str, cells: Iterable[str], *, kind: str = "") -> str:
    """Return a row of a table; name and cells are HTML."""
    return f'<tr class="{kind}"><th>{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def with_bounds(one: Estimate) -> str:
    """Return a score with its interval below it, as a cell's content."""
    small = f"<small>{words.bounds_of(one)}</small>" if one.has_interval else ""
    return f"{words.value_of(one)}{small}"


def tile(title: str, one: Estimate, note: str) -> str:
    """Return a score in large figures."""
    bounds = words.bounds_of(one)
    return (
        f'<div class="tile"><span>{escape(title)}</span><b>{words.value_of(one)}</b>'
        f"<small>{bounds or 'no interval'}</small><small>{escape(note)}</small></div>"
    )


def class_name(classes: ClassList, class_id: int) -> str:
    """Return a class's name behind a patch of its colour."""
    color = "rgb({}, {}, {})".format(*classes.classes[class_id].color)
    return f'<span class="swatch" style="background: {color}"></span>{escape(classes.names[class_id])}'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values, both plain text, as a list."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f'<div class="card"><dl>{items}</dl></div>'
