"""The pairs of a packed dataset, read photo by photo from shards in a folder or, through fsspec, in a remote store."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, Manifest, stem_of
from clothseg.data.pair import decode_pair
from clothseg.errors import (
    ClothsegError,
    DataError,
    MachineError,
    MissingExtraError,
    MissingInputError,
    SettingError,
    command,
    install,
    one_line,
    require,
)
from clothseg.settings import Settings
from clothseg.types import UInt8Array

INDEX_NAME = "shards.json"
"""Written last: where it exists, the dataset is complete."""
VERSION = 2
"""Of the index. Version 1 listed the shards and their contents in another way."""
ROW = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("size", "<u4"), ("crc32", "<u4")])
"""Where a photo and its mask are: number of the shard, first byte, bytes and checksum of their part of the tar file."""
TAR_END = bytes(2 * tarfile.BLOCKSIZE)
"""Two blocks of zeros end a tar file. Source: POSIX.1, pax, "ustar Interchange Format"."""

PAUSES = (1.0, 2.0, 4.0)
"""Seconds before a request to a remote store is repeated, again and again."""

_REMOTE = ("s3", "gs", "http", "https")
_FINAL = (FileNotFoundError, PermissionError, ImportError)
_PACK_AGAIN = f'Copy it again, or pack the dataset again with "{command("pack")}"'


def shard_name(split: str, number: int) -> str:
    """Return the name of a shard: `train-00003.tar`."""
    return f"{split}-{number:05}.tar"


def index_to_json(manifest: Manifest) -> bytes:
    """Return the bytes of `shards.json`."""
    return json.dumps({"version": VERSION, "manifest": json.loads(manifest.to_json())}, indent=1).encode()


def read_manifest(settings: Settings) -> Manifest:
    """Read the manifest of the dataset that the settings name.

    Raises:
        MissingInputError: there is no dataset.
        DataError: it is damaged.
        SettingError, MachineError, MissingExtraError: a store that cannot be read.
    """
    if settings.shards is None:
        return Manifest.read(settings.data_path / DATASET_FOLDER)
    return read_packed_manifest(Store(settings.shards))


def read_packed_manifest(store: Store) -> Manifest:
    """Read the manifest of a packed dataset; the folders that it names are not part of it.

    Raises:
        MissingInputError, DataError, MachineError: there is no packed dataset, it is damaged, or it cannot be read.
    """
    (content,) = store.read([Part(INDEX_NAME)])
    try:
        values = json.loads(content)
        if values["version"] != VERSION:
            raise DataError(f"its version is {values['version']!r}, this clothseg reads {VERSION}")
        return Manifest.from_dict(values["manifest"])
    except (ValueError, TypeError, KeyError, AttributeError, SettingError, RecursionError) as error:
        reason = error.args[0] if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
        raise DataError(
            f"{store.path(INDEX_NAME)} is not the index of a packed dataset ({reason}). {_PACK_AGAIN}"
        ) from error


class Part(NamedTuple):
    """Bytes of a file in a store: all of them, or some with their checksum."""

    name: str
    start: int | None = None
    size: int | None = None
    crc32: int | None = None

    def checked(self, answer: Any) -> Any:
        """Return what a store answered, bytes or an exception, or what is wrong with the bytes."""
        is_cut = isinstance(answer, Exception) and "range not satisfiable" in str(answer).lower().replace(" is ", " ")
        if self.start is None or self.size is None or (isinstance(answer, Exception) and not is_cut):
            return answer
        if is_cut or len(answer) < self.size:
            return DataError(f"it ends before byte {self.start + self.size:,}")
        return DataError("a checksum differs") if self.crc32 not in (None, crc32(answer)) else answer


class Store:
    """A folder on this machine, or the address of one in a remote store, whose files are read in parts.

    Requests to a remote store are made at the same time, and repeated where they fail or give wrong bytes.

    Args:
        address: of the folder, such as s3://bucket/packed.

    Raises:
        SettingError: the address names a kind of store that is not supported.
    """

    def __init__(self, address: str) -> None:
        kind = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", address)  # one letter is a drive of Windows
        if kind is not None and kind[1] not in _REMOTE:
            raise SettingError(
                f"{address} is in a store of kind {kind[1]}. Allowed: a folder, s3://, gs://, http:// or https://"
            )
        self.address = address.rstrip("/") or address
        self._kind = "file" if kind is None else kind[1]

    def path(self, name: str) -> str:
        """Return the path or address of a file."""
        return f"{self.address}/{name}"

    def read(self, parts: Sequence[Part]) -> list[bytes]:
        """Return the bytes of each part.

        Raises:
            MissingInputError: one of the files is not there.
            DataError: a file is cut or changed.
            MachineError, MissingExtraError: the store does not answer, or its client is not installed.
        """
        answers: list[Any] = [None] * len(parts)
        pending = list(range(len(parts)))
        for pause in (*PAUSES, None) if self._kind != "file" else (None,):
            for number, answer in zip(pending, self._request([parts[number] for number in pending]), strict=True):
                answers[number] = answer
            pending = [number for number in pending if isinstance(answers[number], Exception)]
            if not pending:
                return answers
            error = answers[pending[0]]
            if pause is None or isinstance(error, _FINAL):
                break
            time.sleep(pause)
        raise self._named(parts[pending[0]], error) from error

    def check_parts(self) -> None:
        """Refuse a web server that sends a whole shard where a photo was requested.

        Raises:
            MachineError: it does.
        """
        if self._kind.startswith("http") and len(*self.read([Part(INDEX_NAME, 0, 1)])) > 1:
            raise MachineError(
                f"The web server of {self.address} does not send parts of a file (HTTP Range). "
                "Use one that does, such as nginx, or copy the folder to this machine"
            )

    def _request(self, parts: Sequence[Part]) -> list[Any]:
        """Return the bytes of each part, or the error."""
        require("fsspec", "remote")
        try:
            files, root = _open(self.address, self._kind, os.getpid())
            starts = [part.start for part in parts]
            ends = [None if part.start is None else part.start + (part.size or 0) for part in parts]
            answers = files.cat_ranges([f"{root}/{part.name}" for part in parts], starts, ends, on_error="return")
        except Exception as error:  # noqa: BLE001 - clients of stores raise nearly anything
            return [error] * len(parts)
        return [part.checked(answer) for part, answer in zip(parts, answers, strict=True)]

    def _named(self, part: Part, error: Exception) -> ClothsegError:
        where, reason = self.path(part.name), one_line(error)
        if isinstance(error, DataError):
            return DataError(f"Shard {where} is broken: {reason}. {_PACK_AGAIN}")
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            what = f"Packed dataset not found: {where}" if part.name == INDEX_NAME else f"{where} is not there"
            return MissingInputError(
                f'{what}. Check the address, or run "{command("pack")}" first and copy all its files'
            )
        if isinstance(error, ImportError):
            return MissingExtraError(f"{reason}. Install it with: {install('remote')}")
        if isinstance(error, PermissionError):
            return MachineError(
                f"{where} may not be read ({reason}). Check its permissions, or your credentials for the store"
            )
        return MachineError(f"{where} cannot be read: {type(error).__name__}: {reason}. Check network and address")


@functools.cache
def _open(address: str, kind: str, process: int) -> tuple[Any, str]:
    """Return fsspec's file system of a folder, and the folder's path in it; each process has its own.

    The cache keeps them all: were the parent's deleted in a forked process, that would end the parent's connections.
    """
    fsspec = require("fsspec", "remote")
    file_system: tuple[Any, str] = (fsspec.filesystem("file"), address) if kind == "file" else fsspec.url_to_fs(address)
    return file_system


class PackedPairs:
    """Photos with their masks that are in the shards of one split, by index from 0, sorted by name.

    The manifest says that there are `count`. Mask values from `num_classes` on are refused.

    Raises:
        MissingInputError, DataError, MachineError: its list of photos is missing, damaged, or cannot be read.
    """

    def __init__(self, store: Store, split: str, *, count: int, num_classes: int) -> None:
        store.check_parts()
        name = f"{split}.npy"
        (content,) = store.read([Part(name)])
        try:
            self._rows = np.load(io.BytesIO(content), allow_pickle=False)
            if self._rows.dtype != ROW or self._rows.shape != (count,):
                raise ValueError(
                    f"it is {self._rows.dtype} of shape {self._rows.shape}, not one row for {count} photos"
                )
        except (ValueError, EOFError, OSError) as error:
            raise DataError(
                f"{store.path(name)} does not list the photos of {split} ({one_line(error)}). {_PACK_AGAIN}"
            ) from error
        self._store = store
        self._split = split
        self._num_classes = num_classes

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, UInt8Array, UInt8Array]]:
        """Yield name, photo, (H, W, 3) uint8 RGB, and mask, (H, W) uint8, of each index; all are requested at once.

        Raises:
            DataError: one of them is broken, or they do not fit together; the message names photo and shard.
            MissingInputError: the shard does not exist.
            MachineError: the store, the network or the disk failed.
        """
        parts = [
            Part(shard_name(self._split, shard), offset, size, checksum)
            for shard, offset, size, checksum in self._rows[list(indices)].tolist()
        ]
        for part, content in zip(parts, self._store.read(parts), strict=True):
            with tarfile.open(fileobj=io.BytesIO(content + TAR_END)) as tar:
                (photo, photo_bytes), (mask, mask_bytes) = ((one.name, tar.extractfile(one).read()) for one in tar)  # type: ignore[union-attr]
            names = f"{photo} in shard {part.name}", f"{mask} in shard {part.name}"
            yield stem_of(photo), *decode_pair(photo_bytes, mask_bytes, names=names, num_classes=self._num_classes)
