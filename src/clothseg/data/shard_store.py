"""Files of a packed data set, from a folder or through fsspec from s3://, gs:// and https://."""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from clothseg.errors import (
    ClothsegError,
    DataError,
    MachineError,
    MissingExtraError,
    MissingInputError,
    SettingError,
    one_line,
    require,
)

TRIES = 4
"""How often a request is made before it has failed."""
PAUSE = 1.0
"""Seconds before the second request; each further pause is twice as long."""

_CONNECT_SECONDS, _SILENT_SECONDS = 30, 60
_REMOTE = ("s3", "gs", "http", "https")
_NO_ANSWER_HELPS = (FileNotFoundError, PermissionError, ImportError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)

Answer = TypeVar("Answer")


def local_folder(address: str) -> Path | None:
    """Return the folder that `address` names, or None where it names a remote store.

    Raises:
        SettingError: it names a kind of store that is not read.

    >>> local_folder("s3://photos/packed") is None
    True
    """
    kind = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", address)  # one letter is a drive of Windows
    if kind is None:
        return Path(address)
    if kind[1] not in _REMOTE:
        raise SettingError(
            f"{address} is in a store of kind {kind[1]}. Allowed: a folder, s3://, gs://, http:// or https://"
        )
    return None


class RemoteStore:
    """A folder in a remote store.

    fsspec keeps one client per process and makes it anew after a fork, so nothing of it is held here.

    Args:
        address: of the folder, such as s3://bucket/packed.
    """

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")

    def read(self, name: str) -> bytes:
        """Return the bytes of a small file.

        Raises:
            MissingInputError: it is not there.
            MachineError: the store does not answer, or refuses.
            MissingExtraError: what speaks to such a store is not installed.
        """
        return self._ask(name, lambda files, path: bytes(files.cat_file(path)))

    def download(self, name: str, target: Path, *, size: int) -> None:
        """Write a file's bytes to `target`.

        Raises:
            DataError: it is larger than `size` bytes.
            MissingInputError, MachineError, MissingExtraError: as in `read`.
        """
        callback = require("fsspec.callbacks", "remote").Callback
        where = f"{self.address}/{name}"

        def get(files: Any, path: str) -> None:
            files.get_file(path, str(target), callback=_limited(callback, size, where)())

        self._ask(name, get)

    def _ask(self, name: str, request: Callable[[Any, str], Answer]) -> Answer:
        where, pause = f"{self.address}/{name}", PAUSE
        for number in range(1, TRIES + 1):
            try:
                return request(*_open(where))
            except ClothsegError:
                raise
            except Exception as error:  # clients of stores raise nearly anything
                if isinstance(error, OSError) and error.errno in _FULL_DISK:
                    raise
                if number == TRIES or isinstance(error, _NO_ANSWER_HELPS):
                    raise _named(where, error) from error
                time.sleep(pause)
                pause *= 2
        raise AssertionError("unreachable")


def _open(where: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the file's path in it."""
    fsspec = require("fsspec", "remote")
    options: dict[str, Any] = {}
    if where.startswith("http"):
        # aiohttp ends a transfer after five minutes, however fast it goes; only silence should end it.
        aiohttp = require("aiohttp", "remote")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
        options["client_kwargs"] = {"timeout": timeout}
    files, path = fsspec.core.url_to_fs(where, **options)
    return files, path


def _limited(callback: type[Any], size: int, where: str) -> type[Any]:
    class Limit(callback):  # type: ignore[misc]  # fsspec is not always there
        """Ends a download that would fill the disk."""

        received = 0

        def relative_update(self, inc: int = 1) -> None:
            self.received += inc
            if self.received > size:
                raise DataError(
                    f"{where} has more than the {size:,} bytes that the index says. Upload the packed data set again"
                )

    return Limit


def _named(where: str, error: Exception) -> ClothsegError:
    if isinstance(error, FileNotFoundError):
        return MissingInputError(f"{where} is not there. Check the address, or upload the packed data set again")
    if isinstance(error, ImportError):
        return MissingExtraError(f'{one_line(error)}. Install it with: pip install "clothseg[remote]"')
    if isinstance(error, PermissionError):
        return MachineError(f"{where} may not be read ({one_line(error)}). Check your credentials for the store")
    return MachineError(f"{where} cannot be read: {type(error).__name__}: {one_line(error)}. Check network and address")
