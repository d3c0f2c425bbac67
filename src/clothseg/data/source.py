"""What a data set is prepared from: the one interface that Fashionpedia, the sample and one's own data share."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clothseg.data.painting import Tally
from clothseg.data.report import SplitReport
from clothseg.labels import ClassList
from clothseg.pictures import whole_file
from clothseg.progress import Steps

SAMPLE = "sample"


@dataclass(frozen=True)
class SplitFolders:
    """One split to prepare: its name and its folders inside the data set's."""

    name: str
    photos: str
    masks: str


TRAIN = SplitFolders("train", "train", "train_masks")
VAL = SplitFolders("val", "test", "val_masks")
"""The photos of val lie in test, as those of Fashionpedia do, whose layout every data set gets."""


class Source(Protocol):
    """Where a data set comes from."""

    @property
    def kind(self) -> str:
        """Fashionpedia, sample, coco or masks."""

    @property
    def address(self) -> str:
        """Where it is, as the user gave it."""

    @property
    def splits(self) -> Sequence[SplitFolders]:
        """What there is to prepare."""

    def fingerprint(self) -> str:
        """Return what changes when any file that goes in has changed.

        Raises:
            MissingInputError: a local file is not there.
        """

    def bring(self, folder: Path, steps: Steps) -> None:
        """Put the photos, and annotation files if there are any, into the data set's folder."""

    def fill_masks(
        self, folder: Path, split: SplitFolders, masks: Path, *, classes: ClassList, num_workers: int, steps: Steps
    ) -> tuple[SplitReport, Tally]:
        """Put the masks of a split into the empty folder `masks`."""

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the name and the licence of what `bring` brought."""


def hash_of(values: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def files_fingerprint(paths: Sequence[Path]) -> str:
    """Return a hash over the names, sizes and times of files; one that the system refuses is known by its name only."""
    rows = []
    for path in paths:
        try:
            found = path.stat()
            rows.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
        except OSError as error:  # what needs the file names it
            rows.append([str(path), error.errno or 0, 0])
    return hash_of(rows)


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all; onto itself it stays as it is.

    Raises:
        MachineError: the disk is full or cannot be written.
    """
    if source.resolve() == target.resolve():
        return
    with whole_file(target, sync=True) as temporary:
        shutil.copyfile(source, temporary)
