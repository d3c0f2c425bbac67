"""A custom dataset of index masks, whose pixel values are class ids: each mask checked and written as plain PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from clothseg.data.annotations import choose_share
from clothseg.data.manifest import instead_of, lookalikes, names_by_stem
from clothseg.data.painting import limited, write_in_groups
from clothseg.data.pair import read_photo_size
from clothseg.data.report import Problem, RecordError, SplitReport
from clothseg.data.source import SPLITS, TRAIN, VAL, MaskCounts, MaskJob, OfficialSplit
from clothseg.data.sources import CustomSource, folders_fingerprint, link_photos
from clothseg.encoding import encode_png
from clothseg.errors import DataError, InputError, one_line
from clothseg.pictures import PHOTO_SUFFIXES, read_mask
from clothseg.progress import Steps
from clothseg.types import Int64Array

MASK_SUFFIXES = (".png", ".bmp", ".gif")
"""Endings of index masks, in lower case: formats without loss."""
_MASKS_END_IN = f"Masks end in {', '.join(MASK_SUFFIXES)}: save others as PNG"


@dataclass(frozen=True)
class _Pair:
    photo: Path
    mask: Path
    target: Path
    name: str


@dataclass(frozen=True)
class IndexMasks(CustomSource):
    """Folders of index masks, whose pixel values are class ids, and of photos with the same names."""

    kind: str = "masks"

    def fingerprint(self) -> str:
        """Return a hash over the names, sizes and times of all masks and photos."""
        folders = dict.fromkeys([self.labels, self.photos, self.val_labels or self.labels, self.val_photos])
        return f"{folders_fingerprint(list(folders))} {self.val_share if self.val_labels is None else None}"

    def collect(self, folder: Path, steps: Steps) -> None:
        """Link the photos that have a mask."""
        for split in SPLITS:
            photos = self.photos_of(split)
            photo_names = names_by_stem(photos, PHOTO_SUFFIXES)
            names = [name for stem in self._masks_by_stem(split) for name in photo_names.get(stem, [])]
            link_photos(names, photos, folder / split.photos, steps)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Check the masks of a split and write those without a defect as plain grey PNG; the others are skipped."""
        split = job.split
        masks = self._masks_by_stem(split)
        pairs, problems = self._pair(masks, job)
        pairs, notes = limited(pairs, job.limit)
        check_group = partial(_check_group, len(job.classes))
        counts = write_in_groups(job, f"Checking masks of {split.name}", check_group, pairs)
        unread = self._unread(split) if split == TRAIN or self.val_labels is not None else []
        if unread:
            names = ", ".join(unread[:5]) + (", …" if len(unread) > 5 else "")
            notes += (f"Not read from the mask folder: {len(unread)} files ({names}). {_MASKS_END_IN}",)
        report = SplitReport(len(masks), 0, counts.num_masks, (*problems, *counts.problems), notes=notes)
        return report, counts

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the name of the mask folder."""
        return self.labels.resolve().name, None

    def _mask_folder(self, split: OfficialSplit) -> Path:
        return self.labels if split == TRAIN else self.val_labels or self.labels

    def _masks_by_stem(self, split: OfficialSplit) -> dict[str, list[str]]:
        """Return the names of the masks of a split, sorted by their stems."""
        masks = dict(sorted(names_by_stem(self._mask_folder(split), MASK_SUFFIXES).items()))
        if self.val_labels is not None:
            return masks
        if not masks:
            found = ", ".join(self._unread(split)[:5]) or "no picture"
            raise DataError(f"No mask in {self.labels}; it has {found}. {_MASKS_END_IN}")
        chosen = choose_share(masks, self.val_share)
        return {stem: names for stem, names in masks.items() if (stem in chosen) == (split == VAL)}

    def _unread(self, split: OfficialSplit) -> list[str]:
        """Return the pictures in a mask folder whose ending is not a mask's, and which have no mask of their name."""
        masks = self._mask_folder(split)
        if masks.resolve() == self.photos_of(split).resolve():
            return []
        read = names_by_stem(masks, MASK_SUFFIXES)
        others = names_by_stem(masks, PHOTO_SUFFIXES - {*MASK_SUFFIXES})
        return sorted(name for stem, names in others.items() if stem not in read for name in names)

    def _pair(self, masks: Mapping[str, list[str]], job: MaskJob) -> tuple[dict[str, _Pair], list[Problem]]:
        """Return each mask with its photo by stem, and a problem for each mask that has no photo or several."""
        photos = names_by_stem(job.photos, PHOTO_SUFFIXES)
        similar = lookalikes(names_by_stem(self.photos_of(job.split), PHOTO_SUFFIXES))
        folder = self._mask_folder(job.split)
        pairs, problems = {}, []
        for stem, names in masks.items():
            try:
                name = _only(names, "masks", stem, similar)
                photo = _only(photos.get(stem, []), "photos", stem, similar)
                pairs[stem] = _Pair(job.photos / photo, folder / name, job.masks / f"{stem}.png", name)
            except RecordError as error:
                problems.append(Problem(error.reason, error.detail, file_name=names[0]))
        return pairs, problems


def _only(names: Sequence[str], kind: str, stem: str, similar: Mapping[str, str]) -> str:
    if not names:
        raise RecordError("missing photo", f"no photo is called {stem!r}{instead_of(stem, similar)}")
    if len(names) > 1:
        raise RecordError("shared stem", f"several {kind} are called {stem!r}: {', '.join(names)}")
    return names[0]


def _check_group(num_classes: int, pairs: Sequence[_Pair]) -> MaskCounts:
    counts = MaskCounts.zero(num_classes)
    for pair in pairs:
        try:
            counts.add_mask(_write_checked(pair, num_classes))
        except RecordError as error:
            counts.problems.append(Problem(error.reason, error.detail, file_name=pair.name))
    return counts


def _write_checked(pair: _Pair, num_classes: int) -> Int64Array:
    """Write a mask and return its (num_classes,) pixels per class."""
    try:
        size = read_photo_size(pair.photo)
    except InputError as error:
        raise RecordError("broken photo", one_line(error)) from error
    try:
        mask = read_mask(pair.mask)
    except InputError as error:
        raise RecordError("broken mask", one_line(error)) from error
    if mask.shape != size:
        raise RecordError(
            "mask size", f"the mask is {mask.shape[1]} x {mask.shape[0]}, its photo {size[1]} x {size[0]}"
        )
    pixels = np.bincount(mask.ravel(), minlength=num_classes)
    if len(pixels) > num_classes:
        wrong = np.flatnonzero(pixels[num_classes:]) + num_classes
        raise RecordError(
            "mask value", f"values {', '.join(map(str, wrong[:5]))}; the class list has 0 to {num_classes - 1}"
        )
    pair.target.write_bytes(encode_png(mask))
    return pixels.astype(np.int64)
