"""Small charts as SVG that read well on light and on dark pages: text files, so that a change of a figure is a diff."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

WIDTH = 760
_MARGIN = 16
_LETTER = 6.6  # mean width of a letter at 12 px, to leave room for names

# A card of its own colour lies below each chart: a page's theme and the system's need not agree.
_STYLE = """
text { font: 12px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328 }
text.title { font-size: 15px; font-weight: 600 }
text.quiet { fill: #59636e }
text.light { fill: #ffffff }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #d8dee4; fill: none }
.track { fill: #eff2f5 }
.whisker { stroke: #1f2328; fill: none; stroke-width: 1.3 }
.first { stroke: #0969da } .second { stroke: #bc4c00 } .third { stroke: #1a7f37 }
.fill-faint { fill: #0969da; opacity: 0.45 } .fill-first { fill: #0969da }
.fill-second { fill: #d4a72c } .fill-third { fill: #1a7f37 } .fill-miss { fill: #bc4c00 }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
.faint { stroke-width: 1; opacity: 0.45 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } text.quiet { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d }
  .grid { stroke: #30363d } .track { fill: #1c2128 } .whisker { stroke: #e6edf3 }
  .first { stroke: #4493f8 } .second { stroke: #f0883e } .third { stroke: #3fb950 }
  .fill-faint { fill: #388bfd } .fill-first { fill: #388bfd }
  .fill-second { fill: #bb8009 } .fill-third { fill: #3fb950 } .fill-miss { fill: #db6d28 }
}
"""


@dataclass(frozen=True)
class Axis:
    """Maps values to places in pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Return round values from low to high, about as many as asked for.

        >>> Axis(0, 0.9, 0, 100).ticks()
        [0.0, 0.2, 0.4, 0.6, 0.8]
        """
        rough = (self.high - self.low) / about
        power = 10 ** math.floor(math.log10(rough))
        step = next(one * power for one in (1, 2, 5, 10) if one * power >= rough * 0.99)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Series:
    """A curve."""

    name: str
    points: Sequence[Point]
    kind: str
    """first, second or third; with " faint" for what lies behind."""


def document(title: str, height: float, shapes: Iterable[str], *, description: str = "") -> bytes:
    """Return a whole picture: a card with a title above the shapes, `WIDTH` wide."""
    heading = text(_MARGIN, 28, title, kind="title")
    below = [text(_MARGIN, 47, description, kind="quiet")] if description else []
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" '
        f'role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="8"/>',
        *(heading, *below),
        *shapes,
        "</svg>\n",
    ]
    return "\n".join(lines).encode()


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    """Return words whose baseline is at y."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, *, kind: str, opacity: float = 1.0) -> str:
    """Return a filled rectangle."""
    more = f' opacity="{opacity:.2f}"' if opacity < 1 else ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"{more}/>'


def curve(points: Iterable[Point], kind: str) -> str:
    """Return a line through points."""
    return f'<path class="{kind}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>'


def whisker(low: float, high: float, y: float) -> str:
    """Return an interval from low to high, all in pixels."""
    ends = f"M{low:.1f} {y - 3:.1f}v6M{high:.1f} {y - 3:.1f}v6"
    return f'<path class="whisker" d="M{low:.1f} {y:.1f}H{high:.1f}{ends}"/>'


def key(entries: Iterable[tuple[str, str]], y: float) -> list[str]:
    """Return names beside their colours, in a row from the left; entries are a name and the class of its patch."""
    shapes, left = [], float(_MARGIN)
    for name, kind in entries:
        shapes += [box(left, y - 9, 14, 9, kind=kind), text(left + 20, y, name)]
        left += 40 + _LETTER * len(name)
    return shapes


def line_chart(
    title: str, series: Sequence[Series], *, x_label: str, y_range: tuple[float, float] | None = None, note: str = ""
) -> bytes:
    """Return curves over a common x axis, with their names above."""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    low, high = y_range or (min(0.0, *ys), 1.05 * max(ys) or 1.0)
    across = Axis(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, 64, WIDTH - 24)
    up = Axis(low, high, 300, 94 if note else 76)
    shapes = []
    for value in up.ticks():
        shapes += [
            curve([(across.start, up(value)), (across.end, up(value))], "grid"),
            text(across.start - 8, up(value) + 4, f"{value:g}", kind="quiet", anchor="end"),
        ]
    shapes += [text(across(value), 320, f"{value:g}", kind="quiet", anchor="middle") for value in across.ticks(8)]
    shapes.append(text(across.end, 340, x_label, kind="quiet", anchor="end"))
    for one in series:
        shapes.append(curve([(across(x), up(y)) for x, y in one.points], f"curve {one.kind}"))
    patches = {"first": "fill-first", "second": "fill-miss", "third": "fill-third"}
    names = [(one.name, patches.get(one.kind, "fill-faint")) for one in series]
    above = key(names, 72 if note else 52)
    return document(title, 352, [*above, *shapes], description=note)
