"""The parameters of a request, checked: form of the response, class, and style of cut-outs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from clothseg.errors import SettingError, one_line
from clothseg.labels import CLOTHES, ClassList
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import MEDIA_TYPES, Include, Output, SegmentRequest

_OUTPUT_BY_MEDIA_TYPE = {one: output for output, one in MEDIA_TYPES.items() if output not in ("cutout", "try-on")}
"""What the Accept header may ask for: one output of each media type."""


def choose_output(parameter: Output | None, accept: str) -> Output:
    """Return the form of the response.

    Args:
        parameter: value of the parameter `output`; it overrides the header.
        accept: the Accept header; empty means anything.

    Raises:
        Problem: the header allows none of the forms.

    >>> choose_output(None, "image/png;q=0.5, image/jpeg"), choose_output(None, "*/*"), choose_output("cutout", "")
    ('overlay', 'json', 'cutout')
    """
    if parameter is not None:
        return parameter
    given = dict(map(_media_range, filter(str.strip, accept.split(","))))
    qualities = {media_type: _quality(media_type, given) for media_type in _OUTPUT_BY_MEDIA_TYPE}
    best = max(qualities, key=lambda media_type: qualities[media_type])
    if qualities[best] <= 0:
        raise Problem(
            "not-acceptable",
            f"The Accept header is {accept[:100]!r}. Allowed: {', '.join(qualities)}, or the parameter output",
        )
    return _OUTPUT_BY_MEDIA_TYPE[best]


def _media_range(part: str) -> tuple[str, float]:
    media_type, *parameters = (one.strip().lower() for one in part.split(";"))
    quality = next((one.partition("=")[2] for one in parameters if one.startswith("q=")), "1")
    try:
        value = float(quality)
    except ValueError:
        return media_type, 0.0
    return media_type, value if 0 <= value <= 1 else 0.0


def _quality(media_type: str, given: Mapping[str, float]) -> float:
    """Return the quality value of a media type, 0 to 1; the most specific range counts.

    Source: RFC 9110, section 12.5.1.
    """
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if wanted in given:
            return given[wanted]
    return 0.0 if given else 1.0


def choose_class(label: str | None, classes: ClassList) -> str:
    """Return the name of the class to cut out; empty for all clothes together.

    Args:
        label: a name of it, see `ClassList.id_of`, or its id; none or "clothes" means all.
        classes: the model's.

    Raises:
        Problem: no class of the model covers it.
    """
    if not label or (label == CLOTHES and CLOTHES not in classes.names):
        return ""
    if label.isdecimal() and label.isascii() and len(label) < 4 and int(label) < len(classes):
        return classes.names[int(label)]
    try:
        return classes.names[classes.id_of(label)]
    except SettingError as error:
        raise Problem("wrong-parameter", f"label: {one_line(error)}") from error


_OUTPUTS_BY_PARAMETER = {"include": ("json",), "label": ("cutout",), "region": ("try-on",)}
"""The outputs that a parameter goes with; all others go with cut-outs."""


class Options(BaseModel):
    """The query parameters that the operations on photos share; a worker checks the texts among them."""

    model_config = ConfigDict(extra="forbid")

    output: Output | None = Field(None, description="Form of the answer; without it, the Accept header says.")
    label: str | None = Field(
        None,
        description="For a cut-out: the class, by id or by any name of it, such as dress or trousers; without it, all "
        "clothes together.",
    )
    tight: bool = Field(False, description="For cut-outs: crop to the garment.")
    edges: Literal["soft", "hard"] = Field(
        "soft", description="Edges of cut-outs: estimated coverage, or whole pixels."
    )
    background: str = Field(
        "transparent", description="Behind cut-outs: transparent, blur, or a colour: white, #ffffff."
    )
    canvas: str = Field("", description="Scale cut-outs to fit and centre them, as in 2000x2000.")
    margin: str = Field("5%", description="Space around the garment on a canvas, in per cent.")
    format: Literal["png", "webp", "jpeg"] = Field("png", description="File format of cut-outs.")
    region: Literal["upper", "lower", "full"] = Field("upper", description="For try-on: which garment is replaced.")
    include: list[Include] = Field([], description="For JSON: put the mask or the outlines into it, too; repeatable.")

    def request(self, output: Output, classes: ClassList, limits: Limits) -> SegmentRequest:
        """Return what a worker is to make of a photo; `output` is what `choose_output` returned.

        Raises:
            Problem: a value is not allowed, or two do not go together.
        """
        for name in sorted(self.model_fields_set - {"output"}):
            fitting = _OUTPUTS_BY_PARAMETER.get(name, ("cutout", "cutouts"))
            value, default = getattr(self, name), type(self).model_fields[name].default
            if value and value != default and output not in fitting:
                allowed = " and ".join(f"output={one}" for one in fitting)
                raise Problem("wrong-parameter", f"{name} goes with {allowed} only, not with output={output}")
        style = self.model_dump(include={"edges", "background", "canvas", "margin"})
        return SegmentRequest(
            output=output,
            label=choose_class(self.label, classes) if output == "cutout" else "",
            tight=self.tight,
            style={**style, "cutout_format": self.format},
            region=self.region,
            include=self.include,
            max_pixels=limits.max_pixels,
        )
