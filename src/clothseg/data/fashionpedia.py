"""Fashionpedia as it is published: its files, and the folders of its splits, which every dataset gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "Fashionpedia"

LICENCE = "CC-BY-4.0 (annotations); each photo under the licence its record in the annotation file names"
"""Source: the card of huggingface.co/datasets/detection-datasets/fashionpedia, and `licenses` in the annotation files.
It does not cover a mirror that holds other photos in the same layout."""


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
# validation photos. val_test2020.zip holds these and the photos of the test set, 3,200 in total.
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


def local_path(folder: Path, name: str) -> Path:
    """Return the path of the file called `name` in the download in a dataset's `folder`: beside the photo folders.

    >>> local_path(Path("data/fashionist"), "images/train2020.zip").as_posix()
    'data/fashionist/train2020.zip'
    """
    return folder / name.rsplit("/", 1)[-1]
