"""The index of a packed data set: its manifest, and name, size and checksum of each shard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from clothseg.data.manifest import Manifest
from clothseg.errors import DataError, SettingError

INDEX_NAME = "shards.json"
"""Written last: where it is, the shards are whole."""
VERSION = 1

_PACK_AGAIN = 'Pack the data set again with "clothseg pack"'


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
    """First byte of the list of what it holds, its last file."""
    contents_size: int
    """Bytes of that list."""


@dataclass(frozen=True)
class ShardIndex:
    """What a packed data set says about itself."""

    manifest: Manifest
    """That of the prepared data set; its folders are not part of the packed one."""
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
            splits = {str(name): tuple(_shard(row) for row in rows) for name, rows in values["splits"].items()}
            for name, split in manifest.splits.items():
                count = sum(shard.count for shard in splits[name])
                if count != split.count:
                    raise DataError(f"its shards of {name} hold {count} photos, its manifest says {split.count}")
        except (ValueError, TypeError, KeyError, AttributeError, SettingError, RecursionError) as error:
            reason = error.args[0] if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{where} is not the index of a packed data set ({reason}). {_PACK_AGAIN}") from error
        return cls(manifest, splits)


def _shard(row: Mapping[str, Any]) -> Shard:
    shard = Shard(**{field.name: row[field.name] for field in fields(Shard)})
    path = PurePosixPath(shard.name)
    if not path.parts or ".." in path.parts or path.is_absolute() or "\\" in shard.name or ":" in shard.name:
        raise DataError(f"its shard {shard.name!r} is outside the data set")
    numbers = (shard.count, shard.size, shard.contents_offset, shard.contents_size)
    if not all(type(number) is int and number >= 0 for number in numbers) or shard.count < 1:
        raise DataError(f"its shard {shard.name} has impossible numbers: {numbers}")
    if shard.contents_offset + shard.contents_size > shard.size:
        raise DataError(f"its shard {shard.name} ends before its list of contents")
    if len(shard.sha256) != 64 or not set(shard.sha256) <= set("0123456789abcdef"):
        raise DataError(f"its shard {shard.name} has the SHA-256 {shard.sha256!r}")
    return shard
