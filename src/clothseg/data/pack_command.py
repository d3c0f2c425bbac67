"""The command `clothseg pack`: a prepared data set becomes a few large files that can be trained from afar."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.errors import SettingError
from clothseg.progress import show_step

_LEAST_MB = 1


@dataclass(frozen=True)
class Pack:
    """Pack a prepared data set into shards: tar files with their photos and masks, and an index.

    Copy the folder to an object store or a web server with any tool, and train from there:
    uv run train.py --shards s3://bucket/folder

    Args:
        data_path: Folder of the prepared data set.
        output: Folder of the shards.
        shard_size: Megabytes of one shard.
    """

    data_path: Path = Path("data")
    output: Path = Path("shards")
    shard_size: float = 256.0

    def run(self) -> int:
        """Pack, print the folder and say what was written."""
        if not self.shard_size >= _LEAST_MB:
            raise SettingError(f"--shard-size is {self.shard_size:g}. Allowed: megabytes, from {_LEAST_MB} up")
        index = pack(
            self.data_path / DATASET_FOLDER, self.output, shard_bytes=round(self.shard_size * 1e6), steps=show_step
        )
        print(self.output)
        parts = [
            f"{sum(shard.count for shard in shards):,} photos of {name} in {len(shards):,} shards"
            for name, shards in index.splits.items()
        ]
        size = sum(shard.size for shards in index.splits.values() for shard in shards)
        print(f"Packed {', '.join(parts)}, {size / 1e9:.2f} GB.", file=sys.stderr)
        return 0
