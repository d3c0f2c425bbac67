"""Fashionpedia as it is published: its files, where they unpack to, and how much there is of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NAME = "Fashionpedia"

LICENCE = "CC-BY-4.0 (annotations); each photo under the licence its record in the annotation file names"
"""Source: the card of huggingface.co/datasets/detection-datasets/fashionpedia, and `licenses` in the annotation files.
It does not cover a mirror that holds other photos in the same layout."""


@dataclass(frozen=True)
class OfficialSplit:
    """One split of Fashionpedia: where its files are in the download, and in which folders they end up.

    Names in the download are relative to the root of the source, with slashes; folders are relative to the data set's.
    """

    name: str
    """train or val, as the manifest calls it."""
    archive: str
    """The zip file with the photos."""
    annotations: str
    """The COCO file with the instances."""
    photos: str
    """Folder of the photos, in the archive and on disk. The photos of val lie in test, among those of the test set."""
    masks: str
    """Folder of the painted masks."""
    num_photos: int
    """How many photos the official annotations describe."""
    num_archived: int
    """How many photos the official archive holds."""

    @property
    def files(self) -> tuple[str, str]:
        """The names in the download that this split needs."""
        return self.archive, self.annotations


# Source of the names: README of github.com/cvdfoundation/fashionpedia, section Download.
# Source of the counts: Jia et al., Fashionpedia (ECCV 2020), arxiv.org/abs/2004.12276: 45,623 photos to train on,
# 1,158 to validate with. val_test2020.zip holds these and the photos of the test set, 3,200 in all.
TRAIN = OfficialSplit(
    name="train",
    archive="images/train2020.zip",
    annotations="annotations/instances_attributes_train2020.json",
    photos="train",
    masks="train_masks",
    num_photos=45_623,
    num_archived=45_623,
)
VAL = OfficialSplit(
    name="val",
    archive="images/val_test2020.zip",
    annotations="annotations/instances_attributes_val2020.json",
    photos="test",
    masks="val_masks",
    num_photos=1_158,
    num_archived=3_200,
)
SPLITS = (TRAIN, VAL)

TEST_ANNOTATIONS = "annotations/info_test2020.json"
"""The photos of the test set, without instances. Nothing needs it, and a mirror may leave it out."""

OFFICIAL_BYTES = {
    TRAIN.archive: 3_344_364_592,
    VAL.archive: 236_499_034,
    TRAIN.annotations: 542_193_045,
}
"""Sizes that the official server gave in October 2026, to plan with; a mirror may hold more or less.
Source: the HEAD answers that public repositories noted down. The size of the val annotations is not known."""


def local_path(folder: Path, name: str) -> Path:
    """Return where the file called `name` in the download lies in a data set's `folder`: beside the photo folders.

    >>> local_path(Path("data/fashionist"), "images/train2020.zip").as_posix()
    'data/fashionist/train2020.zip'
    """
    return folder / name.rsplit("/", 1)[-1]
