"""The photos of a split with their masks, wherever they lie: what a loader asks of them, and those in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from clothseg.data.manifest import stem_of
from clothseg.data.pair import read_pair
from clothseg.types import UInt8Array


class PhotoPairs(Protocol):
    """Photos with their masks, by index from 0."""

    def __len__(self) -> int:
        """Return how many pairs there are."""

    def name(self, index: int) -> str:
        """Return the path of a photo inside its folder, without the suffix."""

    def number(self, index: int) -> int:
        """Return the photo's place among all photos sorted by name, which its augmentation depends on."""

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8, at the photo's own size.

        Raises:
            DataError: one of them cannot be read, or they do not fit together; the message names the file.
            MissingInputError: one of them is not there.
        """

    def expect(self, shards: Sequence[int]) -> None:
        """Hear which shards are needed soon, the first of them first, where photos lie in shards."""


class FilePairs:
    """Pairs that are files in two folders.

    Args:
        pairs: (photo, mask) paths, as `manifest.pairs` returns them.
        folder: folder of the photos; names are relative to it.
        num_classes: mask values from here on are refused.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], folder: Path, *, num_classes: int) -> None:
        # Strings: workers copy what they touch, and tens of thousands of Path objects would be hundreds of megabytes.
        self._photos = [str(photo) for photo, _ in pairs]
        self._masks = [str(mask) for _, mask in pairs]
        self._folder = folder
        self._num_classes = num_classes

    def __len__(self) -> int:
        return len(self._photos)

    def name(self, index: int) -> str:
        """Return the path of a photo inside its folder, without the suffix."""
        return stem_of(Path(self._photos[index]).relative_to(self._folder).as_posix())

    def number(self, index: int) -> int:
        """Return `index`: the pairs are sorted by name."""
        return index

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Read a photo and its mask; see `PhotoPairs.read`."""
        return read_pair(Path(self._photos[index]), Path(self._masks[index]), num_classes=self._num_classes)

    def expect(self, shards: Sequence[int]) -> None:
        """Do nothing: all files are there."""
