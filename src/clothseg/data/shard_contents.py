"""What lies where in one shard, which the shard itself says in its last file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clothseg.data.manifest import stem_of
from clothseg.errors import DataError
from clothseg.types import Int64Array

CONTENTS_NAME = "__contents__"
"""Name of the last file in a shard. WebDataset skips names with two underscores at either end."""

VERSION = 1
_COLUMNS = ("number", "photo_offset", "photo_size", "mask_offset", "mask_size", "crc32")


@dataclass(frozen=True)
class PackedPair:
    """Where a photo and its mask lie in a shard."""

    photo: str
    """Path of the photo inside its folder, with its suffix."""
    number: int
    """The photo's place among all photos of the split, sorted by name."""
    photo_offset: int
    """First byte of the photo's file in the shard."""
    photo_size: int
    """Bytes of the photo's file."""
    mask_offset: int
    """First byte of the mask's file, behind the photo."""
    mask_size: int
    """Bytes of the mask's file."""
    crc32: int
    """Checksum over the bytes of the photo and then of the mask."""

    @property
    def stem(self) -> str:
        """Path of the photo inside its folder, without the suffix."""
        return stem_of(self.photo)


class ShardContents:
    """The pairs of one shard, in arrays: a loader holds several shards' at a time.

    Args:
        photos: path of each photo inside its folder.
        columns: (num_pairs, 6) int64: the other fields of `PackedPair`, in their order.
    """

    def __init__(self, photos: Sequence[str], columns: Int64Array) -> None:
        self._photos = photos
        self._columns = columns

    @classmethod
    def of(cls, pairs: Sequence[PackedPair]) -> ShardContents:
        """Return the contents of a shard that holds `pairs`."""
        rows = [[getattr(pair, name) for name in _COLUMNS] for pair in pairs]
        return cls([pair.photo for pair in pairs], np.array(rows, dtype=np.int64).reshape(-1, len(_COLUMNS)))

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, place: int) -> PackedPair:
        """Return the pair at `place`, counted from 0."""
        return PackedPair(self._photos[place], *self._columns[place].tolist())

    def to_json(self) -> bytes:
        """Return the bytes of the shard's last file."""
        values = {name: self._columns[:, place].tolist() for place, name in enumerate(_COLUMNS)}
        return json.dumps({"version": VERSION, "photo": list(self._photos), **values}, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes, *, count: int, size: int, name: str) -> ShardContents:
        """Read the bytes of the shard's last file.

        Args:
            content: the bytes.
            count: pairs that there must be.
            size: bytes of the shard; every file must lie within.
            name: of the shard, for errors.

        Raises:
            DataError: they are damaged, or do not fit the shard.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            if values["version"] != VERSION:
                raise ValueError(f"its contents are of version {values['version']!r}, this clothseg reads {VERSION}")
            columns = np.array([values[one] for one in _COLUMNS], dtype=np.int64).T.reshape(-1, len(_COLUMNS))
            photos = [str(photo) for photo in values["photo"]]
            _check(photos, columns, count=count, size=size)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise DataError(
                f"Shard {name} does not say what it holds ({type(error).__name__}: {error}). "
                'Pack the data set again with "clothseg pack"'
            ) from error
        return cls(photos, np.ascontiguousarray(columns))


def _check(photos: Sequence[str], columns: Int64Array, *, count: int, size: int) -> None:
    if not len(photos) == len(columns) == count:
        raise ValueError(f"it lists {len(photos)} photos, the index {count}")
    photo_end, mask_end = columns[:, 1] + columns[:, 2], columns[:, 3] + columns[:, 4]
    if (columns < 0).any() or (photo_end > columns[:, 3]).any() or (mask_end > size).any():
        raise ValueError(f"it lists files outside its {size:,} bytes")
