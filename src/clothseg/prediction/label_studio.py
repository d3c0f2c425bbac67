"""Pre-annotations for Label Studio: tasks with the garments as brush strokes, and the labelling interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np

from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import whole_file
from clothseg.rle import decode_region
from clothseg.types import BoolArray, Int64Array

TASKS_NAME, INTERFACE_NAME = "label_studio_tasks.json", "label_studio_interface.xml"

LOCAL_FILES = "/data/local-files/?d="
"""Start of Label Studio's address of a photo in its folder of local files."""

# Bits of a run's length, of which each run uses the fewest that suffice. Source: rle-pack of thi.ng/umbrella, whose
# packing Label Studio uses; these four are what its own converter writes.
_LENGTH_BITS = (3, 4, 8, 16)
_VALUE_BITS = 8


def write_tasks(
    folder: Path, classes: ClassList, results: Iterable[Mapping[str, Any]], *, address: str = LOCAL_FILES
) -> tuple[Path, ...]:
    """Write one task per photo with its garments as predictions, and the interface that has their names and colours.

    `results` is what `Segmentation.to_coco` returned for each photo, `address` the prefix of a photo's path in the
    tasks; the path is percent-encoded.

    Source: labelstud.io/guide/predictions and labelstud.io/tags/brushlabels.
    """
    tasks_path, interface_path = folder / TASKS_NAME, folder / INTERFACE_NAME
    with whole_file(tasks_path) as temporary, temporary.open("w", encoding="ascii") as stream:
        stream.write("[")
        separator = "\n"
        for result in results:
            stream.write(f"{separator}{json.dumps(_task(result, address))}")
            separator = ",\n"
        stream.write("\n]\n")
    with whole_file(interface_path) as temporary:
        temporary.write_text(_interface(classes), encoding="utf-8")
    return tasks_path, interface_path


def _task(result: Mapping[str, Any], address: str) -> dict[str, Any]:
    scores = [segment["score"] for segment in result["segments"]]
    model = result["model"]
    return {
        "data": {"image": address + quote(result["file"], errors="surrogateescape")},
        "predictions": [
            {
                "model_version": f"{model.get('name', 'clothseg')} {model.get('sha256', '')[:12]}".strip(),
                "score": round(sum(scores) / len(scores), 4) if scores else 0.0,
                "result": [_stroke(result, segment) for segment in result["segments"]],
            }
        ],
    }


def _stroke(result: Mapping[str, Any], segment: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"clothseg-{segment['class_id']}",
        "type": "brushlabels",
        "from_name": "clothes",
        "to_name": "image",
        "original_width": result["width"],
        "original_height": result["height"],
        "image_rotation": 0,
        "score": segment["score"],
        "value": {"format": "rle", "rle": pack(decode_region(segment["rle"])), "brushlabels": [segment["label"]]},
    }


def _interface(classes: ClassList) -> str:
    labels = "".join(
        f"    <Label value={quoteattr(one.name)} background={quoteattr('#{:02x}{:02x}{:02x}'.format(*one.color))}/>\n"
        for class_id, one in enumerate(classes.classes)
        if class_id != BACKGROUND_ID
    )
    return (
        '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="clothes" toName="image">\n{labels}  </BrushLabels>\n</View>\n'
    )


def pack(inside: BoolArray) -> list[int]:
    """Return a mask, (H, W) bool, as Label Studio stores brush strokes: an RGBA picture, packed as runs of bits.

    Inside, all four channels are 255. A head of 32 bits for the number of values, 5 for the bits of a value less one,
    and four times 4 for the bits of a length less one; then for each run a 1, which of the lengths, the length less
    one, and the value.
    """
    values = inside.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    starts = np.concatenate(([0], changes))
    lengths = 4 * np.diff(np.append(starts, values.size))
    longest = 1 << _LENGTH_BITS[-1]
    pieces = -(-lengths // longest)
    is_last = np.zeros(int(pieces.sum()), dtype=bool)
    is_last[np.cumsum(pieces) - 1] = True
    split = np.where(is_last, np.repeat(lengths - (pieces - 1) * longest, pieces), longest)
    kinds = np.searchsorted([1 << bits for bits in _LENGTH_BITS], split)
    bits = np.array(_LENGTH_BITS)[kinds]
    painted = np.where(np.repeat(values[starts], pieces), 255, 0)
    tokens = (((4 | kinds) << bits | (split - 1)) << _VALUE_BITS) | painted
    return _bytes(
        np.concatenate(([4 * values.size, _VALUE_BITS - 1], np.array(_LENGTH_BITS) - 1, tokens)),
        np.concatenate(([32, 5], np.full(len(_LENGTH_BITS), 4), 3 + bits + _VALUE_BITS)),
    )


def _bytes(values: Int64Array, widths: Int64Array) -> list[int]:
    """Return numbers written one after the other with `widths` bits each, at most 32, highest first, as bytes."""
    bits = np.unpackbits(values.astype(">u4").view(np.uint8)).reshape(-1, 32)
    used = np.arange(32) >= 32 - widths[:, None]
    packed: list[int] = np.packbits(bits[used]).tolist()
    return packed
