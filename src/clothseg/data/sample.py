"""Draws a small data set of our own in Fashionpedia's download layout, for trying everything in minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clothseg.data.sample_body import random_body
from clothseg.data.sample_canvas import Canvas
from clothseg.data.sample_figure import Figure, Place
from clothseg.data.sample_outfit import CATEGORIES, choose, dress
from clothseg.data.sample_outlines import annotate
from clothseg.data.sample_scenery import backdrop, cast_shadow, develop
from clothseg.errors import SettingError
from clothseg.labels import FASHIONPEDIA_CATEGORIES
from clothseg.pictures import encode_jpeg, whole_file
from clothseg.transforms import UInt8Array

LICENCE = "Apache-2.0"
_SPLITS = ("train", "val", "test")
_STEP = 17  # no common factor with 46: every category is featured once in any 46 photos in a row
_DATE = (2020, 1, 1, 0, 0, 0)  # of every archive member, so that the archives repeat byte for byte


@dataclass(frozen=True)
class Scene:
    """How a photo is to be taken."""

    height: int
    width: int
    people: int
    framing: str
    """full, small, close or part."""
    featured: str
    """A Fashionpedia category that the first person wears."""


@dataclass(frozen=True)
class DrawnPhoto:
    """A finished photo and the truth about it."""

    pixels: UInt8Array
    """(H, W, 3) uint8 RGB."""
    instances: list[dict[str, Any]]
    """Category, segmentation, area, bbox and iscrowd of each, as `annotate` returns them."""
    canvas: Canvas
    quality: int
    """JPEG quality it is stored with."""


def draw_sample(
    folder: Path,
    *,
    train_photos: int = 160,
    val_photos: int = 40,
    test_photos: int = 8,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a drawn data set into `folder`, laid out like Fashionpedia's download.

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
    counts = dict(zip(_SPLITS, (train_photos, val_photos, test_photos), strict=True))
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


def draw_photo(seed: int, split: str, index: int) -> DrawnPhoto:
    """Return photo `index` of a split: train, val or test."""
    rng = np.random.default_rng([seed, _SPLITS.index(split), index])
    long = int(rng.integers(360, 721))
    ratio = float(
        rng.choice([2 / 3, 3 / 4, 4 / 5, 9 / 16, 1.0, 4 / 3, 3 / 2], p=[0.3, 0.25, 0.1, 0.12, 0.08, 0.1, 0.05])
    )
    height, width = (long, round(long * ratio)) if ratio <= 1 else (round(long / ratio), long)
    people = 2 if rng.random() < (0.5 if ratio > 1 else 0.12) else 1
    framing = str(rng.choice(["full", "small", "close", "part"], p=[0.6, 0.1, 0.2, 0.1]))
    featured = CATEGORIES[((index + seed) * _STEP + _SPLITS.index(split) * 5) % len(CATEGORIES)]
    return _take(Scene(height, width, people, framing, featured), rng)


def sample_picture(seed: int = 0) -> UInt8Array:
    """Return one drawn photo of a whole person, (720, 480, 3) uint8 RGB."""
    rng = np.random.default_rng([seed, len(_SPLITS)])
    return _take(
        Scene(720, 480, 1, "full", str(rng.choice(["hat", "scarf", "dress", "jacket", "shirt, blouse"]))), rng
    ).pixels


def _take(scene: Scene, rng: np.random.Generator) -> DrawnPhoto:
    """Return the photo of a scene."""
    bodies = [random_body(rng) for _ in range(scene.people)]
    places = _places(scene, rng)
    feet = [place.to_photo([limb.end for limb in body.legs]) for body, place in zip(bodies, places, strict=True)]
    lowest = max(float(points[:, 1].max()) for points in feet)
    ground = lowest - rng.uniform(0.03, 0.2) * scene.height
    light = rng.uniform(-0.8, 0.8)
    photo = backdrop(rng, scene.height, scene.width, ground if ground < scene.height else scene.height * 0.95)
    shade = rng.uniform(0.2, 0.5)
    for points, place in zip(feet, places, strict=True):
        center = points.mean(axis=0)
        radii = (0.16 * place.height, 0.04 * place.height)
        cast_shadow(photo, (float(center[0]), float(center[1]) + 0.02 * place.height), radii, shade)
    canvas = Canvas(photo, (light, -0.7), rng)
    for number, (body, place) in enumerate(zip(bodies, places, strict=True)):
        figure = Figure.random(canvas, body, place, rng)
        featured = scene.featured if number == scene.people - 1 else str(rng.choice(CATEGORIES))
        dress(figure, choose(figure, featured))
    return DrawnPhoto(develop(canvas.photo, rng), annotate(canvas), canvas, int(rng.integers(82, 96)))


def _places(scene: Scene, rng: np.random.Generator) -> list[Place]:
    """Return where each person stands, the one farthest away first."""
    share = {
        "full": rng.uniform(0.78, 0.93),
        "small": rng.uniform(0.42, 0.62),
        "close": rng.uniform(1.2, 1.8),
        "part": rng.uniform(1.3, 1.9),
    }[scene.framing]
    places = []
    for number in range(scene.people):
        height = share * scene.height * (0.9 if number < scene.people - 1 else 1.0)
        spread = 0.1 if scene.people == 1 else 0.04
        x = scene.width * ((number + 0.7) / (scene.people + 0.4) + rng.normal(0, spread * 0.5))
        if scene.framing in ("full", "small"):
            slack = scene.height - height
            y = 0.505 * height + slack * rng.uniform(0.35, 0.75)
        elif scene.framing == "close":
            y = 0.5 * height + scene.height * rng.uniform(0.04, 0.12)
        else:
            y = scene.height * rng.uniform(0.25, 0.7)
        places.append(Place(np.array([x, y]), height, float(rng.normal(0, 0.03))))
    return places


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
        categories = [
            {
                "id": CATEGORIES.index(name),
                "name": name,
                "supercategory": group,
                "level": 2,
                "taxonomy_id": f"drawn{number:06d}",
            }
            for group, names in FASHIONPEDIA_CATEGORIES.items()
            for number, name in enumerate(names)
        ]
        described = f"Drawn by clothseg with seed {seed} ({LICENCE}), in Fashionpedia's format, {self.split}"
        info = {
            "year": 2020,
            "version": "1.0",
            "description": described,
            "contributor": "",
            "url": "",
            "date_created": "",
        }
        content: dict[str, Any] = {
            "info": info,
            "licenses": [{"id": 1, "name": LICENCE, "url": ""}],
            "images": self.images,
        }
        if self.split != "test":
            content["annotations"] = self.annotations
        content["categories"] = sorted(categories, key=lambda row: row["id"])
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
