"""A folder of copies with a limit on its size, which processes share and the longest unused copies leave first."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from clothseg.errors import ClothsegError, MachineError, one_line

if sys.platform != "win32":
    import fcntl

WAIT_SECONDS = 600.0
"""How long to wait for room that other downloads have taken; by then they are done or have failed."""

_COPY, _PART, _HOLD, _LOCK = ".shard", ".part", ".hold", ".lock"


class CacheFolder:
    """Copies of files in one folder, never more bytes than `limit` in all, those on their way included.

    Processes agree through locks that the system drops when their holder ends, however it ends. Windows has none:
    there, two processes may download the same file twice.

    Args:
        folder: made when the first copy comes.
        limit: bytes.
    """

    def __init__(self, folder: Path, *, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    def path(self, name: str) -> Path:
        """Return where the copy called `name` is, if it is there."""
        return self.folder / f"{name}{_COPY}"

    def has(self, name: str, *, size: int) -> bool:
        """Return whether the whole copy is there."""
        try:
            return self.path(name).stat().st_size == size
        except OSError:
            return False

    def touch(self, name: str, *, size: int) -> bool:
        """Return whether the whole copy is there, and if so note that it is used."""
        try:
            os.utime(self.path(name))
        except OSError:
            return False
        return self.has(name, size=size)

    @contextlib.contextmanager
    def adding(self, name: str, *, size: int, wait: bool) -> Iterator[Path | None]:
        """Give a path to write a copy to, with room made for it; it becomes the copy when the block ends well.

        Args:
            name: of the copy.
            size: bytes that it will have.
            wait: for another process that is adding the same copy; if not, None is given at once.

        Yields:
            The path, or None where the copy is there already or another process adds it.

        Raises:
            MachineError: the folder cannot be written, or the copy does not fit the limit.
        """
        with self._named_failures(), self._held(self.folder / f"{name}{_HOLD}", wait=wait) as is_ours:
            if not is_ours or self.has(name, size=size):
                yield None
                return
            part = self._make_room(name, size)
            try:
                yield part
                part.replace(self.path(name))
            finally:
                part.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            yield
        except ClothsegError:
            raise
        except OSError as error:
            raise MachineError(
                f"Cannot write to the cache {self.folder}: {error.strerror or one_line(error)}. "
                "Free some space, or choose another CACHE_PATH"
            ) from error

    @contextlib.contextmanager
    def _held(self, path: Path, *, wait: bool) -> Iterator[bool]:
        """Hold `path` for this block; yield whether that succeeded. What is left of it afterwards is removed."""
        if sys.platform == "win32":
            yield True
            return
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                yield False
                return
            if _is_at(descriptor, path):
                break
            os.close(descriptor)  # renamed or removed by its last holder while we waited
        try:
            yield True
        finally:
            if _is_at(descriptor, path):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def _make_room(self, name: str, size: int) -> Path:
        """Delete the longest unused copies until `size` bytes more fit; return a file that reserves them."""
        if size > self.limit:
            raise MachineError(
                f"A shard of {size / 1e9:.2f} GB does not fit the cache of {self.limit / 1e9:.2f} GB in {self.folder}. "
                "Raise CACHE_SIZE, or pack smaller shards"
            )
        part = self.folder / f"{name}.{size}{_PART}"
        end = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < end:
            with self._alone():
                if self._delete_copies(size, part):
                    part.write_bytes(b"")
                    return part
            time.sleep(0.1)
        raise MachineError(
            f"No room for a shard in the cache {self.folder}: other downloads fill its {self.limit / 1e9:.2f} GB. "
            "Raise CACHE_SIZE"
        )

    def _delete_copies(self, size: int, part: Path) -> bool:
        self._remove_abandoned(part)
        copies = []
        for path in self.folder.glob(f"*{_COPY}"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                copies.append((status.st_mtime_ns, status.st_size, path))
        reserved = sum(_reserved(path) for path in self.folder.glob(f"*{_PART}") if path != part)
        free = self.limit - reserved - sum(one[1] for one in copies)
        for _, freed, path in sorted(copies):
            if free >= size:
                break
            path.unlink(missing_ok=True)
            free += freed
        return free >= size

    def _remove_abandoned(self, part: Path) -> None:
        """Remove what killed processes had begun: nobody holds it any more."""
        if sys.platform == "win32":
            return
        for path in self.folder.glob(f"*{_PART}"):
            hold = path.with_name(path.name.split(".")[0] + _HOLD)
            if path != part and not _is_held(hold):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if sys.platform == "win32":
            yield
            return
        descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _reserved(part: Path) -> int:
    size = part.name.removesuffix(_PART).rpartition(".")[2]
    return int(size) if size.isdecimal() else 0


def _is_held(hold: Path) -> bool:
    try:
        descriptor = os.open(hold, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
