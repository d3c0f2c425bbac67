"""A small data set of our own in Fashionpedia's download layout, for trying everything in minutes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clothseg.data.sample.outfit import CATEGORIES
from clothseg.data.sample.photo import SPLITS, DrawnPhoto, draw_photo
from clothseg.encoding import encode_jpeg
from clothseg.errors import SettingError
from clothseg.labels import FASHIONPEDIA_CATEGORIES
from clothseg.pictures import whole_file

LICENCE = "Apache-2.0"
_DATE = (2020, 1, 1, 0, 0, 0)  # of every archive member, so that the archives repeat byte for byte


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
