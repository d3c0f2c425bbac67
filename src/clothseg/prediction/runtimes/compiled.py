"""Compiled networks as files in the user's cache, so that the next command need not compile them again."""

from __future__ import annotations

import hashlib
import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from clothseg.encoding import zlib_module
from clothseg.errors import MachineError
from clothseg.types import UInt8Array

MAX_BYTES = 256_000_000
"""All files together: about eleven sizes of the starter model. The least recently used are deleted."""
_CRC = 4
"""Bytes at a file's end; SHA-256 would take as long as decoding the photo."""


def cache_folder() -> Path:
    """Return the folder of downloaded and compiled models: `clothseg` in XDG_CACHE_HOME, or in ~/.cache.

    Raises:
        MachineError: neither the environment nor the system knows the user's home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "clothseg"
    except RuntimeError as error:
        raise MachineError("This user has no home folder for the cache. Set XDG_CACHE_HOME to a folder") from error


@dataclass(frozen=True)
class CompiledNetworks:
    """The compiled networks of one model for one machine: a file for each size of input, which ends in its CRC-32.

    A cache that cannot be read or written is as good as an empty one: `read` and `write` raise nothing.
    """

    folder: Path

    @classmethod
    def of(cls, *decisive: object) -> CompiledNetworks:
        """Return those of a model; `decisive` is all that a compiled network depends on besides the size.

        Raises:
            MachineError: see `cache_folder`.
        """
        digest = hashlib.sha256(repr(decisive).encode()).hexdigest()
        return cls(cache_folder() / "compiled" / digest[:32])

    def is_empty(self) -> bool:
        """Return whether there is none yet."""
        return not any(self.folder.glob("*.blob"))

    def read(self, size: tuple[int, int]) -> UInt8Array | None:
        """Return what `write` was given for this size of input, or None."""
        path = self._path(size)
        try:
            content = np.memmap(path, dtype=np.uint8, mode="c")
        except (OSError, ValueError):  # an empty file is a ValueError
            return None
        with suppress(OSError):  # another user's
            os.utime(path)
        compiled = content[:-_CRC]
        return compiled if _crc(compiled) == content[-_CRC:].tobytes() else None

    @staticmethod
    def release(compiled: UInt8Array) -> None:
        """Let the system take back the memory of what `read` returned; its pages are read again where they are used."""
        if hasattr(mmap, "MADV_DONTNEED"):
            compiled._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]

    def write(self, size: tuple[int, int], compiled: memoryview) -> None:
        """Store a compiled network, and delete others where there are too many."""
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            temporary = self._path(size).with_suffix(f".{uuid4().hex}")
            try:
                with temporary.open("wb") as stream:
                    stream.write(compiled)
                    stream.write(_crc(compiled))
                temporary.replace(self._path(size))
            finally:
                temporary.unlink(missing_ok=True)
            _delete_oldest(self.folder.parent)

    def _path(self, size: tuple[int, int]) -> Path:
        return self.folder / f"{size[0]}x{size[1]}.blob"


def _crc(content: memoryview | UInt8Array) -> bytes:
    return int(zlib_module().crc32(content)).to_bytes(_CRC, "little")


def _delete_oldest(folder: Path) -> None:
    files = [(path.stat(), path) for path in folder.glob("*/*")]
    total = 0
    for status, path in sorted(files, key=lambda file: -file[0].st_mtime):
        total += status.st_size
        if total > MAX_BYTES:
            path.unlink(missing_ok=True)
