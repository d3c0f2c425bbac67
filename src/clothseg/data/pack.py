"""`clothseg pack`: writes a prepared dataset as shards, tar files that can be streamed, and their index last."""

from __future__ import annotations

import hashlib
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from zlib import crc32

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs, stem_of
from clothseg.data.pair import read_file
from clothseg.data.processes import lock_folder
from clothseg.data.shards import CONTENTS_NAME, INDEX_NAME, PackedPair, Shard, ShardIndex, contents_to_json
from clothseg.errors import DataError, MachineError, SettingError, command, path_problem
from clothseg.pictures import whole_file, write_whole
from clothseg.progress import Steps, hide_step, show_step

_LEAST_MB = 1
_ORDER_SEED = 0
"""Photos of one day or street are often neighbours; a fixed random order separates them and gives the same bytes."""
_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
"""Two blocks of zeros end a tar file. Source: POSIX.1, pax, "ustar Interchange Format"."""


@dataclass(frozen=True)
class Pack:
    """Pack a prepared dataset into shards: tar files with their photos and masks, and an index.

    Copy the folder to an object store or a web server with any tool, and train from there:
    uv run train.py --shards s3://bucket/folder

    Args:
        data_path: Folder of the prepared dataset.
        output: Folder of the shards.
        shard_size: Megabytes of one shard.
    """

    data_path: Path = Path("data")
    output: Path = Path("shards")
    shard_size: float = 256.0

    def run(self) -> int:
        """Pack, print the folder and report what was written."""
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


def pack(folder: Path, output: Path, *, shard_bytes: int, steps: Steps = hide_step) -> ShardIndex:
    """Write the prepared dataset in `folder` as shards into `output`.

    Training photos go into the shards in random order, so that a few shards are a random sample of the dataset;
    validation photos in their own order. Photos without a mask are left out. A run that was killed leaves no index, and
    the next one writes everything again.

    Args:
        folder: `DATA_PATH / DATASET_FOLDER`.
        output: folder of the shards; made if needed.
        shard_bytes: a shard ends before it would become larger, unless a single pair is larger.
        steps: shows the progress.

    Returns:
        The index.

    Raises:
        MissingInputError, DataError: there is no prepared dataset, or it is damaged.
        SettingError: `output` contains a packed dataset already.
        MachineError: `output` cannot be written, or another run writes it.
    """
    manifest = Manifest.read(folder)
    found = {name: pairs(folder, split) for name, split in manifest.splits.items()}
    for name, split in manifest.splits.items():
        if len(found[name]) != split.count:
            raise DataError(
                f"{folder} has {len(found[name])} photos with masks to call {name}, its manifest says {split.count}. "
                f'Run "{command("prepare")}" again, or "{command("verify")}" for the whole list'
            )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"Cannot write to {output}: {path_problem(error)}. Choose another --output") from error
    if (output / INDEX_NAME).exists():
        raise SettingError(f"{output} contains a packed dataset already. Choose another --output, or remove it first")
    with lock_folder(output):
        splits = {
            name: _pack_split(name, found[name], folder / split.photos, output, shard_bytes, steps)
            for name, split in manifest.splits.items()
        }
        index = ShardIndex(manifest, splits)
        write_whole(output / INDEX_NAME, index.to_json(), sync=True)
    return index


def _pack_split(
    name: str, found: Sequence[tuple[Path, Path]], photos: Path, output: Path, shard_bytes: int, steps: Steps
) -> tuple[Shard, ...]:
    shards: list[Shard] = []
    with steps(f"Packing {name}") as advance, ExitStack() as opened:
        writer: ShardWriter | None = None
        for done, (photo_path, number, photo, mask) in enumerate(_read_pairs(name, found), start=1):
            if writer is not None and writer.size + len(photo) + len(mask) > shard_bytes:
                shards.append(writer.finish())
                opened.close()
                writer = None
            if writer is None:
                shard_name = f"{name}-{len(shards):05}.tar"
                temporary = opened.enter_context(whole_file(output / shard_name, sync=True))
                writer = ShardWriter(opened.enter_context(temporary.open("wb")), shard_name)
            writer.add(photo_path.relative_to(photos).as_posix(), number, photo, mask)
            advance(done, len(found))
        if writer is not None:
            shards.append(writer.finish())
    return tuple(shards)


def _read_pairs(name: str, found: Sequence[tuple[Path, Path]]) -> Iterator[tuple[Path, int, bytes, bytes]]:
    """Yield path and number of each photo, and the bytes of the photo and of its mask, in the order of packing."""
    order = np.arange(len(found))
    if name == "train":
        order = np.random.default_rng(_ORDER_SEED).permutation(order)
    for number in order.tolist():
        photo, mask = found[number]
        contents = read_file(photo), read_file(mask)
        if not all(contents):
            raise DataError(f'{photo} or its mask is empty. Run "{command("verify")}" for the whole list')
        yield photo, number, *contents


class ShardWriter:
    """A shard that is being written; equal pairs give equal bytes.

    Args:
        stream: empty, open for writing.
        name: the shard's path from the index.
    """

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._digest = hashlib.sha256()
        self._pairs: list[PackedPair] = []
        self.size = 0

    def add(self, photo: str, number: int, photo_bytes: bytes, mask_bytes: bytes) -> None:
        """Append a photo and its mask.

        Args:
            photo: path of the photo inside its folder, with its suffix.
            number: its index among all of the split, sorted by name.
            photo_bytes: of the photo's file.
            mask_bytes: of the mask's file.
        """
        key = key_of(photo)
        photo_offset = self._add(key + Path(photo).suffix.lower(), photo_bytes)
        mask_offset = self._add(f"{key}.mask.png", mask_bytes)
        checksum = crc32(mask_bytes, crc32(photo_bytes))
        self._pairs.append(
            PackedPair(photo, number, photo_offset, len(photo_bytes), mask_offset, len(mask_bytes), checksum)
        )

    def finish(self) -> Shard:
        """Append the list of contents and the end; return the shard's entry in the index."""
        contents = contents_to_json(self._pairs)
        offset = self._add(CONTENTS_NAME, contents)
        self._write(_END)
        return Shard(self._name, len(self._pairs), self.size, self._digest.hexdigest(), offset, len(contents))

    def _add(self, name: str, content: bytes) -> int:
        """Append a file and return the offset of its first byte."""
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        self._write(entry.tobuf(tarfile.PAX_FORMAT))
        offset = self.size
        self._write(content)
        self._write(bytes(-len(content) % _BLOCK))
        return offset

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
        self._digest.update(content)
        self.size += len(content)


def key_of(photo: str) -> str:
    """Return the name of a photo and of its mask in a shard, without suffix.

    WebDataset ends a key at the first dot and skips folders such as `__a__`; so dots are written as %2E, and characters
    that are not plain ASCII as in a URL.

    >>> key_of("street/a.b é.jpg")
    'street/a%2Eb%20%C3%A9'
    """
    key = quote(stem_of(photo), safe="/").replace(".", "%2E")
    return f"%5F{key[1:]}" if key.startswith("__") else key
