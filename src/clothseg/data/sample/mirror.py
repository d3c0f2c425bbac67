"""A small dataset of our own in Fashionpedia's download layout, for trying everything in minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clothseg.data.sample.canvas import Canvas, box, ellipse, random_color
from clothseg.data.sample.figure import Figure
from clothseg.data.sample.outfit import CATEGORIES, choose, dress
from clothseg.encoding import encode_jpeg
from clothseg.errors import SettingError
from clothseg.garment_names import FASHIONPEDIA_CATEGORIES
from clothseg.pictures import whole_file
from clothseg.types import Float32Array, UInt8Array

LICENCE = "Apache-2.0"
_DATE = (2020, 1, 1, 0, 0, 0)  # of every archive member, so that the archives repeat byte for byte
SPLITS = ("train", "val", "test")
_STEP = 17  # no common factor with 46: every category is featured once in any 46 photos in a row
# Bounds of a person's height, and of the hips' row, both as shares of the photo's height.
_FRAMINGS = {
    "full": ((0.78, 0.93), (0.48, 0.54)),
    "small": ((0.42, 0.62), (0.48, 0.68)),
    "close": ((1.2, 1.8), (0.68, 0.95)),
    "part": ((1.3, 1.9), (0.25, 0.7)),
}


def draw_sample(
    folder: Path,
    *,
    train_photos: int = 160,
    val_photos: int = 40,
    test_photos: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a drawn dataset into `folder`, laid out like Fashionpedia's download.

    The same arguments give the same bytes; a photo depends on the seed, its split and its number only.

    Args:
        folder: gets `images/train2020.zip`, `images/val_test2020.zip` and three files in `annotations/`.
        train_photos: photos with annotations to train on.
        val_photos: photos with annotations to validate on; they lie among the test photos, as in Fashionpedia.
        test_photos: photos without annotations.
        seed: start of every random choice.
        progress: called after each photo with the photos done and the photos in all.

    Raises:
        SettingError: a count or the seed is below zero.
        MachineError: the files cannot be written.
    """
    counts = dict(zip(SPLITS, (train_photos, val_photos, test_photos), strict=True))
    for name, value in ({f"{split}_photos": count for split, count in counts.items()} | {"seed": seed}).items():
        if value < 0:
            raise SettingError(f"{name} is {value}. Allowed: a whole number from 0 up")
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    done, total = 0, sum(counts.values())
    for archive, splits in (("train2020", ("train",)), ("val_test2020", ("val", "test"))):
        members: dict[str, bytes] = {}
        for split in splits:
            tables = _Tables(split)
            for index in range(counts[split]):
                photo = draw_photo(seed, split, index)
                member = f"{'train' if split == 'train' else 'test'}/{tables.add(seed, index, photo)}"
                members[member] = encode_jpeg(photo.pixels, photo.quality)
                done += 1
                if progress:
                    progress(done, total)
            _write_json(folder / "annotations" / tables.file_name, tables.content(seed))
        _write_archive(folder / "images" / f"{archive}.zip", members)


@dataclass(frozen=True)
class DrawnPhoto:
    """A finished photo and the truth about it."""

    pixels: UInt8Array
    """(H, W, 3) uint8 RGB."""
    instances: list[dict[str, Any]]
    """Category, segmentation, area, bbox and iscrowd of each, as `Canvas.annotate` returns them."""
    canvas: Canvas
    quality: int
    """JPEG quality it is stored with."""


def draw_photo(seed: int, split: str, index: int) -> DrawnPhoto:
    """Return photo `index` of a split: train, val or test."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    long = int(rng.integers(360, 721))
    ratio = float(rng.choice([2 / 3, 3 / 4, 4 / 5, 9 / 16, 1, 4 / 3, 3 / 2], p=[0.3, 0.25, 0.1, 0.12, 0.08, 0.1, 0.05]))
    canvas = Canvas(long, round(long * ratio)) if ratio <= 1 else Canvas(round(long / ratio), long)
    people = 2 if rng.random() < (0.5 if ratio > 1 else 0.12) else 1
    framing = str(rng.choice(list(_FRAMINGS), p=[0.6, 0.1, 0.2, 0.1]))
    featured = CATEGORIES[((index + seed) * _STEP + SPLITS.index(split) * 5) % len(CATEGORIES)]
    return _take(canvas, people, framing, featured, rng)


def sample_picture(seed: int = 0) -> UInt8Array:
    """Return one drawn photo of a whole person, (720, 480, 3) uint8 RGB."""
    rng = np.random.default_rng([seed, len(SPLITS)])
    featured = str(rng.choice(["hat", "scarf", "dress", "jacket", "shirt, blouse"]))
    return _take(Canvas(720, 480), 1, "full", featured, rng).pixels


def _take(canvas: Canvas, people: int, framing: str, featured: str, rng: np.random.Generator) -> DrawnPhoto:
    """Return the photo of people of whom the last wears the `featured` category; `framing` as in `_FRAMINGS`."""
    share, row = (float(rng.uniform(*bounds)) for bounds in _FRAMINGS[framing])
    tall = share * canvas.height
    background = _backdrop(canvas, canvas.height * row + 0.4 * tall, rng)
    for number in range(people):
        is_last = number == people - 1
        column = (number + 0.7) / (people + 0.4) + rng.normal(0, 0.05 / people)
        hips = np.array((canvas.width * column, canvas.height * row))
        figure = Figure.random(canvas, hips, tall * (1.0 if is_last else 0.9), rng)
        dress(figure, choose(figure, featured if is_last else str(rng.choice(CATEGORIES))))
    pixels = _develop(canvas.render(background, tall, rng), rng)
    return DrawnPhoto(pixels, canvas.annotate(), canvas, int(rng.integers(82, 96)))


def _backdrop(canvas: Canvas, ground: float, rng: np.random.Generator) -> Float32Array:
    """Return a wall and a floor that begins at row `ground`, with a few things, sharp or not: (H, W, 3) float32 RGB."""
    height, width = canvas.height, canvas.width
    wall, floor, shift = random_color(rng) * 0.4 + 110, random_color(rng) * 0.4 + 60, rng.uniform(40, 140)
    scene = np.tile(np.linspace(wall, wall * rng.uniform(0.7, 1.1), height)[:, None], (1, width, 1)).astype(np.float32)
    scene[int(np.clip(ground, 0, height)) :] = floor
    for _ in range(rng.integers(9)):
        center, size = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0.02, 0.2, 2) * height
        shape = (ellipse if rng.random() < 0.5 else box)(center, *size)
        cv2.fillPoly(scene, [shape.astype(np.int32)], [float(part) * 0.4 + shift for part in random_color(rng)])
    blur = rng.uniform(1, 8)
    return np.asarray(cv2.GaussianBlur(scene, (0, 0), float(blur)), dtype=np.float32)


def _develop(photo: Float32Array, rng: np.random.Generator) -> UInt8Array:
    """Return the photo as a camera gives it: light from a side, exposure, contrast, tint and noise; uint8."""
    height, width = photo.shape[:2]
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)
    gain, contrast = rng.uniform(0.85, 1.15) * (1 + rng.normal(0, 0.03, 3)), rng.uniform(0.85, 1.1)
    light = 1 + rng.normal(0, 0.08) * rows + rng.normal(0, 0.1) * columns
    noise = rng.integers(-8, 9, (height, width, 1), dtype=np.int8) * np.float32(rng.uniform(0, 1))
    lit = photo * (light[..., None] * gain * contrast).astype(np.float32)
    return np.asarray(np.clip(lit + np.float32(128 * (1 - contrast)) + noise, 0, 255), dtype=np.uint8)


class _Tables:
    """The rows of one annotation file, with Fashionpedia's keys."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.file_name = "info_test2020.json" if split == "test" else f"instances_attributes_{split}2020.json"
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def add(self, seed: int, index: int, photo: DrawnPhoto) -> str:
        """Add a photo and return its file name."""
        stem = hashlib.sha256(f"clothseg {seed} {self.split} {index}".encode()).hexdigest()[:32]
        height, width = photo.pixels.shape[:2]
        # Ids leave gaps, as the official ones do: no code may take an id for a position.
        image: dict[str, Any] = {"id": 23 + 3 * index, "width": width, "height": height}
        image |= {"file_name": f"{stem}.jpg", "license": 1, "time_captured": "", "original_url": "", "isstatic": 0}
        self.images.append(image | {"kaggle_id": stem})
        for instance in photo.instances:
            self.annotations.append(
                {
                    "id": 7 + 2 * len(self.annotations),
                    "image_id": image["id"],
                    "category_id": CATEGORIES.index(instance["category"]),
                    "attribute_ids": [],
                    **{key: instance[key] for key in ("segmentation", "area", "bbox", "iscrowd")},
                }
            )
        return f"{stem}.jpg"

    def content(self, seed: int) -> dict[str, Any]:
        """Return the whole file."""
        described = f"Drawn by clothseg with seed {seed} ({LICENCE}), in Fashionpedia's format, {self.split}"
        info = {"year": 2020, "version": "1.0", "description": described}
        content: dict[str, Any] = {
            "info": info | {"contributor": "", "url": "", "date_created": ""},
            "licenses": [{"id": 1, "name": LICENCE, "url": ""}],
            "images": self.images,
        }
        if self.split != "test":
            content["annotations"] = self.annotations
        content["categories"] = [
            {"id": CATEGORIES.index(name), "name": name, "supercategory": group}
            | {"level": 2, "taxonomy_id": f"drawn{number:06d}"}
            for group, names in FASHIONPEDIA_CATEGORIES.items()
            for number, name in enumerate(names)
        ]
        return content if self.split == "test" else content | {"attributes": []}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _write_archive(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip of files that are compressed already."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, _DATE)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
