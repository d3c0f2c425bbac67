"""The pairs of a packed dataset, read from shards in a folder or from copies that fsspec makes of a remote store's."""

from __future__ import annotations

import errno
import hashlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.data.pair import decode_pair
from clothseg.data.shard_cache import ShardCache
from clothseg.data.shards import INDEX_NAME, PackedPair, Shard, ShardIndex, contents_from_json
from clothseg.errors import (
    ClothsegError,
    DataError,
    MachineError,
    MissingExtraError,
    MissingInputError,
    SettingError,
    check_input,
    command,
    install,
    one_line,
    require,
)
from clothseg.settings import Settings
from clothseg.types import UInt8Array

TRIES = 4
"""How often a request is made before it has failed."""
PAUSE = 1.0
"""Seconds before the second request; each further pause is twice as long."""

_READS = 3
"""How often a shard is read before it counts as broken: other processes delete copies from the cache."""
_DOWNLOADS = 2
"""Downloads with a wrong checksum after which the file in the store counts as broken, not the transfer."""
_CONNECT_SECONDS, _SILENT_SECONDS = 30, 60
_REMOTE = ("s3", "gs", "http", "https")
_FINAL = (FileNotFoundError, PermissionError, ImportError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ShardSource:
    """A packed dataset, and how it is read."""

    address: str
    """Folder, or address in a remote store."""
    cache_path: Path
    """Folder of copies of a remote store's shards."""
    cache_bytes: int
    """Limit on the size of that folder."""
    window: int
    """Shards whose photos are mixed; as many more are fetched in advance."""

    @classmethod
    def from_settings(cls, settings: Settings) -> ShardSource | None:
        """Return what the settings describe, or None where they name no packed dataset."""
        if settings.shards is None:
            return None
        size = round(settings.cache_size * 1e9)
        return cls(settings.shards, settings.cache_path, size, settings.shuffle_shards)

    def files(self) -> ShardFiles:
        """Return the dataset's files.

        Raises:
            SettingError: the address names a kind of store that is not supported.
        """
        kind = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", self.address)  # one letter is a drive of Windows
        if kind is None:
            return ShardFiles(Path(self.address))
        if kind[1] not in _REMOTE:
            raise SettingError(
                f"{self.address} is in a store of kind {kind[1]}. Allowed: a folder, s3://, gs://, http:// or https://"
            )
        return RemoteShardFiles(self.address, ShardCache(self.cache_path, limit=self.cache_bytes))

    def check_cache(self, index: ShardIndex, *, num_processes: int) -> None:
        """Refuse a cache in which shards would be deleted before their photos are drawn.

        Args:
            index: of the dataset.
            num_processes: training processes on this machine, which share the cache.

        Raises:
            SettingError: it is too small; the message says how large it must be.
        """
        sizes = [shard.size for shards in index.splits.values() for shard in shards]
        # Two windows, and one shard that validation reads in between.
        needed = min(sum(sizes), max(sizes, default=0) * num_processes * (2 * self.window + 1))
        if needed > self.cache_bytes and isinstance(self.files(), RemoteShardFiles):
            raise SettingError(
                f"CACHE_SIZE is {self.cache_bytes / 1e9:g} GB, but {num_processes} processes that mix "
                f"{self.window} shards each need {needed / 1e9:.2f} GB. Raise it, or lower SHUFFLE_SHARDS"
            )


def read_manifest(settings: Settings) -> Manifest:
    """Read the manifest of the dataset that the settings name.

    Raises:
        MissingInputError: there is no dataset.
        DataError: it is damaged.
        SettingError, MachineError, MissingExtraError: a store that cannot be read.
    """
    source = ShardSource.from_settings(settings)
    return Manifest.read(settings.data_path / DATASET_FOLDER) if source is None else source.files().index().manifest


class ShardFiles:
    """Shards in a local folder, read where they are.

    Args:
        folder: folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def index(self) -> ShardIndex:
        """Read the index.

        Raises:
            MissingInputError: there is none.
            DataError: it is damaged.
            MachineError, MissingExtraError: the store does not answer, or its client is not installed.
        """
        path = self._folder / INDEX_NAME
        check_input(path, "Packed dataset", f'Run "{command("pack")}" first')
        return ShardIndex.from_json(path.read_bytes(), where=str(path))

    def path(self, shard: Shard) -> Path:
        """Return the path of a shard on this machine.

        Raises:
            DataError: the store's file is broken.
            MissingInputError: the store has no such file.
            MachineError: the store, the network or the disk failed.
        """
        return self._folder / shard.name

    def prefetch(self, shards: Sequence[Shard]) -> None:
        """Fetch the shards that are needed soon in the background, the first of them first."""

    def discard(self, shard: Shard) -> bool:
        """Delete a broken copy; return whether the shard can be fetched again."""
        return False


class RemoteShardFiles(ShardFiles):
    """Shards in a remote store, some of them copied to this machine.

    A copy is named by its checksum, so that datasets, processes and later trainings share one cache. Loader processes
    that need one shard at the same time download it once.

    Args:
        address: of the folder, such as s3://bucket/packed.
        cache: where copies are.
    """

    def __init__(self, address: str, cache: ShardCache) -> None:
        self.address = address.rstrip("/")
        self.cache = cache
        self._used: set[str] = set()
        self._expected: tuple[Shard, ...] = ()

    def index(self) -> ShardIndex:
        """Read the index; see `ShardFiles.index`."""
        content = self._request(INDEX_NAME, lambda files, path: bytes(files.cat_file(path)))
        return ShardIndex.from_json(content, where=f"{self.address}/{INDEX_NAME}")

    def path(self, shard: Shard) -> Path:
        """Return the path of a shard's copy, downloaded if needed; see `ShardFiles.path`."""
        path = self.cache.path(shard.sha256)
        if shard.sha256 in self._used and path.exists():
            return path
        if not self.cache.has(shard.sha256, size=shard.size, touch=True):
            self._download(shard, wait=True)
        self._used.add(shard.sha256)
        return path

    def prefetch(self, shards: Sequence[Shard]) -> None:
        """Download the shards that are missing in a thread; its errors are left to `path`."""
        if tuple(shards) != self._expected:
            self._expected = tuple(shards)
            threading.Thread(target=self._prefetch, args=(self._expected,), daemon=True).start()

    def discard(self, shard: Shard) -> bool:
        """Delete a broken copy; return True, as the store has another."""
        self._used.discard(shard.sha256)
        self.cache.path(shard.sha256).unlink(missing_ok=True)
        return True

    def _prefetch(self, shards: tuple[Shard, ...]) -> None:
        for shard in shards:
            if self._expected is not shards:  # the next window has begun
                return
            try:
                if not self.cache.has(shard.sha256, size=shard.size):
                    self._download(shard, wait=False)
            except ClothsegError:
                return

    def _download(self, shard: Shard, *, wait: bool) -> None:
        where = f"{self.address}/{shard.name}"
        with self.cache.adding(shard.sha256, size=shard.size, wait=wait) as part:
            if part is None:  # another process downloads it, or has just finished
                return
            for number in range(1, _DOWNLOADS + 1):
                self._request(shard.name, lambda files, path: _copy(files, path, part, shard, where))
                problem = _problem(part, shard)
                if problem is None:
                    return
                if number == _DOWNLOADS:
                    raise DataError(f"Shard {where} is broken: {problem}. Upload it again, or pack the dataset again")

    def _request(self, name: str, request: Callable[[Any, str], Answer]) -> Answer:
        """Return the answer of `request(file_system, path)`, which is repeated while the store does not answer.

        fsspec has one client per process and makes a new one after a fork.
        """
        where, pause = f"{self.address}/{name}", PAUSE
        for number in range(1, TRIES + 1):
            try:
                return request(*_open(where))
            except ClothsegError:
                raise
            except Exception as error:  # clients of stores raise nearly anything
                if isinstance(error, OSError) and error.errno in _FULL_DISK:
                    raise
                if number == TRIES or isinstance(error, _FINAL):
                    raise _named(where, error) from error
                time.sleep(pause)
                pause *= 2
        raise AssertionError("unreachable")


def _open(where: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the file's path in it."""
    fsspec = require("fsspec", "remote")
    options: dict[str, Any] = {}
    if where.startswith("http"):
        # aiohttp ends a transfer after five minutes, however fast it is; only silence should end it.
        aiohttp = require("aiohttp", "remote")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        options["client_kwargs"] = {"timeout": timeout}
    files, path = fsspec.core.url_to_fs(where, **options)
    return files, path


def _copy(files: Any, path: str, part: Path, shard: Shard, where: str) -> None:
    """Download a shard, unless the store says that it has more bytes than were reserved."""
    size = files.size(path)
    if size is not None and size > shard.size:
        raise DataError(f"{where} has {size:,} bytes, the index says {shard.size:,}. Upload the packed dataset again")
    files.get_file(path, str(part))


def _problem(path: Path, shard: Shard) -> str | None:
    size = path.stat().st_size
    if size != shard.size:
        return f"it has {size:,} bytes, the index says {shard.size:,}"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    return None if found == shard.sha256 else f"its SHA-256 is {found}, the index says {shard.sha256}"


def _named(where: str, error: Exception) -> ClothsegError:
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"{where} is not there. Check the address, or upload the packed dataset again")
    if isinstance(error, ImportError):
        return MissingExtraError(f"{one_line(error)}. Install it with: {install('remote')}")
    if isinstance(error, PermissionError):
        return MachineError(f"{where} may not be read ({one_line(error)}). Check your credentials for the store")
    return MachineError(f"{where} cannot be read: {type(error).__name__}: {one_line(error)}. Check network and address")


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
        """Return the photo's index among all photos sorted by name; reads the contents of its shard."""
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
        names = f"{pair.photo} in shard {shard.name}", f"{pair.stem}.mask.png in shard {shard.name}"
        return decode_pair(photo, mask, names=names, num_classes=self._num_classes)

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
        for number in range(1, _READS + 1):
            path = self._files.path(shard)
            try:
                with path.open("rb", buffering=0) as stream:
                    stream.seek(offset)
                    content = stream.read(size)
            except OSError as error:
                if isinstance(error, FileNotFoundError) and number < _READS:
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


def _split(content: bytes, pair: PackedPair) -> tuple[bytes, bytes]:
    return content[: pair.photo_size], content[pair.mask_offset - pair.photo_offset :]


def _checksum(content: bytes, pair: PackedPair) -> int:
    photo, mask = _split(content, pair)
    return crc32(mask, crc32(photo))
