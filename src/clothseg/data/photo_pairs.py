"""The photos of a split with their masks, by index: from files in two folders, or from shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np

from clothseg.data.manifest import stem_of
from clothseg.data.pair import Encoded, decode_pair, read_pair
from clothseg.data.shard_files import ShardFiles
from clothseg.data.shards import PackedPair, Shard, contents_from_json
from clothseg.errors import DataError, MissingInputError
from clothseg.types import UInt8Array

_TRIES = 3
"""How often a shard is read before it counts as broken: other processes delete copies from the cache."""


class FilePairs:
    """Photos with their masks that are files in two folders, by index from 0.

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
        """Return the photo's place among all photos sorted by name, on which its augmentation depends."""
        return index

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8, at the photo's own size.

        Raises:
            DataError: one of them cannot be read, or they do not fit together; the message names the file.
            MissingInputError: one of them does not exist.
        """
        return read_pair(Path(self._photos[index]), Path(self._masks[index]), num_classes=self._num_classes)

    def prefetch(self, shards: Sequence[int]) -> None:
        """Do nothing: all files are local."""


class PackedPairs:
    """Photos with their masks that are in shards, by index from 0.

    A shard is opened for each read and closed after it, so that loader processes share nothing and the cache can delete
    it at any time.

    Args:
        shards: of the split; indices count their photos in this order.
        files: where the shards are.
        num_classes: mask values from here on are refused.
        window: shards whose contents are kept in memory.
    """

    def __init__(self, shards: Sequence[Shard], files: ShardFiles, *, num_classes: int, window: int) -> None:
        self._shards = tuple(shards)
        self._ends = np.cumsum([shard.count for shard in shards])
        self._files = files
        self._num_classes = num_classes
        self._window = window
        self._contents: dict[Shard, list[PackedPair]] = {}

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """Return the path of a photo inside its folder, without the suffix; reads the contents of its shard."""
        return self._find(index)[1].stem

    def number(self, index: int) -> int:
        """Return the photo's place among all photos sorted by name; reads the contents of its shard."""
        return self._find(index)[1].number

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8, after a check of their bytes.

        Raises:
            DataError: one of them is broken, or they do not fit together; the message names the shard.
            MissingInputError: the shard does not exist.
            MachineError: the store, the network or the disk failed.
        """
        shard, pair = self._find(index)
        content = self._read(shard, pair.photo_offset, pair.mask_offset + pair.mask_size - pair.photo_offset, pair)
        photo, mask = _split(content, pair)
        return decode_pair(
            Encoded(photo, f"{pair.photo} in shard {shard.name}"),
            Encoded(mask, f"{pair.stem}.mask.png in shard {shard.name}"),
            num_classes=self._num_classes,
        )

    def prefetch(self, shards: Sequence[int]) -> None:
        """Fetch shards that are needed soon in the background, the first of them first."""
        self._files.prefetch([self._shards[number] for number in shards])

    def _find(self, index: int) -> tuple[Shard, PackedPair]:
        if not 0 <= index < len(self):
            raise IndexError(f"Photo {index} of {len(self)}")
        number = int(np.searchsorted(self._ends, index, side="right"))
        shard = self._shards[number]
        if shard not in self._contents:
            content = self._read(shard, shard.contents_offset, shard.contents_size)
            self._contents[shard] = contents_from_json(content, shard)
            if len(self._contents) > self._window:
                del self._contents[next(iter(self._contents))]
        return shard, self._contents[shard][index - int(self._ends[number]) + shard.count]

    def _read(self, shard: Shard, offset: int, size: int, pair: PackedPair | None = None) -> bytes:
        """Return bytes of a shard, those of `pair` checked; a broken copy is fetched again."""
        problem = f"it ends before byte {offset + size:,}"
        for number in range(1, _TRIES + 1):
            path = self._files.path(shard)
            try:
                with path.open("rb", buffering=0) as stream:
                    stream.seek(offset)
                    content = stream.read(size)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and number < _TRIES:
                    continue
                raise MissingInputError(
                    f"Shard {path} cannot be read ({error.strerror}). Copy it again, or check its permissions"
                ) from error
            if len(content) == size:
                if pair is None or _checksum(content, pair) == pair.crc32:
                    return content
                problem = f"the checksum of {pair.photo} and its mask differs"
            if not self._files.discard(shard):
                break
        raise DataError(f"Shard {shard.name} is broken: {problem}. Copy it again, or pack the dataset again")


PhotoPairs = FilePairs | PackedPairs


def _split(content: bytes, pair: PackedPair) -> tuple[bytes, bytes]:
    return content[: pair.photo_size], content[pair.mask_offset - pair.photo_offset :]


def _checksum(content: bytes, pair: PackedPair) -> int:
    photo, mask = _split(content, pair)
    return crc32(mask, crc32(photo))
