"""Requests and responses of the API, as its OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clothseg.serving.errors import KINDS
from clothseg.serving.errors import MEDIA_TYPE as PROBLEM_TYPE
from clothseg.serving.messages import MEDIA_TYPES
from clothseg.serving.uploads import FIELDS, MAX_BATCH

_BINARY = {"schema": {"type": "string", "format": "binary"}}
Responses = dict[int | str, dict[str, Any]]
"""Responses of an operation by status code, in FastAPI's form."""


class RunLengths(BaseModel):
    """COCO's compressed run-length code."""

    size: tuple[int, int] = Field(description="Height and width of the photo.")
    counts: str = Field(description="For pycocotools.mask.decode.")


class Segment(BaseModel):
    """One class that the photo shows."""

    class_id: int
    label: str
    rle: RunLengths
    area: int = Field(description="Pixels.")
    bbox: tuple[int, int, int, int] = Field(description="x, y, width, height.")
    score: float = Field(description="Mean probability on its pixels, 0 to 1.")
    polygons: list[list[int]] | None = Field(
        default=None, description="With include=polygons: x and y of corners, a list for each connected piece."
    )


class UsedModel(BaseModel):
    """The model that made a result."""

    model_config = ConfigDict(extra="allow")

    name: str
    version: str
    sha256: str


class Results(BaseModel):
    """Version 1 of the results, as `infer.py --json` writes them."""

    version: int
    file: str = Field(description="Name of the photo; empty where it came without one.")
    width: int
    height: int
    model: UsedModel
    segments: list[Segment]
    notes: list[str] | None = Field(default=None, description="What is unusual about photo or result, in words.")
    mask: str | None = Field(default=None, description="With include=mask: the mask as a data address of an index PNG.")


class ClassEntry(BaseModel):
    """One class of the model."""

    id: int
    name: str
    display_name: str = Field(description="Its name for people.")
    aliases: list[str] = Field(description="Names that the parameter label also accepts, in lower case.")
    color: tuple[int, int, int] = Field(description="RGB, 0 to 255.")
    is_body_part: bool = Field(description="Whether it is hair, skin or the like, which is not worn.")


class ModelCard(BaseModel):
    """What the model says of itself."""

    name: str
    sha256: str
    version: str = Field(description="clothseg's version when the model was trained.")
    runtime: str = Field(description="What runs it, and where.")
    architecture: str
    encoder_name: str
    decoder_width: float
    image_size: int = Field(description="Longer side of the network's input in pixels.")
    licence: str
    source: str = Field(description="Where an imported model comes from; empty for one trained by clothseg.")
    training_data: dict[str, Any]
    scores: dict[str, Any]
    color_names: dict[str, tuple[int, int, int]] = Field(
        description="Names of colours in tables, each with an example in RGB: the nearest one names a colour."
    )
    classes: list[ClassEntry]
    known_classes: list[str] | None = Field(
        description="Names of the classes that its training data showed, where the model knows; others it never finds."
    )


class State(BaseModel):
    """How the server is."""

    status: str
    workers: int | None = Field(default=None, description="Workers that are ready.")


class ProblemDetails(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str
    title: str
    status: int
    detail: str


def _form(photo: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": [FIELDS[0]], "properties": {FIELDS[0]: photo}}
    return {"multipart/form-data": {"schema": schema}}


PHOTO_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The photo itself, or a form with it. JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PPM.",
        "content": {"image/*": _BINARY, "application/octet-stream": _BINARY, **_form(_BINARY["schema"])},
    }
}

BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A form with the photos, each a field of the same name.",
        "content": _form({"type": "array", "items": _BINARY["schema"], "minItems": 1, "maxItems": MAX_BATCH}),
    }
}

BATCH_RESPONSE: dict[str, Any] = {
    "description": "A line of JSON for each photo, in order, as they get ready; or a ZIP of files.",
    "content": {"application/x-ndjson": _BINARY, "application/zip": _BINARY},
}

SEGMENT_RESPONSE: dict[str, Any] = {
    "model": Results,
    "description": "By `output` or Accept: results, index PNG of class ids, overlay, cut-out, or a ZIP of cut-outs.",
    "content": {one: {} if one == "application/json" else _BINARY for one in (*MEDIA_TYPES.values(), "image/webp")},
    "headers": {
        "X-Clothseg-Model": {
            "description": "First 12 digits of the model's SHA-256.",
            "schema": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
        },
        "X-Clothseg-Class": {
            "description": "Of a cut-out: the class that the label meant, percent-encoded.",
            "schema": {"type": "string"},
        },
        "Server-Timing": {"description": "Milliseconds of each stage.", "schema": {"type": "string"}},
        "Vary": {"schema": {"type": "string"}},
    },
}

_RETRY = {
    "Retry-After": {
        "description": "Seconds to wait before asking again.",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}


def content(media_type: str) -> Responses:
    """Return the description of a response of one media type that is not JSON, for an operation's OpenAPI."""
    return {200: {"content": {media_type: _BINARY}}}


def problems(*codes: int) -> Responses:
    """Return the description of an operation's errors, for its OpenAPI."""
    titles = [one for kind, one in KINDS.items() if kind != "not-found"]  # which is of addresses without an operation
    return {
        code: {
            "description": ". ".join(title for status, title in titles if status == code),
            "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
            **({"headers": _RETRY} if code == 503 else {}),
        }
        for code in codes
    }
