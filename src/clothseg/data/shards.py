"""The format of a packed dataset: an index of shards, each a tar file that lists its photos, masks and checksums."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from clothseg.data.manifest import Manifest, stem_of
from clothseg.errors import DataError, SettingError, command

INDEX_NAME = "shards.json"
"""Written last: where it exists, the shards are complete."""
CONTENTS_NAME = "__contents__"
"""Name of the last file in a shard. WebDataset skips names with two underscores at either end."""
VERSION = 1
"""Of the index, and of the contents of a shard."""

_PACK_AGAIN = f'Pack the dataset again with "{command("pack")}"'


@dataclass(frozen=True)
class Shard:
    """One tar file of photos and masks."""

    name: str
    """Path from the index, with slashes."""
    count: int
    """Photos in it, each with its mask."""
    size: int
    """Bytes of the file."""
    sha256: str
    """Of the file, in hexadecimal digits."""
    contents_offset: int
    """First byte of the list of its contents, its last file."""
    contents_size: int
    """Bytes of that list."""

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Shard:
        """Check and return a shard of the index.

        Raises:
            DataError: its values are impossible.
        """
        shard = cls(**{field.name: row[field.name] for field in fields(cls)})
        path = PurePosixPath(shard.name)
        if not path.parts or ".." in path.parts or path.is_absolute() or "\\" in shard.name or ":" in shard.name:
            raise DataError(f"its shard {shard.name!r} is outside the dataset")
        numbers = (shard.count, shard.size, shard.contents_offset, shard.contents_size)
        if not all(type(number) is int and number >= 0 for number in numbers) or shard.count < 1:
            raise DataError(f"its shard {shard.name} has impossible numbers: {numbers}")
        if shard.contents_offset + shard.contents_size > shard.size:
            raise DataError(f"its shard {shard.name} ends before its list of contents")
        if len(shard.sha256) != 64 or not set(shard.sha256) <= set("0123456789abcdef"):
            raise DataError(f"its shard {shard.name} has the SHA-256 {shard.sha256!r}")
        return shard


@dataclass(frozen=True)
class ShardIndex:
    """The index of a packed dataset."""

    manifest: Manifest
    """That of the prepared dataset; its folders are not part of the packed one."""
    splits: dict[str, tuple[Shard, ...]]
    """By name, as in the manifest."""

    def to_json(self) -> bytes:
        """Return the bytes of `shards.json`."""
        values = {
            "version": VERSION,
            "manifest": json.loads(self.manifest.to_json()),
            "splits": {name: [asdict(shard) for shard in shards] for name, shards in self.splits.items()},
        }
        return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes, *, where: str) -> ShardIndex:
        """Read the bytes of `shards.json`.

        Args:
            content: the bytes.
            where: the file's path or address, for errors.

        Raises:
            DataError: they are damaged, or of a later version.
        """
        try:
            values = json.loads(content)
            if values["version"] != VERSION:
                raise DataError(f"its version is {values['version']!r}, this clothseg reads {VERSION}")
            manifest = Manifest.from_dict(values["manifest"])
            splits = {str(name): tuple(map(Shard.from_dict, rows)) for name, rows in values["splits"].items()}
            for name, split in manifest.splits.items():
                count = sum(shard.count for shard in splits[name])
                if count != split.count:
                    raise DataError(f"its shards of {name} have {count} photos, its manifest says {split.count}")
        except (ValueError, TypeError, KeyError, AttributeError, SettingError, RecursionError) as error:
            reason = error.args[0] if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{where} is not the index of a packed dataset ({reason}). {_PACK_AGAIN}") from error
        return cls(manifest, splits)


class PackedPair(NamedTuple):
    """Where a photo and its mask are in a shard."""

    photo: str
    """Path of the photo inside its folder, with its suffix."""
    number: int
    """The photo's index among all photos of the split, sorted by name."""
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


def contents_to_json(pairs: Sequence[PackedPair]) -> bytes:
    """Return the bytes of a shard's last file: one list for each field of its pairs."""
    values = {name: [getattr(pair, name) for pair in pairs] for name in PackedPair._fields}
    return json.dumps({"version": VERSION, **values}, separators=(",", ":")).encode()


def contents_from_json(content: bytes, shard: Shard) -> list[PackedPair]:
    """Read the bytes of a shard's last file.

    Raises:
        DataError: they are damaged, or do not fit the shard.
    """
    try:
        values = json.loads(content)
        if values["version"] != VERSION:
            raise ValueError(f"its contents are of version {values['version']!r}, this clothseg reads {VERSION}")
        names = [str(name) for name in values["photo"]]
        numbers = np.array([values[field] for field in PackedPair._fields[1:]], dtype=np.int64)
        if numbers.shape != (len(PackedPair._fields) - 1, shard.count) or len(names) != shard.count:
            raise ValueError(f"it lists {len(names)} photos, the index {shard.count}")
        _, photo, photo_size, mask, mask_size, _ = numbers
        if (numbers < 0).any() or (photo + photo_size > mask).any() or (mask + mask_size > shard.size).any():
            raise ValueError(f"it lists files outside its {shard.size:,} bytes")
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DataError(
            f"Shard {shard.name} does not list its contents ({type(error).__name__}: {error}). {_PACK_AGAIN}"
        ) from error
    return [PackedPair(name, *row) for name, row in zip(names, numbers.T.tolist(), strict=True)]
