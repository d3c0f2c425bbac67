"""Which form of an answer is asked for: by parameter, else by the Accept header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clothseg.errors import nearest
from clothseg.serving.errors import Problem
from clothseg.serving.wish import Output

_OUTPUT_OF: Mapping[str, Output] = {"application/json": "json", "image/png": "mask", "image/jpeg": "overlay"}


def choose_output(parameter: Output | None, accept: str) -> Output:
    """Return the form of the answer.

    Args:
        parameter: what the parameter `output` says; it wins.
        accept: the Accept header; empty means anything.

    Raises:
        Problem: the header allows none of the forms.

    >>> choose_output(None, "image/png;q=0.5, image/jpeg"), choose_output(None, "*/*"), choose_output("cutout", "")
    ('overlay', 'json', 'cutout')
    """
    if parameter is not None:
        return parameter
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    best, output = max(
        ((_quality(media_type, ranges), output) for media_type, output in _OUTPUT_OF.items()), key=lambda pair: pair[0]
    )
    if best <= 0:
        raise Problem(
            "not-acceptable",
            f"The Accept header is {accept[:100]!r}. Allowed: {', '.join(_OUTPUT_OF)}, or the parameter output",
        )
    return output


def _media_range(part: str) -> tuple[str, float]:
    media_type, *parameters = (one.strip().lower() for one in part.split(";"))
    quality = next((one.partition("=")[2] for one in parameters if one.startswith("q=")), "1")
    try:
        value = float(quality)
    except ValueError:
        return media_type, 0.0
    return media_type, value if 0 <= value <= 1 else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return how much a media type is wanted, 0 to 1; the most exact range counts.

    Source: RFC 9110, section 12.5.1.
    """
    if not ranges:
        return 1.0
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        for name, quality in ranges:
            if name == wanted:
                return quality
    return 0.0


def choose_class(label: str | None, classes: Sequence[Mapping[str, Any]]) -> str:
    """Return the name of the class to cut out.

    Args:
        label: its name or its id.
        classes: the model's, in the order of their ids.

    Raises:
        Problem: none is given, or the model has no such class.
    """
    names = [str(one["name"]) for one in classes]
    if not label:
        raise Problem("wrong-parameter", f"A cut-out needs the parameter label. Allowed: {', '.join(names[1:])}")
    if label in names:
        return label
    if label.isdecimal() and label.isascii() and len(label) < 4 and int(label) < len(names):
        return names[int(label)]
    raise Problem("wrong-parameter", f"The model has no class {label[:100]!r}. Nearest: {nearest(label, names)}")
