"""A prepared data set checked photo by photo: pairs, sizes, values, counts and photos that occur twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from clothseg.data.manifest import Manifest, Split, names_by_stem
from clothseg.data.processes import work_in_groups
from clothseg.errors import InputError, one_line
from clothseg.pictures import PHOTO_SUFFIXES, read_mask, read_picture
from clothseg.progress import Steps, hide_step
from clothseg.types import Int64Array


@dataclass(frozen=True)
class Defect:
    """Something in a prepared data set that is not as it should be."""

    split: str
    stem: str
    """Of the photo and the mask; empty where it concerns the whole split."""
    what: str

    def __str__(self) -> str:
        return f"{self.split}{f' {self.stem!r}' if self.stem else ''}: {self.what}"


@dataclass
class SplitCheck:
    """What was found in one split."""

    num_pairs: int
    num_unlabelled: int
    """Photos without a mask: no defect, they are not trained on."""
    pixels_per_class: Int64Array
    """(num_classes,) counted in the masks that can be read."""
    photos_per_class: Int64Array
    """(num_classes,) masks in which the class occurs."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """(height, width) of the photos."""


@dataclass(frozen=True)
class Verification:
    """What was found in a data set."""

    manifest: Manifest
    splits: dict[str, SplitCheck]
    defects: tuple[Defect, ...]


@dataclass(frozen=True)
class _Look:
    """What a process saw of one pair."""

    stem: str
    size: tuple[int, int] | None
    digest: bytes | None
    """Hash of the photo's pixels, so that one saved twice in two ways is found too."""
    pixels: Int64Array | None
    defects: tuple[str, ...]


def verify(folder: Path, *, num_workers: int = 0, steps: Steps = hide_step) -> Verification:
    """Decode every photo and every mask of a prepared data set.

    Args:
        folder: `DATA_PATH / DATASET_FOLDER`.
        num_workers: processes to do it with.
        steps: shows the progress.

    Raises:
        MissingInputError: there is no prepared data set, or a folder of it is missing.
        DataError: its manifest is damaged.
    """
    manifest = Manifest.read(folder)
    num_classes = len(manifest.classes)
    checks: dict[str, SplitCheck] = {}
    defects: list[Defect] = []
    first_with: dict[bytes, tuple[str, str]] = {}
    for name, split in manifest.splits.items():
        pairs, unlabelled = _pair(folder, name, split, defects)
        check = SplitCheck(
            len(pairs), unlabelled, np.zeros(num_classes, dtype=np.int64), np.zeros(num_classes, dtype=np.int64)
        )
        done = 0
        with steps(f"Checking photos of {name}") as advance:
            look = partial(_look_at_group, folder / split.photos, folder / split.masks, num_classes)
            for count, group in work_in_groups(look, pairs, num_workers=num_workers):
                for one in group:
                    _add(check, one)
                    defects += [Defect(name, one.stem, what) for what in one.defects]
                    _note_twin(name, one, first_with, defects)
                done += count
                advance(done, len(pairs))
        defects += _against_manifest(name, split, check)
        checks[name] = check
    return Verification(manifest, checks, tuple(defects))


def _pair(folder: Path, name: str, split: Split, defects: list[Defect]) -> tuple[list[tuple[str, str, str]], int]:
    """Return (stem, photo, mask) of each pair, and how many photos have no mask."""
    photos = names_by_stem(folder / split.photos, PHOTO_SUFFIXES)
    masks = names_by_stem(folder / split.masks, (".png",))
    pairs = []
    for stem in sorted(masks):
        there = photos.get(stem, [])
        if len(there) == 1:
            pairs.append((stem, there[0], masks[stem][0]))
        elif there:
            defects.append(Defect(name, stem, f"a mask and several photos: {', '.join(there)}"))
        else:
            defects.append(Defect(name, stem, "a mask without a photo"))
    return pairs, len(photos.keys() - masks.keys())


def _look_at_group(photos: Path, masks: Path, num_classes: int, pairs: Sequence[tuple[str, str, str]]) -> list[_Look]:
    return [_look(stem, photos / photo, masks / mask, num_classes) for stem, photo, mask in pairs]


def _look(stem: str, photo: Path, mask: Path, num_classes: int) -> _Look:
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
    return _Look(stem, size, digest, pixels, tuple(defects))


def _add(check: SplitCheck, look: _Look) -> None:
    if look.size is not None:
        check.sizes.add(look.size)
    if look.pixels is not None:
        check.pixels_per_class += look.pixels
        check.photos_per_class += look.pixels > 0


def _note_twin(name: str, look: _Look, first_with: dict[bytes, tuple[str, str]], defects: list[Defect]) -> None:
    if look.digest is None:
        return
    split, stem = first_with.setdefault(look.digest, (name, look.stem))
    if (split, stem) != (name, look.stem):
        where = "" if split == name else f" of {split}: what is trained on must not be validated with"
        defects.append(Defect(name, look.stem, f"the same photo as {stem!r}{where}"))


def _against_manifest(name: str, split: Split, check: SplitCheck) -> list[Defect]:
    defects = []
    if check.num_pairs != split.count:
        defects.append(Defect(name, "", f"{check.num_pairs} pairs, the manifest says {split.count}"))
    for what, found, stated in (
        ("pixels", check.pixels_per_class, split.pixels_per_class),
        ("photos", check.photos_per_class, split.photos_per_class),
    ):
        differing = np.flatnonzero(found != np.array(stated)).tolist()
        if differing:
            defects.append(Defect(name, "", f"{what} per class differ from the manifest's for class ids {differing}"))
    return defects
