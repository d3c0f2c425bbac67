"""Sources of a dataset: the Fashionpedia download or a mirror of it, the drawn sample, custom COCO files and masks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from clothseg import __version__
from clothseg.data.annotations import (
    check_annotation_file,
    choose_share,
    describe_annotations,
    open_annotations,
    split_annotations,
)
from clothseg.data.download import fetch
from clothseg.data.links import PhotoNames
from clothseg.data.manifest import instead_of, lookalikes, names_by_stem
from clothseg.data.painting import paint_annotations, write_in_groups
from clothseg.data.pair import read_photo_size
from clothseg.data.report import SAMPLE, Problem, RecordError, SplitReport, hash_of
from clothseg.data.sample import draw_sample
from clothseg.data.source import SPLITS, TRAIN, VAL, MaskCounts, MaskJob, OfficialSplit, local_path
from clothseg.data.unzip import read_unpacked, unpack
from clothseg.encoding import encode_png
from clothseg.errors import DataError, InputError, check_input, one_line
from clothseg.pictures import PHOTO_SUFFIXES, read_mask, whole_file
from clothseg.progress import Steps
from clothseg.settings import OFFICIAL_SOURCE
from clothseg.types import Int64Array

FASHIONPEDIA = "Fashionpedia"

LICENCE = "CC-BY-4.0 (annotations); each photo under the licence its record in the annotation file names"
"""Source: the card of huggingface.co/datasets/detection-datasets/fashionpedia, and `licenses` in the annotation files.
It does not cover a mirror with other photos in the same layout."""

MASK_SUFFIXES = (".png", ".bmp", ".gif")
"""Endings of index masks, in lower case: formats without loss."""
_MASKS_END_IN = f"Masks end in {', '.join(MASK_SUFFIXES)}: save others as PNG"


@dataclass(frozen=True)
class Mirror:
    """The official download, or any folder or server with the same layout."""

    address: str
    """http(s) address or local folder of the root."""
    kind: str = "fashionpedia"

    @property
    def _is_remote(self) -> bool:
        return "://" in self.address

    def fingerprint(self) -> str:
        """Return the address of a server, or a hash over the files of a local folder."""
        if self._is_remote:
            return self.address.rstrip("/")
        check_input(Path(self.address), "Source", "Pass --source with the address or folder of a mirror", folder=True)
        names = [name for split in SPLITS for name in split.files]
        return _files_fingerprint([path for name in names if (path := Path(self.address, name)).exists()])

    def collect(self, folder: Path, steps: Steps) -> None:
        """Download missing files, the small annotation files first, and unpack the photos."""
        for split in SPLITS:
            target = local_path(folder, split.annotations)
            _copy_file(self._fetch(split.annotations, folder, steps), target)
        for split in SPLITS:
            photos = folder / split.photos
            if self._is_remote and read_unpacked(photos) is not None:
                continue  # the archive may have been deleted since
            archive = self._fetch(split.archive, folder, steps)
            with steps(f"Unpacking {archive.name}", unit="bytes") as advance:
                unpack(archive, photos, members_under=split.photos, progress=advance)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Paint the masks of a split."""
        return paint_annotations(job, local_path(job.folder, job.split.annotations))

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return Fashionpedia's name and licence, or those that a mirror's annotation file states."""
        if self.address.rstrip("/") == OFFICIAL_SOURCE:
            return FASHIONPEDIA, LICENCE
        path = local_path(folder, TRAIN.annotations)
        description, licence = describe_annotations(path)
        return (description or Path(self.address).name).removesuffix(", train"), licence

    def _fetch(self, name: str, folder: Path, steps: Steps) -> Path:
        target = local_path(folder, name)
        if not self._is_remote or target.is_file():
            return fetch(self.address, name, target)
        with steps(f"Fetching {target.name}", unit="bytes") as advance:
            return fetch(self.address, name, target, progress=advance)


@dataclass(frozen=True)
class Sample(Mirror):
    """A small drawn dataset in the layout of the official download."""

    address: str = SAMPLE
    kind: str = SAMPLE
    train_photos: int = 160
    val_photos: int = 40
    test_photos: int = 8
    seed: int = 0

    def fingerprint(self) -> str:
        """Return the numbers that decide the drawing."""
        return f"{__version__}: {self.train_photos}, {self.val_photos}, {self.test_photos} from {self.seed}"

    def collect(self, folder: Path, steps: Steps) -> None:
        """Draw a mirror beside the final folders, collect its files, and remove it."""
        mirror = folder / ".sample.part"
        if mirror.exists():
            shutil.rmtree(mirror)
        with steps("Drawing photos") as advance:
            draw_sample(
                mirror,
                train_photos=self.train_photos,
                val_photos=self.val_photos,
                test_photos=self.test_photos,
                seed=self.seed,
                progress=advance,
            )
        Mirror(str(mirror)).collect(folder, steps)
        shutil.rmtree(mirror)


@dataclass(frozen=True)
class CustomSource:
    """Labels with a photo folder, for training and, if they are given, for validation."""

    labels: Path
    """A COCO instance JSON, or a folder of masks."""
    photos: Path
    val_labels: Path | None
    """Without them, `val_share` of the photos are used for validation."""
    val_photos: Path
    val_share: float

    @property
    def address(self) -> str:
        """The path of the labels."""
        return str(self.labels)

    def photos_of(self, split: OfficialSplit) -> Path:
        """Return the folder of the photos of a split."""
        return self.photos if split == TRAIN else self.val_photos


@dataclass(frozen=True)
class CocoAnnotations(CustomSource):
    """A COCO instance JSON with a photo folder."""

    kind: str = "coco"

    def fingerprint(self) -> str:
        """Return a hash over the names, sizes and times of the annotation files and all photos."""
        files = [path for path in (self.labels, self.val_labels) if path is not None]
        for path in files:
            check_annotation_file(path)
        share = self.val_share if self.val_labels is None else None
        return f"{_files_fingerprint(files)} {_folders_fingerprint([self.photos, self.val_photos])} {share}"

    def collect(self, folder: Path, steps: Steps) -> None:
        """Copy or split the annotation files and link the photos that they name."""
        train, val = (_annotations_path(folder, split) for split in SPLITS)
        if self.val_labels is None:
            split_annotations(self.labels, train, val, val_share=self.val_share)
        else:
            _copy_file(self.labels, train)
            _copy_file(self.val_labels, val)
        for split in SPLITS:
            photos = self.photos_of(split)
            names = PhotoNames(names_by_stem(photos, PHOTO_SUFFIXES), photos)
            images = open_annotations(_annotations_path(folder, split)).images
            files = {file for image in images for file in names.fitting(image.file_name)}
            _link_photos(sorted(files), photos, folder / split.photos, steps)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Paint the masks of a split."""
        annotations = _annotations_path(job.folder, job.split)
        return paint_annotations(job, annotations, photo_source=self.photos_of(job.split))

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the description and licence that the annotation file states, or its file name."""
        description, licence = describe_annotations(_annotations_path(folder, TRAIN))
        return description or self.labels.stem, licence


def _annotations_path(folder: Path, split: OfficialSplit) -> Path:
    return folder / f"instances_{split.name}.json"


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
        return f"{_folders_fingerprint(list(folders))} {self.val_share if self.val_labels is None else None}"

    def collect(self, folder: Path, steps: Steps) -> None:
        """Link the photos that have a mask."""
        for split in SPLITS:
            photos = self.photos_of(split)
            photo_names = names_by_stem(photos, PHOTO_SUFFIXES)
            names = [name for stem in self._masks_by_stem(split) for name in photo_names.get(stem, [])]
            _link_photos(names, photos, folder / split.photos, steps)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Check the masks of a split and write those without a defect as plain grey PNG; the others are skipped."""
        split = job.split
        masks = self._masks_by_stem(split)
        pairs, problems = self._pair(masks, job)
        check_group = partial(_check_group, len(job.classes))
        counts = write_in_groups(job, f"Checking masks of {split.name}", check_group, pairs)
        notes: tuple[str, ...] = ()
        unread = self._unread(split) if split == TRAIN or self.val_labels is not None else []
        if unread:
            names = ", ".join(unread[:5]) + (", …" if len(unread) > 5 else "")
            notes = (f"Not read from the mask folder: {len(unread)} files ({names}). {_MASKS_END_IN}",)
        report = SplitReport(len(masks), 0, counts.num_masks, (*problems, *counts.problems), notes=notes)
        return report, counts

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the name of the mask folder."""
        return self.labels.resolve().name, None

    def _mask_folder(self, split: OfficialSplit) -> Path:
        return self.labels if split == TRAIN else self.val_labels or self.labels

    def _masks_by_stem(self, split: OfficialSplit) -> dict[str, list[str]]:
        """Return the names of the masks of a split, sorted by their stems.

        Raises:
            DataError: there are none to share out between the splits.
        """
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
    """Write a mask and return its (num_classes,) pixels per class.

    Raises:
        RecordError: the mask or its photo cannot be used.
    """
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


def _files_fingerprint(paths: Sequence[Path]) -> str:
    """Return a hash over the names, sizes and times of files, or the name alone where the system refuses a file."""
    rows = []
    for path in paths:
        try:
            found = path.stat()
            rows.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
        except OSError as error:  # named in the error of whatever needs the file
            rows.append([str(path), error.errno or 0, 0])
    return hash_of(rows)


def _folders_fingerprint(folders: Sequence[Path]) -> str:
    """Return a hash over the names, sizes and times of all photos and masks in folders.

    Raises:
        MissingInputError, DataError: as `names_by_stem`.
    """
    names = {folder: names_by_stem(folder, PHOTO_SUFFIXES).values() for folder in folders}
    return _files_fingerprint([folder / name for folder in names for same in names[folder] for name in same])


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically; a file copied to itself stays as it is.

    Raises:
        MachineError: the disk is full or cannot be written.
    """
    if source.resolve() == target.resolve():
        return
    with whole_file(target, sync=True) as temporary:
        shutil.copyfile(source, temporary)


def _link_photos(names: Sequence[str], source: Path, target: Path, steps: Steps) -> None:
    """Link photos into a folder, or copy them where the file system has no links between the two folders."""
    target.mkdir(parents=True, exist_ok=True)
    with steps(f"Linking photos of {source.name}") as advance:
        for number, name in enumerate(names, 1):
            _link_photo(source / name, target / name)
            if number % 100 == 0 or number == len(names):
                advance(number, len(names))


def _link_photo(source: Path, target: Path) -> None:
    # Renaming one link of a file over another has no effect and would leave the temporary name behind.
    if target.exists() and target.samefile(source):
        return
    with whole_file(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another disk, or a file system without links
            if os.access(source, os.R_OK):
                shutil.copyfile(source, temporary)
            else:  # the mask's problem names the photo, and other photos are prepared
                temporary.symlink_to(source.resolve())
