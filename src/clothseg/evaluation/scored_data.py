"""The photos to score: a split of a prepared data set, or a number of photos spread over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, MANIFEST_NAME, Manifest, pairs
from clothseg.data.pair import read_class_ids
from clothseg.errors import DataError, SettingError, check_input
from clothseg.labels import ClassList
from clothseg.types import UInt8Array


@dataclass(frozen=True)
class ScoredPhoto:
    """A photo and the path of its true mask."""

    name: str
    """Path inside the split's photo folder, with slashes."""
    path: Path
    truth_path: Path

    def truth(self, num_classes: int) -> UInt8Array:
        """Return the true class ids, (H, W) uint8.

        Raises:
            DataError: the mask cannot be read, or has an id of `num_classes` or more; the message names it.
        """
        truth = read_class_ids(self.truth_path)
        if (highest := int(truth.max(initial=0))) >= num_classes:
            raise DataError(
                f"Mask {self.truth_path} has class id {highest}; the data set has the ids 0 to {num_classes - 1}. "
                'Run "clothseg verify"'
            )
        return truth


@dataclass(frozen=True)
class ScoredData:
    """A data set's manifest and the photos to score."""

    manifest: Manifest
    split: str
    photos: tuple[ScoredPhoto, ...]

    @property
    def classes(self) -> ClassList:
        """The classes of the data set: those that get scores."""
        return self.manifest.classes


def open_data(data_path: Path, split_name: str, *, count: int | None = None) -> ScoredData:
    """Find the photos to score.

    Args:
        data_path: a DATA_PATH, or the data set's own folder in it.
        split_name: a split of the data set's manifest, such as val.
        count: score this many photos, spread evenly over the split; None scores all.

    Raises:
        MissingInputError: there is no prepared data set.
        DataError: the data set is damaged, or the split has no photos.
        SettingError: there is no such split, or `count` is below 1.
    """
    if count is not None and count < 1:
        raise SettingError(f"--count is {count}. Pass 1 or more")
    check_input(data_path, "Data folder", 'Pass one that "uv run data_prep.py" prepared', folder=True)
    folder = data_path / DATASET_FOLDER
    if not (folder / MANIFEST_NAME).is_file() and (data_path / MANIFEST_NAME).is_file():
        folder = data_path
    manifest = Manifest.read(folder)
    if split_name not in manifest.splits:
        raise SettingError(f"{folder} has no split {split_name!r}. It has: {', '.join(sorted(manifest.splits))}")
    split = manifest.splits[split_name]
    photos = tuple(
        ScoredPhoto(photo.relative_to(folder / split.photos).as_posix(), photo, mask)
        for photo, mask in pairs(folder, split)
    )
    if not photos:
        raise DataError(f'The split {split_name} of {folder} has no photos. Run "uv run data_prep.py" again')
    if count is not None:
        indices = np.linspace(0, len(photos) - 1, num=min(count, len(photos))).round().astype(int)
        photos = tuple(photos[index] for index in np.unique(indices))
    return ScoredData(manifest, split_name, photos)
