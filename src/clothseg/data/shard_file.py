"""One shard written: a plain tar file of photos and masks, which says in its last file what lies where."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote
from zlib import crc32

from clothseg.data.manifest import stem_of
from clothseg.data.shard_contents import CONTENTS_NAME, PackedPair, ShardContents
from clothseg.data.shards import Shard
from clothseg.pictures import whole_file

_BLOCK = tarfile.BLOCKSIZE
_END = bytes(2 * _BLOCK)
"""Two blocks of zeros end a tar file. Source: POSIX.1, pax, "ustar Interchange Format"."""


class ShardFile:
    """A shard that is being written.

    The same pairs give the same bytes, whenever and by whomever they are packed.

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

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, photo: str, number: int, photo_bytes: bytes, mask_bytes: bytes) -> None:
        """Append a photo and its mask.

        Args:
            photo: path of the photo inside its folder, with its suffix.
            number: its place among all of the split, sorted by name.
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
        """Append the list of contents and the end; return what the index says of the shard."""
        contents = ShardContents.of(self._pairs).to_json()
        offset = self._add(CONTENTS_NAME, contents)
        self._write(_END)
        return Shard(self._name, len(self._pairs), self.size, self._digest.hexdigest(), offset, len(contents))

    def _add(self, name: str, content: bytes) -> int:
        """Append a file and return the place of its first byte."""
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


@contextmanager
def new_shard(folder: Path, name: str) -> Iterator[ShardFile]:
    """Give a shard to fill, which takes its name when the block has ended well and the disk has it.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    with whole_file(folder / name, sync=True) as temporary, temporary.open("wb") as stream:
        yield ShardFile(stream, name)


def key_of(photo: str) -> str:
    """Return how a photo and its mask are called in a shard, without suffix.

    WebDataset takes what stands before the first dot for the key, and leaves out folders such as `__a__`; so dots are
    written as %2E, and whatever is not plain ASCII as in an address.

    >>> key_of("street/a.b é.jpg")
    'street/a%2Eb%20%C3%A9'
    """
    key = quote(stem_of(photo), safe="/").replace(".", "%2E")
    return f"%5F{key[1:]}" if key.startswith("__") else key
