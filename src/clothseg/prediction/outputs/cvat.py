"""Annotations for CVAT, in its format "CVAT for images 1.1": every garment as an exact mask."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import whole_file
from clothseg.rle import decode_region
from clothseg.types import BoolArray

ANNOTATIONS_NAME, LABELS_NAME = "cvat_annotations.xml", "cvat_labels.json"

# Source: XML 1.0, fifth edition (W3C), production 2: the characters that a document may hold.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_annotations(folder: Path, classes: ClassList, results: Iterable[Mapping[str, Any]]) -> tuple[Path, ...]:
    """Write the garments of all photos as masks, and the labels to make the task with.

    CVAT finds a photo by its name, so the task's photos keep the paths they have here.

    Source: docs.cvat.ai/docs/dataset_management/formats/xml_format, "Annotation" and "Run-length encoding".

    Args:
        folder: where to write.
        classes: names and colours of the ids.
        results: what `Segmentation.to_coco` returned for each photo.

    Returns:
        The two files.
    """
    annotations_path, labels_path = folder / ANNOTATIONS_NAME, folder / LABELS_NAME
    labels = [
        {"name": one.name, "color": "#{:02x}{:02x}{:02x}".format(*one.color), "type": "mask", "attributes": []}
        for class_id, one in enumerate(classes.classes)
        if class_id != BACKGROUND_ID
    ]
    with whole_file(annotations_path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n')
        stream.write("  <meta>\n    <task>\n      <mode>annotation</mode>\n      <labels>\n")
        stream.writelines(f"        <label>{_label(one['name'], one['color'])}</label>\n" for one in labels)
        stream.write("      </labels>\n    </task>\n  </meta>\n")
        for number, result in enumerate(results):
            size = f'width="{result["width"]}" height="{result["height"]}"'
            stream.write(f'  <image id="{number}" name={_attribute(result["file"])} {size}>\n')
            stream.writelines(f"    {_mask(segment)}\n" for segment in result["segments"])
            stream.write("  </image>\n")
        stream.write("</annotations>\n")
    with whole_file(labels_path) as temporary:
        temporary.write_text(f"{json.dumps(labels, indent=2)}\n", encoding="ascii")
    return annotations_path, labels_path


def _label(name: Any, color: Any) -> str:
    return (
        f"<name>{escape(_NO_XML.sub('?', name))}</name><color>{color}</color><type>mask</type><attributes></attributes>"
    )


def _mask(segment: Mapping[str, Any]) -> str:
    x, y, width, height = segment["bbox"]
    inside = decode_region(segment["rle"])[y : y + height, x : x + width]
    runs = ", ".join(map(str, runs_by_row(inside)))
    place = f'left="{x}" top="{y}" width="{width}" height="{height}"'
    label = _attribute(segment["label"])
    return f'<mask label={label} source="auto" occluded="0" rle="{runs}" {place} z_order="0"></mask>'


def runs_by_row(inside: BoolArray) -> list[int]:
    """Return the lengths of the runs of a mask read row by row, outside first; 0 where it begins inside."""
    values = inside.ravel()
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    lengths: list[int] = np.diff(np.concatenate(([0], changes, [values.size]))).tolist()
    return [0, *lengths] if values[0] else lengths


def _attribute(text: str) -> str:
    """Return text as an attribute in quotes; a character that XML cannot hold becomes a question mark."""
    return quoteattr(_NO_XML.sub("?", text))
