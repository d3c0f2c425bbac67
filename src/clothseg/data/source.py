"""What every source of a dataset gives: the files and masks of Fashionpedia's two splits, and their counts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clothseg.data.manifest import Split
from clothseg.data.report import Problem, SplitReport
from clothseg.data.unzip import count_photos
from clothseg.errors import check_space
from clothseg.labels import ClassList
from clothseg.progress import Steps
from clothseg.types import Int64Array


@dataclass(frozen=True)
class OfficialSplit:
    """One split of Fashionpedia: its files in the download, and its folders on disk.

    Names in the download are relative to the root of the source, with slashes; folders are relative to the dataset's.
    """

    name: str
    """train or val, as the manifest calls it."""
    archive: str
    """The zip file with the photos."""
    annotations: str
    """The COCO file with the instances."""
    photos: str
    """Folder of the photos, in the archive and on disk. The photos of val are in test, among those of the test set."""
    masks: str
    """Folder of the painted masks."""

    @property
    def files(self) -> tuple[str, str]:
        """The names in the download that this split needs."""
        return self.archive, self.annotations


# Source of the names: README of github.com/cvdfoundation/fashionpedia, section Download.
# Source of the counts: Jia et al., Fashionpedia (ECCV 2020), arxiv.org/abs/2004.12276: 45,623 training photos, 1,158
# validation photos. val_test2020.zip contains these and the photos of the test set, 3,200 in total.
TRAIN = OfficialSplit(
    name="train",
    archive="images/train2020.zip",
    annotations="annotations/instances_attributes_train2020.json",
    photos="train",
    masks="train_masks",
)
VAL = OfficialSplit(
    name="val",
    archive="images/val_test2020.zip",
    annotations="annotations/instances_attributes_val2020.json",
    photos="test",
    masks="val_masks",
)
SPLITS = (TRAIN, VAL)
NUM_PHOTOS = 45_623 + 1_158


def local_path(folder: Path, name: str) -> Path:
    """Return the path of the file called `name` in the download in a dataset's `folder`: beside the photo folders.

    >>> local_path(Path("data/fashionist"), "images/train2020.zip").as_posix()
    'data/fashionist/train2020.zip'
    """
    return folder / name.rsplit("/", 1)[-1]


MASK_BYTES = 6_000
"""Of a mask of about 550 x 830 pixels. Source: docs/concepts/scale.md, Rates."""


@dataclass
class Needs:
    """What a source still has to download, unpack and write."""

    download: int | None = 0
    """Bytes; None where the server does not say."""
    unpack: int = 0
    """Bytes of the photos that are in archives, those to be downloaded included."""
    write: int = 0
    """Bytes of annotation files."""
    num_photos: int = 0
    """At most this many get a mask; 0 where it is not known before the download."""

    def add_archive(self, archive: Path, members_under: str) -> None:
        """Add the photos that an archive has in a folder.

        Raises:
            DataError, MissingInputError, MachineError: as `unzip.unpack`.
        """
        count, num_bytes = count_photos(archive, members_under)
        self.num_photos += count
        self.unpack += num_bytes

    def check(self, folder: Path) -> str:
        """Return in words what will be downloaded and written into a dataset's folder, after checking the free space.

        Raises:
            MachineError: the disk has too little space for all of it.
        """
        masks = self.num_photos * MASK_BYTES
        total = (self.download or 0) + self.unpack + self.write + masks
        check_space(folder, total, what=f"the dataset in {folder}")
        download = "of unknown size" if self.download is None else _in_gb(self.download)
        words = [] if self.download == 0 else [f"download {download}"]
        words += [f"unpack {_in_gb(self.unpack)}"] if self.unpack else []
        photos = f"masks of {self.num_photos:,} photos or fewer" if self.num_photos else "masks"
        words.append(f"write {photos}" + (f", about {_in_gb(masks + self.write)}" if self.num_photos else ""))
        return f"To do: {', '.join(words)}. {_in_gb(shutil.disk_usage(folder).free)} are free in {folder}."


def _in_gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 50_000_000 else f"{num_bytes / 1e6:.1f} MB"


class Source(Protocol):
    """Where a dataset comes from. Every dataset gets the splits and folders of Fashionpedia."""

    @property
    def kind(self) -> str:
        """Fashionpedia, sample, coco or masks."""

    @property
    def address(self) -> str:
        """Where it is, as the user wrote it."""

    def fingerprint(self) -> str:
        """Return a text that changes when any input file has changed.

        Raises:
            MissingInputError: a local file is missing.
        """

    def collect(self, folder: Path, steps: Steps) -> None:
        """Put the photos, and annotation files if there are any, into the dataset's folder."""

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Write the masks of a split."""

    def needs(self, folder: Path) -> Needs:
        """Return what has to be downloaded and written for a dataset in `folder`, which exists."""

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the name and the licence of the collected data."""


@dataclass(frozen=True)
class MaskJob:
    """The masks of one split that a source has to write."""

    folder: Path
    """The dataset's folder, with the collected files."""
    split: OfficialSplit
    masks: Path
    """An empty folder for the masks."""
    classes: ClassList
    num_workers: int
    """Processes that write masks."""
    steps: Steps
    """Shows the progress."""
    limit: int | None = None
    """Most photos that get a mask, chosen as `annotations.choose` does; None: all."""

    @property
    def photos(self) -> Path:
        """The folder of the collected photos of the split."""
        return self.folder / self.split.photos


@dataclass
class MaskCounts:
    """Counts over the masks of some photos, and the records that were skipped."""

    num_masks: int
    pixels_per_class: Int64Array
    """(num_classes,) over all masks."""
    photos_per_class: Int64Array
    """(num_classes,) masks in which the class occurs."""
    problems: list[Problem] = field(default_factory=list)
    num_annotations: int = 0
    """Annotations that were painted."""
    short_polygons: list[Any] = field(default_factory=list)
    """Ids of annotations that were painted without one of their polygons, which has fewer than three points."""

    @classmethod
    def zero(cls, num_classes: int) -> MaskCounts:
        """Return the counts over no masks."""
        return cls(0, np.zeros(num_classes, dtype=np.int64), np.zeros(num_classes, dtype=np.int64))

    def add_mask(self, pixels: Int64Array) -> None:
        """Add one mask, given its (num_classes,) pixels per class."""
        self.num_masks += 1
        self.pixels_per_class += pixels
        self.photos_per_class += pixels > 0

    def split(self, photos: str, masks: str, count: int) -> Split:
        """Return the split of a manifest that has these counts."""
        return Split(photos, masks, count, tuple(self.pixels_per_class.tolist()), tuple(self.photos_per_class.tolist()))

    def add(self, other: MaskCounts) -> None:
        """Add the counts of other photos."""
        self.num_masks += other.num_masks
        self.pixels_per_class += other.pixels_per_class
        self.photos_per_class += other.photos_per_class
        self.problems += other.problems
        self.num_annotations += other.num_annotations
        self.short_polygons += other.short_polygons
