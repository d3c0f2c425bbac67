"""Photos with their masks as they lie in shards: one read for both, checked, and decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from clothseg.data.pair import Encoded, decode_pair
from clothseg.data.shard_contents import PackedPair, ShardContents
from clothseg.data.shard_files import ShardFiles
from clothseg.data.shard_order import ShardOrder
from clothseg.data.shards import Shard
from clothseg.errors import DataError, MissingInputError
from clothseg.types import UInt8Array

try:
    from isal.isal_zlib import crc32
except ModuleNotFoundError:  # the same sum, more slowly
    from zlib import crc32


_TRIES = 3
"""How often a read may find its shard gone again: other processes make room in the cache."""


class PackedPairs:
    """The pairs of one split; see `PhotoPairs`.

    A shard is opened for each read and closed after it, so that what the cache deletes is gone at once, and loader
    processes share nothing.

    Args:
        shards: of the split.
        order: in which they are drawn; it knows which photo lies in which shard.
        files: where the shards are.
        num_classes: mask values from here on are refused.
    """

    def __init__(self, shards: Sequence[Shard], order: ShardOrder, files: ShardFiles, *, num_classes: int) -> None:
        self._shards = tuple(shards)
        self._order = order
        self._files = files
        self._num_classes = num_classes
        self._contents: OrderedDict[int, ShardContents] = OrderedDict()

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """Return the path of a photo inside its folder, without the suffix; reads its shard's contents."""
        return self._find(index)[1].stem

    def number(self, index: int) -> int:
        """Return the photo's place among all of the split, sorted by name; reads its shard's contents."""
        return self._find(index)[1].number

    def expect(self, shards: Sequence[int]) -> None:
        """Have these shards at hand soon."""
        self._files.expect([self._shards[number] for number in shards])

    def read(self, index: int) -> tuple[UInt8Array, UInt8Array]:
        """Read a photo and its mask; see `PhotoPairs.read`.

        Raises:
            MachineError: the store, the network or the disk stands in the way.
        """
        shard, pair = self._find(index)
        content = self._read(shard, pair.photo_offset, pair.mask_offset + pair.mask_size - pair.photo_offset)
        photo, mask = _split(content, pair)
        if crc32(mask, crc32(photo)) != pair.crc32:
            if not self._files.discard(shard):
                raise _broken(shard, pair)
            content = self._read(shard, pair.photo_offset, len(content))
            photo, mask = _split(content, pair)
            if crc32(mask, crc32(photo)) != pair.crc32:
                raise _broken(shard, pair)
        where = f"in shard {shard.name}"
        return decode_pair(
            Encoded(photo, f"{pair.photo} {where}"),
            Encoded(mask, f"{pair.stem}.mask.png {where}"),
            num_classes=self._num_classes,
        )

    def _find(self, index: int) -> tuple[Shard, PackedPair]:
        number, place = self._order.locate(index)
        shard = self._shards[number]
        contents = self._contents.get(number)
        if contents is None:
            content = self._read(shard, shard.contents_offset, shard.contents_size)
            contents = ShardContents.from_json(content, count=shard.count, size=shard.size, name=shard.name)
            self._contents[number] = contents
            if len(self._contents) > self._order.window:
                self._contents.popitem(last=False)
        return shard, contents[place]

    def _read(self, shard: Shard, offset: int, size: int) -> bytes:
        for _ in range(_TRIES):
            content = _read_part(self._files.path(shard), offset, size)
            if content is None:
                continue
            if len(content) == size:
                return content
            if not self._files.discard(shard):
                break
        raise DataError(f"Shard {shard.name} ends before byte {offset + size:,}. Copy it again, or pack anew")


def _read_part(path: Path, offset: int, size: int) -> bytes | None:
    """Return bytes of a file, or None if it was deleted in the meantime."""
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(offset)
            return stream.read(size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MissingInputError(f"{path} cannot be read ({error.strerror}). Check its permissions") from error


def _split(content: bytes, pair: PackedPair) -> tuple[bytes, bytes]:
    return content[: pair.photo_size], content[pair.mask_offset - pair.photo_offset :]


def _broken(shard: Shard, pair: PackedPair) -> DataError:
    return DataError(
        f"{pair.photo} or its mask is broken in shard {shard.name}: the checksum differs. Copy the shard again, "
        "or pack anew"
    )
