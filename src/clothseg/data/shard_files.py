"""Where a shard's file is on this machine: in a folder as it lies, or in a bounded cache of a remote store."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from clothseg.data.shard_cache import CacheFolder
from clothseg.data.shard_store import RemoteStore
from clothseg.data.shards import Shard
from clothseg.errors import ClothsegError, DataError, MissingInputError

_UPLOADS = 2
"""Downloads with a wrong checksum after which the store's file is taken to be broken, not the transfer."""


class ShardFiles(Protocol):
    """Shards as files on this machine."""

    def path(self, shard: Shard) -> Path:
        """Return where the shard is, once it is there.

        Raises:
            DataError: it is broken.
            MissingInputError: it is not there.
            MachineError: the store, the network or the disk stands in the way.
        """

    def expect(self, shards: Sequence[Shard]) -> None:
        """Hear which shards are needed soon, the first of them first."""

    def discard(self, shard: Shard) -> bool:
        """Forget a copy that turned out to be broken; return whether another one can be had."""


class FolderFiles:
    """Shards in a local folder, read where they lie.

    Args:
        folder: folder of the index.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checked: set[str] = set()

    def path(self, shard: Shard) -> Path:
        """Return the shard's path; see `ShardFiles.path`. Its size is checked once in a process."""
        path = self._folder / shard.name
        if shard.name not in self._checked:
            try:
                size = path.stat().st_size
            except OSError as error:
                raise MissingInputError(
                    f"Shard {path} is not there ({error.strerror}). Copy the whole folder again"
                ) from error
            if size != shard.size:
                raise DataError(f"Shard {path} has {size:,} bytes, the index says {shard.size:,}. Copy it again")
            self._checked.add(shard.name)
        return path

    def expect(self, shards: Sequence[Shard]) -> None:
        """Do nothing: all shards are there."""

    def discard(self, shard: Shard) -> bool:
        """Return False: there is but the one file."""
        return False


class CachedFiles:
    """Shards of a remote store, of which some are copied to this machine.

    A copy is called by its checksum, so that data sets, processes and later trainings share one cache. Loader processes
    that want one shard at the same time download it once.

    Args:
        store: where the shards are.
        cache: where copies go.
    """

    def __init__(self, store: RemoteStore, cache: CacheFolder) -> None:
        self.store = store
        self.cache = cache
        self._used: set[str] = set()
        self._expected: tuple[str, ...] = ()

    def path(self, shard: Shard) -> Path:
        """Return the shard's copy, downloaded if need be; see `ShardFiles.path`."""
        path = self.cache.path(shard.sha256)
        if shard.sha256 in self._used and path.exists():
            return path
        if not self.cache.touch(shard.sha256, size=shard.size):
            self._download(shard, wait=True)
        self._used.add(shard.sha256)
        return path

    def expect(self, shards: Sequence[Shard]) -> None:
        """Download the shards that are not there, while the reading goes on; failures are left to `path`."""
        names = tuple(shard.sha256 for shard in shards)
        if names != self._expected:
            self._expected = names
            threading.Thread(target=self._run_ahead, args=(tuple(shards), names), daemon=True).start()

    def discard(self, shard: Shard) -> bool:
        """Delete the copy; return True, since the store has another."""
        self._used.discard(shard.sha256)
        self.cache.path(shard.sha256).unlink(missing_ok=True)
        return True

    def _run_ahead(self, shards: Sequence[Shard], names: tuple[str, ...]) -> None:
        for shard in shards:
            if self._expected != names:  # overtaken by the next window
                return
            try:
                if not self.cache.has(shard.sha256, size=shard.size):
                    self._download(shard, wait=False)
            except ClothsegError:
                return

    def _download(self, shard: Shard, *, wait: bool) -> None:
        with self.cache.adding(shard.sha256, size=shard.size, wait=wait) as part:
            if part is None:  # another process has it in hand, or has just finished
                return
            for number in range(1, _UPLOADS + 1):
                self.store.download(shard.name, part, size=shard.size)
                problem = _problem(part, shard)
                if problem is None:
                    return
                if number == _UPLOADS:
                    raise DataError(
                        f"Shard {self.store.address}/{shard.name} is broken: {problem}. Upload it again, or pack anew"
                    )


def _problem(path: Path, shard: Shard) -> str | None:
    size = path.stat().st_size
    if size != shard.size:
        return f"it has {size:,} bytes, the index says {shard.size:,}"
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != shard.sha256:
        return f"its SHA-256 is {found}, the index says {shard.sha256}"
    return None
