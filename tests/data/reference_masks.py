"""Masks the straightforward way, with pycocotools alone: what the fast painter must equal, pixel for pixel."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from clothseg.data.manifest import Manifest, pairs
from clothseg.labels import GROUPS, ClassList
from clothseg.pictures import read_mask
from tests.data.small_mirror import annotation_path

UInt8Array = npt.NDArray[np.uint8]


def annotation_to_mask(segmentation: Any, height: int, width: int) -> UInt8Array:
    """Return (height, width) 0 or 1, as `COCO.annToMask` of pycocotools does."""
    if isinstance(segmentation, list):
        run_lengths = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        run_lengths = coco_mask.frPyObjects(segmentation, height, width)
    else:
        run_lengths = segmentation
    with warnings.catch_warnings():
        # pycocotools 2.0.11 hands NumPy 2 an array class without the copy keyword.
        warnings.filterwarnings("ignore", category=DeprecationWarning, message="__array__ implementation")
        return np.asarray(coco_mask.decode(run_lengths))


def paint_reference(annotations: Iterable[tuple[Mapping[str, Any], int]], height: int, width: int) -> UInt8Array:
    """Paint (annotation, class id) one over the other, larger area first, equal areas in the order given."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for annotation, class_id in sorted(annotations, key=lambda one: -one[0]["area"]):
        mask[annotation_to_mask(annotation["segmentation"], height, width) == 1] = class_id
    return mask


def reference_masks(annotation_file: Path, classes: ClassList) -> Iterator[tuple[str, UInt8Array]]:
    """Yield file name and mask of each photo of a COCO file."""
    content = json.loads(annotation_file.read_text(encoding="utf-8"))
    class_ids = {row["id"]: classes.id_for_category(row["name"], row["supercategory"]) for row in content["categories"]}
    by_image: dict[int, list[tuple[dict[str, Any], int]]] = {}
    for annotation in content["annotations"]:
        class_id = class_ids[annotation["category_id"]]
        if class_id is not None:
            by_image.setdefault(annotation["image_id"], []).append((annotation, class_id))
    for image in content["images"]:
        yield image["file_name"], paint_reference(by_image.get(image["id"], []), image["height"], image["width"])


def assert_equals_reference(folder: Path, mirror: Path, classes: ClassList = GROUPS) -> None:
    """Assert that a prepared mirror has the masks and the counts that its annotation files ask for."""
    manifest = Manifest.read(folder)
    for name, split in manifest.splits.items():
        found = {photo.name: read_mask(mask) for photo, mask in pairs(folder, split)}
        expected = dict(reference_masks(annotation_path(mirror, name), classes))
        assert found.keys() == expected.keys()
        assert split.count == len(expected)
        for file_name, mask in expected.items():
            assert (found[file_name] == mask).all(), file_name
        counts = [np.bincount(mask.ravel(), minlength=len(classes)) for mask in expected.values()]
        assert split.pixels_per_class == tuple(np.sum(counts, axis=0).tolist())
        assert split.photos_per_class == tuple(np.sum([count > 0 for count in counts], axis=0).tolist())
