"""A folder of copies with a limit on its size: processes share it, and the least recently used copies are deleted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from clothseg.errors import ClothsegError, MachineError, one_line

WAIT_SECONDS = 600.0
"""How long to wait for space that other downloads have reserved; by then they are complete or have failed."""

_COPY, _PART, _LOCK = ".shard", ".part", ".lock"


class ShardCache:
    """Copies of files in one folder, never more bytes than `limit` in all, including running downloads.

    Each copy has a lock while it is written, and the folder has one while space is made. The system
    releases them when a process ends, even when it is killed, so that nothing stays reserved.

    Args:
        folder: made when the first copy is written.
        limit: bytes.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, name: str) -> Path:
        """Return the path of the copy called `name`, complete or missing."""
        return self.folder / f"{name}{_COPY}"

    def has(self, name: str, *, size: int, touch: bool = False) -> bool:
        """Return whether the complete copy exists; `touch` marks it as used now."""
        try:
            if touch:
                os.utime(self.path(name))
            return self.path(name).stat().st_size == size
        except OSError:
            return False

    @contextlib.contextmanager
    def adding(self, name: str, *, size: int, wait: bool) -> Iterator[Path | None]:
        """Yield a path to write a copy to; it becomes the copy when the block ends without an error.

        Args:
            name: of the copy.
            size: its bytes, for which space is reserved.
            wait: wait while another process adds the same copy; if not, yield None at once.

        Yields:
            The path, or None where the copy exists already or another process adds it.

        Raises:
            MachineError: the folder cannot be written, or the copy is larger than the limit.
        """
        with self._named_failures(), contextlib.ExitStack() as locks:
            self.folder.mkdir(parents=True, exist_ok=True)
            is_free = True
            try:
                locks.enter_context(self._lock(name).acquire(timeout=-1 if wait else 0))
            except Timeout:
                is_free = False
            if not is_free or self.has(name, size=size):
                yield None
                return
            part = self._make_space(name, size)
            try:
                yield part
                part.replace(self.path(name))
            finally:
                part.unlink(missing_ok=True)

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.folder / f"{name}{_LOCK}", fallback_to_soft=False)

    @contextlib.contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except ClothsegError:
            raise
        except OSError as error:
            raise MachineError(
                f"Cannot write to the cache {self.folder}: {error.strerror or one_line(error)}. "
                "Free some space, or choose another CACHE_PATH"
            ) from error

    def _make_space(self, name: str, size: int) -> Path:
        """Delete the least recently used copies until `size` more bytes fit; return a file that reserves them."""
        if size > self.limit:
            raise MachineError(
                f"A shard of {size / 1e9:.2f} GB does not fit the cache of {self.limit / 1e9:.2f} GB in {self.folder}. "
                "Raise CACHE_SIZE, or pack smaller shards"
            )
        part = self.folder / f"{name}.{size}{_PART}"
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            with self._lock("folder"):
                if self._delete_copies(size, part):
                    part.touch()
                    return part
            time.sleep(0.1)
        raise MachineError(
            f"No space for a shard in the cache {self.folder}: other downloads fill its {self.limit / 1e9:.2f} GB. "
            "Raise CACHE_SIZE"
        )

    def _delete_copies(self, size: int, part: Path) -> bool:
        reserved = sum(self._reserved(path) for path in self.folder.glob(f"*{_PART}") if path != part)
        copies = []
        for path in self.folder.glob(f"*{_COPY}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                copies.append((status.st_mtime_ns, status.st_size, path))
        free = self.limit - reserved - sum(one[1] for one in copies)
        for _, freed, path in sorted(copies):
            if free >= size:
                break
            path.unlink(missing_ok=True)
            free += freed
        return free >= size

    def _reserved(self, part: Path) -> int:
        """Return the bytes that a download has reserved; the file of a killed process is removed."""
        name, size = part.name.removesuffix(_PART).rsplit(".", 1)
        try:
            with self._lock(name).acquire(timeout=0):
                part.unlink(missing_ok=True)
        except Timeout:
            return int(size)
        return 0
