"""Messages between the server and a worker: a JSON header and a body of raw bytes; nothing in them can run as code."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from clothseg.garment_names import COLOR_NAMES
from clothseg.labels import ClassList

Output = Literal["json", "mask", "overlay", "cutout", "cutouts", "try-on"]
"""Forms of a response: results, index PNG, photo with colours and legend (JPEG), one class or all clothes cut out; ZIPs
with the cut-outs of each class, and with what try-on programs ask for."""

MEDIA_TYPES: Mapping[Output, str] = {
    "json": "application/json",
    "mask": "image/png",
    "overlay": "image/jpeg",
    "cutout": "image/png",
    "cutouts": "application/zip",
    "try-on": "application/zip",
}
"""The media type of each form; a cut-out may also be `image/webp` or `image/jpeg`."""

Include = Literal["mask", "polygons"]
"""What JSON contains only if asked for: the mask as a data address, the outlines of each class."""

# A message is the lengths of header and body in bytes, both big-endian, then header and body.
_LENGTHS = struct.Struct(">II")


@dataclass(frozen=True, kw_only=True)
class SegmentRequest:
    """What is to be made of a photo."""

    output: Output = "json"
    label: str = ""
    """Name of the class to cut out; all clothes together where it is empty."""
    tight: bool = False
    """Crop cut-outs to the garment."""
    style: Mapping[str, Any] = field(default_factory=dict)
    """Edges, background, canvas and format of cut-outs: the arguments of `CutoutStyle`."""
    region: str = "upper"
    """Region of the body for try-on."""
    include: Sequence[Include] = ()
    """Put these into the JSON, too."""
    file: str = ""
    """Name of the photo in the results."""
    max_pixels: int
    """Larger photos are refused from their header."""


@dataclass(frozen=True)
class Message:
    """A request to a worker, or its reply."""

    header: Mapping[str, Any]
    """Plain values."""
    body: bytes = field(default=b"", repr=False)
    """A photo, or what was made of it."""

    @property
    def parts(self) -> tuple[bytes, bytes]:
        """What is sent: lengths and header, then the body."""
        header = json.dumps(self.header).encode()
        return _LENGTHS.pack(len(header), len(self.body)) + header, self.body


def write(stream: BinaryIO, message: Message) -> None:
    """Write a message and flush the stream."""
    stream.writelines(message.parts)
    stream.flush()


def read(stream: BinaryIO) -> Message | None:
    """Read a message; None where the other process has closed the pipe."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    header_length, body_length = _LENGTHS.unpack(lengths)
    header, body = stream.read(header_length), stream.read(body_length)
    if len(header) < header_length or len(body) < body_length:
        return None
    return Message(json.loads(header), body)


async def receive(stream: asyncio.StreamReader) -> Message:
    """Read a message without blocking the event loop.

    Raises:
        asyncio.IncompleteReadError: the other process has closed the pipe.
    """
    header_length, body_length = _LENGTHS.unpack(await stream.readexactly(_LENGTHS.size))
    header = json.loads(await stream.readexactly(header_length))
    return Message(header, await stream.readexactly(body_length))


def model_card(model_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's description of a model, from a worker's."""
    same = ("name", "sha256", "version", "runtime", "architecture", "encoder_name", "decoder_width", "image_size")
    classes = ClassList.from_dicts(model_info["classes"])
    aliases: dict[int, list[str]] = {}
    for alias, class_id in classes.aliases.items():
        aliases.setdefault(class_id, []).append(alias)
    return {
        **{key: model_info[key] for key in (*same, "licence", "training_data", "scores")},
        "source": model_info.get("source", ""),
        "color_names": COLOR_NAMES,
        "classes": [
            {
                "id": number,
                "name": one.name,
                "display_name": one.display_name,
                "aliases": aliases.get(number, []),
                "color": one.color,
                "is_body_part": one.is_body_part,
            }
            for number, one in enumerate(classes.classes)
        ],
        "known_classes": model_info["training_data"].get("known_classes"),
    }
