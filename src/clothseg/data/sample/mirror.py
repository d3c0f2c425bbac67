"""A small dataset of our own in Fashionpedia's download layout, for trying everything in minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from clothseg.data.sample.figure import CATEGORIES, Canvas, Figure
from clothseg.encoding import encode_jpeg
from clothseg.garment_names import FASHIONPEDIA_CATEGORIES
from clothseg.pictures import whole_file
from clothseg.progress import Advance
from clothseg.types import UInt8Array

LICENCE = "Apache-2.0"
SPLITS = ("train", "val", "test")
_STEP = 17  # no common factor with 46: every category is featured once in any 46 photos in a row
_FRAMINGS = ((0.78, 0.93, 0.48, 0.54), (0.42, 0.62, 0.48, 0.68), (1.2, 1.8, 0.68, 0.95), (1.3, 1.9, 0.25, 0.7))
"""Bounds of a person's height and of the hips' row, as shares of the photo's height: whole, small, close, a part."""


def draw_sample(folder: Path, counts: Sequence[int], *, seed: int, progress: Advance) -> None:
    """Write a drawn dataset into `folder`, laid out like Fashionpedia's download.

    It gets `images/train2020.zip`, `images/val_test2020.zip` and three files in `annotations/`. The same arguments give
    the same bytes; a photo depends on the seed, its split and its number only.

    Args:
        folder: where the files go.
        counts: photos of each of `SPLITS`; those of val lie among those of test, as in Fashionpedia, and only those of
            test have no annotations.
        seed: start of every random choice.
        progress: called with the photos done and the photos in all.

    Raises:
        MachineError: the files cannot be written.
    """
    done = 0
    for archive, inside, splits in (("train2020", "train", ["train"]), ("val_test2020", "test", ["val", "test"])):
        with whole_file(folder / "images" / f"{archive}.zip") as path, zipfile.ZipFile(path, "w") as members:
            for split in splits:
                content = _empty(split, seed)
                for index in range(counts[SPLITS.index(split)]):
                    photo = draw_photo(seed, split, index)
                    name = hashlib.sha256(f"clothseg {seed} {split} {index}".encode()).hexdigest()[:32]
                    _add(content, photo, name)
                    # No date of today, so that the archives repeat byte for byte.
                    members.writestr(zipfile.ZipInfo(f"{inside}/{name}.jpg"), encode_jpeg(photo.pixels, 90))
                    done += 1
                    progress(done, sum(counts))
                name = f"instances_attributes_{split}2020.json"
                if split == "test":
                    name = "info_test2020.json"
                    del content["annotations"], content["attributes"]
                with whole_file(folder / "annotations" / name) as temporary:
                    temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _add(content: dict[str, Any], photo: DrawnPhoto, name: str) -> None:
    """Append a photo and its instances to an annotation file."""
    # Ids leave gaps, as the official ones do: no code may take an id for a position.
    image = {"id": 23 + 3 * len(content["images"]), "width": photo.canvas.width, "height": photo.canvas.height}
    extra = {"license": 1, "time_captured": "", "original_url": "", "isstatic": 0, "kaggle_id": name}
    content["images"].append(image | {"file_name": f"{name}.jpg"} | extra)
    for row in photo.instances:
        content["annotations"].append({"id": 7 + 2 * len(content["annotations"]), "image_id": image["id"]} | row)


def _empty(split: str, seed: int) -> dict[str, Any]:
    """Return an annotation file with all categories, and without photos."""
    described = f"Drawn by clothseg with seed {seed} ({LICENCE}), in Fashionpedia's format, {split}"
    info = {"year": 2020, "version": "1.0", "description": described, "contributor": "", "url": "", "date_created": ""}
    categories = [
        {"id": CATEGORIES.index(name), "name": name, "supercategory": group, "level": 2, "taxonomy_id": f"drawn {name}"}
        for group, names in FASHIONPEDIA_CATEGORIES.items()
        for name in names
    ]
    content = {"info": info, "licenses": [{"id": 1, "name": LICENCE, "url": ""}], "images": [], "annotations": []}
    return content | {"categories": categories, "attributes": []}


class DrawnPhoto(NamedTuple):
    """A finished photo and the truth about it."""

    pixels: UInt8Array
    """(H, W, 3) uint8 RGB."""
    instances: list[dict[str, Any]]
    """Rows of COCO without ids, as `Canvas.annotate` returns them."""
    canvas: Canvas


def draw_photo(seed: int, split: str, index: int) -> DrawnPhoto:
    """Return photo `index` of a split: train, val or test."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    long = int(rng.integers(360, 721))
    ratio = float(rng.choice([2 / 3, 3 / 4, 4 / 5, 9 / 16, 1, 4 / 3, 3 / 2], p=[0.3, 0.25, 0.1, 0.12, 0.08, 0.1, 0.05]))
    canvas = Canvas(round(long / max(ratio, 1)), round(long * min(ratio, 1)))
    people = 2 if rng.random() < (0.5 if ratio > 1 else 0.12) else 1
    featured = CATEGORIES[((index + seed) * _STEP + SPLITS.index(split) * 5) % len(CATEGORIES)]
    return _take(canvas, people, rng.choice(len(_FRAMINGS), p=[0.6, 0.1, 0.2, 0.1]), featured, rng)


def sample_picture(seed: int = 0) -> UInt8Array:
    """Return one drawn photo of a whole person, (720, 480, 3) uint8 RGB."""
    rng = np.random.default_rng([seed, len(SPLITS)])
    return _take(Canvas(720, 480), 1, 0, str(rng.choice(CATEGORIES)), rng).pixels


def _take(canvas: Canvas, people: int, framing: int, featured: str, rng: np.random.Generator) -> DrawnPhoto:
    """Return the photo of people in one of `_FRAMINGS`, of whom the last wears the `featured` category."""
    share, row = rng.uniform(*np.reshape(_FRAMINGS[framing], (2, 2)).T).tolist()
    tall = share * canvas.height
    for number in range(people):
        column = (number + 0.7) / (people + 0.4) + rng.normal(0, 0.05 / people)
        figure = Figure(canvas, np.array((canvas.width * column, canvas.height * row)), tall, rng)
        figure.dress(featured if number == people - 1 else str(rng.choice(CATEGORIES)))
    height, width = canvas.top.shape
    lines = np.add.outer(np.arange(height), (rng.random() * np.arange(width)).astype(int))
    stripes = (np.arange(height + width) // max(1, round(0.04 * tall)) % 2 * 128).astype(np.uint8)[lines]
    patches = rng.uniform(60, 200, (1, *rng.integers(2, 8, 2))) + rng.normal(0, 12, (3, 1, 1))
    background = cv2.resize(patches.T.clip(0, 255).astype(np.uint8), (width, height))
    photo = canvas.render(np.asarray(background, np.uint8), stripes)
    light = (rng.uniform(0.85, 1.15) * rng.normal(1, 0.03, 3)).astype(np.float32)
    noise = rng.integers(-8, 9, (*photo.shape[:2], 1), dtype=np.int8) * np.float32(rng.random())
    return DrawnPhoto(np.clip(photo * light + noise, 0, 255).astype(np.uint8), canvas.annotate(), canvas)
