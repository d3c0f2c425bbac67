"""The command `clothseg verify`: checks every pair of a prepared dataset and prints the counts of each class."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from clothseg.cores import available_cores
from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split, names_by_stem
from clothseg.data.processes import work_in_groups
from clothseg.data.source import MaskCounts
from clothseg.errors import InputError, one_line
from clothseg.pictures import PHOTO_SUFFIXES, read_mask, read_picture
from clothseg.progress import Steps, hide_step, show_step
from clothseg.types import Int64Array


@dataclass(frozen=True)
class Verify:
    """Check a prepared dataset: pairs, sizes, values, counts, and photos that occur twice.

    Args:
        data_path: Folder of the prepared dataset.
        num_workers: Processes that check; without it, one for each core.
    """

    data_path: Path = Path("data")
    num_workers: Annotated[int | None, tyro.conf.arg(name="workers")] = None

    def run(self) -> int:
        """Check the dataset; return 1 if there are defects, each named on stderr."""
        num_workers = available_cores() if self.num_workers is None else self.num_workers
        result = verify(self.data_path / DATASET_FOLDER, num_workers=num_workers, steps=show_step)
        Console(soft_wrap=True).print(class_table(result))
        errors = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        for defect in result.defects:
            errors.print(str(defect), markup=False)
        checked = sum(split.count for split in result.splits.values())
        found = f"{len(result.defects):,} defects" if result.defects else "no defect"
        errors.print(f"Checked {checked:,} photos with their masks: {found}.", markup=False)
        return 1 if result.defects else 0


@dataclass(frozen=True)
class Defect:
    """Something wrong in a prepared dataset."""

    split: str
    stem: str
    """Of the photo and the mask; empty where it concerns the whole split."""
    what: str

    def __str__(self) -> str:
        return f"{self.split}{f' {self.stem!r}' if self.stem else ''}: {self.what}"


@dataclass(frozen=True)
class Verification:
    """The result of checking a dataset."""

    manifest: Manifest
    splits: dict[str, Split]
    """The counts, as in the manifest; masks that cannot be read have no pixels."""
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class _PairCheck:
    """The result of checking one pair, from the process that read it."""

    stem: str
    digest: bytes | None
    """Hash of the photo's pixels, which also finds one photo saved in two formats."""
    pixels: Int64Array | None
    defects: tuple[str, ...]


def verify(folder: Path, *, num_workers: int = 0, steps: Steps = hide_step) -> Verification:
    """Decode every photo and every mask of the dataset in `folder`, which is `DATA_PATH / DATASET_FOLDER`.

    Raises:
        MissingInputError: there is no prepared dataset, or a folder of it is missing.
        DataError: its manifest is damaged.
    """
    manifest = Manifest.read(folder)
    found: dict[str, Split] = {}
    defects: list[Defect] = []
    first_by_digest: dict[bytes, tuple[str, str]] = {}
    for name, split in manifest.splits.items():
        pairs = _pair(folder, name, split, defects)
        counts = MaskCounts.zero(len(manifest.classes))
        check_group = partial(_check_group, folder / split.photos, folder / split.masks, len(manifest.classes))
        with steps(f"Checking photos of {name}") as advance:
            checks = work_in_groups(check_group, pairs, num_workers=num_workers, progress=advance)
            for pair in itertools.chain.from_iterable(checks):
                defects += [Defect(name, pair.stem, what) for what in pair.defects]
                if pair.pixels is not None:
                    counts.add_mask(pair.pixels)
                defects += _duplicate(name, pair, first_by_digest)
        found[name] = counts.split(split.photos, split.masks, len(pairs))
        defects += _compare_with_manifest(name, split, found[name])
    return Verification(manifest, found, tuple(defects))


def _pair(folder: Path, name: str, split: Split, defects: list[Defect]) -> list[tuple[str, str, str]]:
    """Return (stem, photo, mask) of each mask that has one photo; photos without a mask are no defect."""
    photos = names_by_stem(folder / split.photos, PHOTO_SUFFIXES)
    masks = names_by_stem(folder / split.masks, (".png",))
    pairs = []
    for stem in sorted(masks):
        found = photos.get(stem, [])
        if len(found) == 1:
            pairs.append((stem, found[0], masks[stem][0]))
        else:
            what = f"a mask and several photos: {', '.join(found)}" if found else "a mask without a photo"
            defects.append(Defect(name, stem, what))
    return pairs


def _check_group(
    photos: Path, masks: Path, num_classes: int, pairs: Sequence[tuple[str, str, str]]
) -> list[_PairCheck]:
    return [_check_pair(stem, photos / photo, masks / mask, num_classes) for stem, photo, mask in pairs]


def _check_pair(stem: str, photo: Path, mask: Path, num_classes: int) -> _PairCheck:
    defects: list[str] = []
    size = digest = pixels = None
    try:
        image = read_picture(photo).pixels
        size = image.shape[:2]
        digest = hashlib.blake2b(image.data, digest_size=16, person=b"%dx%d" % size).digest()
    except InputError as error:
        defects.append(f"photo: {one_line(error)}")
    try:
        values = read_mask(mask)
        if size is not None and values.shape != size:
            defects.append(f"the mask is {values.shape[1]} x {values.shape[0]}, the photo {size[1]} x {size[0]}")
        pixels = np.bincount(values.ravel(), minlength=num_classes)
        if len(pixels) > num_classes:
            wrong = ", ".join(map(str, np.flatnonzero(pixels[num_classes:])[:5] + num_classes))
            defects.append(f"mask values {wrong}; the class list has 0 to {num_classes - 1}")
        pixels = pixels[:num_classes].astype(np.int64)
    except InputError as error:
        defects.append(f"mask: {one_line(error)}")
    return _PairCheck(stem, digest, pixels, tuple(defects))


def _duplicate(name: str, pair: _PairCheck, first_by_digest: dict[bytes, tuple[str, str]]) -> list[Defect]:
    if pair.digest is None:
        return []
    split, stem = first_by_digest.setdefault(pair.digest, (name, pair.stem))
    if (split, stem) == (name, pair.stem):
        return []
    where = "" if split == name else f" of {split}: a photo must not be both in training and in validation"
    return [Defect(name, pair.stem, f"the same photo as {stem!r}{where}")]


def _compare_with_manifest(name: str, stated: Split, found: Split) -> list[Defect]:
    defects = []
    if found.count != stated.count:
        defects.append(Defect(name, "", f"{found.count} pairs, the manifest says {stated.count}"))
    for what, counts, stated_counts in (
        ("pixels", found.pixels_per_class, stated.pixels_per_class),
        ("photos", found.photos_per_class, stated.photos_per_class),
    ):
        differing = np.flatnonzero(np.array(counts) != np.array(stated_counts)).tolist()
        if differing:
            defects.append(Defect(name, "", f"{what} per class differ from the manifest's for class ids {differing}"))
    return defects


def class_table(result: Verification) -> Table:
    """Return a table of the photos and the share of pixels that each class has in each split."""
    title = f"{result.manifest.name}, licence {result.manifest.licence or 'unknown'}"
    table = Table(title=title, show_footer=True)
    table.add_column("id", justify="right")
    table.add_column("class", footer="all")
    for name, split in result.splits.items():
        table.add_column(f"{name} photos", justify="right", footer=f"{split.count:,}")
        table.add_column(f"{name} pixels", justify="right", footer=f"{sum(split.pixels_per_class):,}")
    for class_id, class_name in enumerate(result.manifest.classes.names):
        row = [str(class_id), class_name]
        for split in result.splits.values():
            pixels, photos = split.pixels_per_class, split.photos_per_class[class_id]
            row += [f"{photos:,}", f"{pixels[class_id] / sum(pixels):.3%}"] if photos else ["absent", "-"]
        table.add_row(*row)
    return table
