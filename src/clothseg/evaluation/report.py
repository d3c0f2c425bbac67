"""Writes the reports: numbers are formatted here; text and layout are in templates/."""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clothseg.evaluation.bootstrap import MIN_PHOTOS, Estimate
from clothseg.evaluation.objects import LARGE_SHARE, TORN_SHARE
from clothseg.pictures import write_whole

if TYPE_CHECKING:
    import jinja2

ABSENT = "absent"


def write_reports(folder: Path, name: str, record: bytes, **values: Any) -> list[Path]:
    """Write `name`.json with the bytes `record`, and `name`.md and `name`.html from the templates of these names.

    The folder is made if it is missing; each file is written atomically; their paths are returned.

    Raises:
        MachineError: the folder cannot be written.
    """
    templates = [_environment().get_template(f"{name}{ending}") for ending in (".md", ".html")]
    contents = {f"{name}.json": record} | {str(one.name): one.render(values).encode() for one in templates}
    for file_name, content in contents.items():
        write_whole(folder / file_name, content)
    return [folder / file_name for file_name in contents]


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # commands that write no report start without it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = (number, score, bounds, estimate, change, change_bounds, num_photos)
    environment.filters |= {function.__name__: function for function in filters}
    environment.filters |= {
        "thousands": "{:,}".format,
        "single_line": lambda text: " ".join(text.split()),
        "cell": lambda text: text.replace("|", "&#124;"),  # in a Markdown table a bar would end the cell
        "base64": lambda content: base64.b64encode(content).decode("ascii"),
    }
    environment.globals |= {"LARGE_SHARE": LARGE_SHARE, "MIN_PHOTOS": MIN_PHOTOS, "TORN_SHARE": TORN_SHARE}
    return environment


def number(value: float) -> str:
    """Return a score with three decimals.

    >>> number(0.51249)
    '0.512'
    """
    return f"{value:.3f}"


def score(one: Estimate) -> str:
    """Return a score without its interval, or "absent"."""
    return ABSENT if one.is_absent else number(one.value)


def bounds(one: Estimate) -> str:
    """Return the interval of a score, or an empty string if it has none.

    >>> bounds(Estimate(0.5, 0.45, 0.551)), bounds(Estimate(0.5))
    ('0.450–0.551', '')
    """
    return f"{number(one.low)}–{number(one.high)}" if one.has_interval else ""


def estimate(one: Estimate) -> str:
    """Return a score with its interval.

    >>> estimate(Estimate(0.5, 0.45, 0.551))
    '0.500 (0.450–0.551)'
    """
    return f"{score(one)} ({bounds(one)})" if one.has_interval else score(one)


def change(one: Estimate) -> str:
    """Return a difference with its sign.

    >>> change(Estimate(0.0312))
    '+0.031'
    """
    return ABSENT if one.is_absent else _signed(one.value)


def change_bounds(one: Estimate) -> str:
    """Return the interval of a difference, or an empty string if it has none.

    >>> change_bounds(Estimate(0.0312, -0.0104, 0.07))
    '−0.010 to +0.070'
    """
    return f"{_signed(one.low)} to {_signed(one.high)}" if one.has_interval else ""


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def num_photos(count: int) -> str:
    """Return a number of photos as text.

    >>> num_photos(1), num_photos(1158)
    ('1 photo', '1,158 photos')
    """
    return f"{count:,} photo{'s' * (count != 1)}"
