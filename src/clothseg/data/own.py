"""One's own data as a source to prepare: a COCO instance JSON or index masks, with a folder of photos."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clothseg.data.annotated_split import paint_annotations
from clothseg.data.annotation_shares import choose_share, split_annotations
from clothseg.data.annotations import ImageRecord, check_annotation_file, open_annotations
from clothseg.data.index_masks import MASK_SUFFIXES, check_masks
from clothseg.data.manifest import names_by_stem
from clothseg.data.painting import Tally
from clothseg.data.photo_tasks import PhotoNames
from clothseg.data.problems import RecordError
from clothseg.data.records import plain_file_name
from clothseg.data.report import SplitReport
from clothseg.data.source import TRAIN, VAL, SplitFolders, copy_file, files_fingerprint
from clothseg.errors import DataError
from clothseg.labels import ClassList
from clothseg.pictures import PHOTO_SUFFIXES, whole_file
from clothseg.progress import Steps


@dataclass(frozen=True)
class OwnAnnotations:
    """COCO instance JSON with a photo folder, for training and, if there is one, for validation."""

    annotations: Path
    photos: Path
    val_annotations: Path | None
    """Without it, `val_share` of the photos is set apart."""
    val_photos: Path
    val_share: float
    kind: str = "coco"

    @property
    def address(self) -> str:
        """The annotation file."""
        return str(self.annotations)

    @property
    def splits(self) -> Sequence[SplitFolders]:
        """Train and val."""
        return TRAIN, VAL

    def fingerprint(self) -> str:
        """Return a hash over the annotation files and all photos: names, sizes and times."""
        files = [path for path in (self.annotations, self.val_annotations) if path is not None]
        for path in files:
            check_annotation_file(path)
        share = self.val_share if self.val_annotations is None else None
        return f"{files_fingerprint(files)} {_folders_fingerprint([self.photos, self.val_photos])} {share}"

    def bring(self, folder: Path, steps: Steps) -> None:
        """Copy or split the annotation files and bring the photos that they name."""
        train, val = (_annotations_path(folder, split) for split in self.splits)
        if self.val_annotations is None:
            split_annotations(self.annotations, train, val, val_share=self.val_share)
        else:
            copy_file(self.annotations, train)
            copy_file(self.val_annotations, val)
        for split, photos in zip(self.splits, (self.photos, self.val_photos), strict=True):
            names = PhotoNames(names_by_stem(photos, PHOTO_SUFFIXES), photos)
            plain = map(_plain, open_annotations(_annotations_path(folder, split)).images)
            there = {file for name in plain if name is not None for file in names.fitting(name)}
            _bring_photos(sorted(there), photos, folder / split.photos, steps)

    def fill_masks(
        self, folder: Path, split: SplitFolders, masks: Path, *, classes: ClassList, num_workers: int, steps: Steps
    ) -> tuple[SplitReport, Tally]:
        """Paint the masks of a split."""
        return paint_annotations(
            _annotations_path(folder, split),
            folder,
            split,
            masks,
            classes=classes,
            num_workers=num_workers,
            steps=steps,
            source=self.photos if split == TRAIN else self.val_photos,
        )

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return what the annotation file says about itself, or its name."""
        file = open_annotations(_annotations_path(folder, TRAIN))
        return file.description or self.annotations.stem, "; ".join(file.licences) or None


@dataclass(frozen=True)
class OwnMasks:
    """Index masks, whose pixel values are class ids, with a folder of photos of the same names."""

    masks: Path
    photos: Path
    val_masks: Path | None
    """Without it, `val_share` of the masks is set apart."""
    val_photos: Path
    val_share: float
    kind: str = "masks"

    @property
    def address(self) -> str:
        """The mask folder."""
        return str(self.masks)

    @property
    def splits(self) -> Sequence[SplitFolders]:
        """Train and val."""
        return TRAIN, VAL

    def fingerprint(self) -> str:
        """Return a hash over all masks and photos: names, sizes and times."""
        folders = [self.masks, self.photos, self.val_masks or self.masks, self.val_photos]
        return f"{_folders_fingerprint(folders)} {self.val_share if self.val_masks is None else None}"

    def bring(self, folder: Path, steps: Steps) -> None:
        """Bring the photos that have a mask."""
        for split in self.splits:
            _, photos = self._folders(split)
            there = names_by_stem(photos, PHOTO_SUFFIXES)
            names = [name for stem in self._stems(split) for name in there.get(stem, [])]
            _bring_photos(names, photos, folder / split.photos, steps)

    def fill_masks(
        self, folder: Path, split: SplitFolders, masks: Path, *, classes: ClassList, num_workers: int, steps: Steps
    ) -> tuple[SplitReport, Tally]:
        """Check the masks of a split and write those that are right as plain grey PNG."""
        report, tally = check_masks(
            self._folders(split)[0],
            self._stems(split),
            folder / split.photos,
            masks,
            photo_source=self._folders(split)[1],
            num_classes=len(classes),
            num_workers=num_workers,
            steps=steps,
        )
        unread = self._unread(split) if split == TRAIN or self.val_masks is not None else []
        if unread:
            names = ", ".join(unread[:5]) + (", …" if len(unread) > 5 else "")
            note = f"Not read from the mask folder: {len(unread)} files ({names}). {_MASKS_END_IN}"
            report = replace(report, notes=(*report.notes, note))
        return report, tally

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the name of the mask folder."""
        return self.masks.resolve().name, None

    def _folders(self, split: SplitFolders) -> tuple[Path, Path]:
        if split == TRAIN:
            return self.masks, self.photos
        return self.val_masks or self.masks, self.val_photos

    def _unread(self, split: SplitFolders) -> list[str]:
        """Return the pictures of a mask folder that are no masks for their ending, and have none beside them."""
        masks, photos = self._folders(split)
        if masks.resolve() == photos.resolve():
            return []
        read = names_by_stem(masks, MASK_SUFFIXES)
        others = names_by_stem(masks, PHOTO_SUFFIXES - {*MASK_SUFFIXES})
        return sorted(name for stem, names in others.items() if stem not in read for name in names)

    def _stems(self, split: SplitFolders) -> list[str]:
        stems = sorted(names_by_stem(self._folders(split)[0], MASK_SUFFIXES))
        if self.val_masks is not None:
            return stems
        if not stems:
            found = ", ".join(self._unread(split)[:5]) or "no picture"
            raise DataError(f"No mask in {self.masks}; it has {found}. {_MASKS_END_IN}")
        chosen = choose_share(stems, self.val_share)
        return [stem for stem in stems if (stem in chosen) == (split == VAL)]


_MASKS_END_IN = f"Masks end in {', '.join(MASK_SUFFIXES)}: save others as PNG"


def _annotations_path(folder: Path, split: SplitFolders) -> Path:
    return folder / f"instances_{split.name}.json"


def _plain(image: ImageRecord) -> str | None:
    try:
        return plain_file_name(image.file_name)
    except RecordError:
        return None


def _folders_fingerprint(folders: Sequence[Path]) -> str:
    listing = []
    for folder in dict.fromkeys(folders):
        names = names_by_stem(folder, (*PHOTO_SUFFIXES, *MASK_SUFFIXES)).values()
        listing += [folder / name for same_stem in names for name in same_stem]
    return files_fingerprint(listing)


def _bring_photos(names: Sequence[str], source: Path, target: Path, steps: Steps) -> None:
    """Link photos into a folder, or copy them where the file system has no links between the two."""
    target.mkdir(parents=True, exist_ok=True)
    with steps(f"Bringing photos of {source.name}") as advance:
        for number, name in enumerate(names, 1):
            _bring_photo(source / name, target / name)
            if number % 100 == 0 or number == len(names):
                advance(number, len(names))


def _bring_photo(source: Path, target: Path) -> None:
    # Renaming one link of a file over another does nothing and would leave the temporary name behind.
    if target.exists() and target.samefile(source):
        return
    with whole_file(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another disk, or a file system without links
            if os.access(source, os.R_OK):
                shutil.copyfile(source, temporary)
            else:  # it is named when its mask is painted, and costs no other photo
                temporary.symlink_to(source.resolve())
