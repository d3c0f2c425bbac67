"""A few photos with random outlines in the layout of the official download, for tests of preparing."""

import json
import zipfile
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

from clothseg.data.prepare import prepare
from clothseg.data.sources import Mirror
from clothseg.encoding import encode_jpeg
from clothseg.labels import FASHIONPEDIA_CATEGORIES, GROUPS

CATEGORIES = [
    {"id": number, "name": name, "supercategory": group}
    for number, (name, group) in enumerate(
        (name, group) for group, names in FASHIONPEDIA_CATEGORIES.items() for name in names
    )
]


def draw_photo(number, height, width):
    """Return a JPEG that no other number gives."""
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return encode_jpeg(pixels, 80)


def random_segmentation(rng, height, width):
    """Return polygons, an uncompressed or a compressed run-length code."""
    kind = rng.integers(0, 3)
    if kind == 0:
        center = rng.uniform(0, [width, height])
        spread = rng.uniform(0, 2 + max(height, width), (int(rng.integers(1, 3)), int(rng.integers(3, 9)), 2))
        return [np.round(center + part - part.mean(axis=0), 2).ravel().tolist() for part in spread]
    mask = np.asfortranarray(rng.random((height, width)) < rng.uniform(0, 1), dtype=np.uint8)
    if kind == 1:
        edges = np.flatnonzero(np.diff(mask.ravel("F"), prepend=0, append=0))
        ends = np.append(edges, mask.size) if edges.size == 0 or edges[-1] < mask.size else edges
        return {"counts": np.diff(ends, prepend=0).tolist(), "size": [height, width]}
    return {"counts": coco_mask.encode(mask)["counts"].decode(), "size": [height, width]}


def area_of(segmentation, height, width):
    """Return the pixels a segmentation covers, as pycocotools counts them."""
    if isinstance(segmentation, list):
        codes = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        codes = coco_mask.frPyObjects(segmentation, height, width)
    else:
        codes = segmentation
    return int(coco_mask.area(codes))


def write_mirror(folder: Path, *, num_train=5, num_val=3, num_test=1, seed=0):
    """Write a mirror and return the content of its two annotation files by split."""
    rng = np.random.default_rng(seed)
    contents = {}
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    archives = {
        "train": ("train2020.zip", "train", num_train, 0),
        "val": ("val_test2020.zip", "test", num_val, num_test),
    }
    for split, (archive, inside, labelled, unlabelled) in archives.items():
        images, annotations = [], []
        with zipfile.ZipFile(folder / "images" / archive, "w") as stream:
            for number in range(labelled + unlabelled):
                height, width = (int(side) for side in rng.integers(20, 60, 2))
                name = f"{split}{number:03}.jpg"
                stream.writestr(
                    zipfile.ZipInfo(f"{inside}/{name}"),
                    draw_photo(1000 * seed + len(contents) * 500 + number, height, width),
                )
                if number >= labelled:
                    continue
                images.append({"id": 10 * number + 3, "width": width, "height": height, "file_name": name})
                for _ in range(int(rng.integers(1, 5))):
                    segmentation = random_segmentation(rng, height, width)
                    annotations.append(
                        {
                            "id": 7 * len(annotations) + 1,
                            "image_id": 10 * number + 3,
                            "category_id": int(rng.integers(0, len(CATEGORIES))),
                            "segmentation": segmentation,
                            "area": area_of(segmentation, height, width),
                            "iscrowd": 0,
                        }
                    )
        contents[split] = {
            "info": {"description": f"Noise, {split}"},
            "licenses": [{"id": 1, "name": "CC0"}],
            "images": images,
            "annotations": annotations,
            "categories": CATEGORIES,
        }
        write_annotations(folder, split, contents[split])
    return contents


def annotation_path(folder: Path, split: str) -> Path:
    """Return where a mirror has the annotation file of a split."""
    return folder / "annotations" / f"instances_attributes_{split}2020.json"


def write_annotations(folder: Path, split: str, content):
    """Write the annotation file of a split; NaN is written as Python's json writes it."""
    annotation_path(folder, split).write_text(json.dumps(content))


def prepared(mirror: Path, folder: Path, classes=GROUPS, num_workers=0):
    """Prepare a mirror in `folder`."""
    return prepare(Mirror(str(mirror)), folder, classes, num_workers=num_workers)
