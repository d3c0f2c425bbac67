"""The photos that an exported model is checked on: the user's own, a data set's, or drawn ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from clothseg.data.fashionpedia import VAL
from clothseg.data.manifest import DATASET_FOLDER, MANIFEST_NAME, Manifest, pairs
from clothseg.data.report import SAMPLE
from clothseg.data.sample import sample_picture
from clothseg.errors import SettingError
from clothseg.labels import ClassList
from clothseg.pictures import read_mask, read_picture
from clothseg.prediction.sources import find_photos
from clothseg.types import UInt8Array

_Item = TypeVar("_Item")

NUM_DRAWN = 4
"""Drawn photos are much alike; more would show no more."""


@dataclass(frozen=True)
class CheckPhotos:
    """Where the photos of a check come from."""

    origin: str
    """In words, for people; the model file keeps it, so it names no folder of this machine but the last."""
    paths: tuple[tuple[Path, Path | None], ...] = ()
    """(photo, mask of the truth or None) of each; none of them where the photos are drawn."""
    is_real: bool = True
    """Whether they are photos, not drawings: only then the check says anything of bfloat16."""

    @property
    def has_truth(self) -> bool:
        """Whether every photo has a mask of the truth."""
        return bool(self.paths) and all(mask is not None for _, mask in self.paths)

    def __len__(self) -> int:
        return len(self.paths) or NUM_DRAWN

    def __iter__(self) -> Iterator[tuple[UInt8Array, UInt8Array | None]]:
        """Yield (H, W, 3) uint8 RGB and the true mask, (H, W) uint8, or None, of each photo.

        Raises:
            InputError: a photo or a mask cannot be read.
        """
        if not self.paths:
            for seed in range(NUM_DRAWN):
                yield sample_picture(seed), None
        for photo, mask in self.paths:
            yield read_picture(photo).pixels, None if mask is None else read_mask(mask)


def choose_photos(photos: Sequence[Path], data_path: Path, classes: ClassList, *, count: int) -> CheckPhotos:
    """Choose the photos to check a model on.

    Args:
        photos: photos or folders; they come first.
        data_path: where no photo is given, the validation split of the data set prepared here is taken, with its
            masks if it has the classes of the model. Where there is none either, photos are drawn.
        classes: the model's.
        count: as many are taken, spread evenly over those found.

    Raises:
        InputError: a photo or folder is not there, or the data set is damaged.
        SettingError: `count` is below 1.
    """
    if count < 1:
        raise SettingError(f"The check needs photos, not {count}. Pass --count 1 or more")
    if photos:
        search = find_photos([str(one) for one in photos], output=Path())
        if search.problems:
            raise search.problems[0]
        chosen = tuple((one.path, None) for one in _spread(search.photos, count))
        return CheckPhotos(f"{len(chosen)} photos of {', '.join(one.name for one in photos)}", chosen)
    folder = data_path / DATASET_FOLDER
    if (folder / MANIFEST_NAME).is_file():
        manifest = Manifest.read(folder)
        if VAL.name in manifest.splits:
            labelled = _spread(pairs(folder, manifest.splits[VAL.name]), count)
            fits = manifest.classes.names == classes.names
            if labelled:
                return CheckPhotos(
                    f"{len(labelled)} validation photos of {manifest.name}",
                    tuple((photo, mask if fits else None) for photo, mask in labelled),
                    is_real=manifest.source != SAMPLE,
                )
    return CheckPhotos(f"{NUM_DRAWN} drawn pictures", is_real=False)


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    places = np.unique(np.linspace(0, len(items) - 1, num=min(count, len(items))).round().astype(int))
    return [items[place] for place in places]
