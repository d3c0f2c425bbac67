"""The interface of a data source: the files that it collects, the masks that it writes, and their counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clothseg.data.fashionpedia import OfficialSplit
from clothseg.data.report import Problem, SplitReport
from clothseg.labels import ClassList
from clothseg.progress import Steps
from clothseg.types import Int64Array


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

    def add(self, other: MaskCounts) -> None:
        """Add the counts of other photos."""
        self.num_masks += other.num_masks
        self.pixels_per_class += other.pixels_per_class
        self.photos_per_class += other.photos_per_class
        self.problems += other.problems
        self.num_annotations += other.num_annotations
        self.short_polygons += other.short_polygons
