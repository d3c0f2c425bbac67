"""Files at addresses such as s3://bucket/photos: found, read and written through fsspec."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from clothseg.errors import (
    ClothsegError,
    InputError,
    MachineError,
    MissingExtraError,
    MissingInputError,
    PictureError,
    SettingError,
    one_line,
    require,
)

STORES = ("s3", "s3a", "gs", "gcs")
"""Where results may be written: a PUT there is seen whole or not at all."""
READABLE = (*STORES, "http", "https")

MOST_BYTES = 1 << 30
"""Largest photo that is fetched; it is held in memory, and none of `pictures.MAX_PIXELS` is nearly as large."""


def scheme_of(address: str) -> str:
    """Return what stands before ://, in small letters."""
    return address.partition("://")[0].lower()


def check_scheme(address: str, allowed: Sequence[str], purpose: str) -> None:
    """Refuse an address of another kind.

    Raises:
        SettingError: it is not one of `allowed`.
    """
    if scheme_of(address) not in allowed:
        kinds = ", ".join(f"{one}://" for one in allowed)
        raise SettingError(f"{purpose} cannot be at {address}. Allowed: a path, or an address that begins with {kinds}")


@functools.cache
def file_system(scheme: str) -> Any:
    """Return fsspec's file system for a kind of address; listings are not kept, since others write there, too.

    Raises:
        MissingExtraError: its package is not installed.
    """
    fsspec = require("fsspec", "cluster")
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        package = "gcsfs" if scheme in ("gs", "gcs") else "s3fs" if scheme.startswith("s3") else "aiohttp"
        raise MissingExtraError(
            f"{package} is not installed, which reads {scheme}:// addresses. Install it with: pip install {package}"
        ) from error


def read(address: str, size: int = -1) -> bytes:
    """Fetch a photo.

    Args:
        address: where it is.
        size: its bytes as they were listed, -1 where that is not known.

    Raises:
        MissingInputError: there is no such file.
        PictureError: it cannot be fetched, or is too large.
    """
    if size > MOST_BYTES:
        raise PictureError(f"Photo is too large: {address} has {size:,} bytes, at most {MOST_BYTES:,} are read")
    try:
        content: bytes = file_system(scheme_of(address)).cat_file(address)
    except FileNotFoundError as error:
        raise MissingInputError(f"Photo not found: {address}. Check the address") from error
    except ClothsegError:
        raise
    except Exception as error:  # a store's client raises nearly anything
        raise PictureError(
            f"Photo cannot be fetched: {address} ({reason(error)}). Run the command again with --resume"
        ) from error
    return content


def listed(address: str) -> dict[str, dict[str, Any]]:
    """Return all files below an address, with what the store says of each, by their addresses without a scheme.

    Raises:
        MissingInputError: there is nothing.
        InputError: it cannot be listed.
    """
    try:
        found: dict[str, dict[str, Any]] = file_system(scheme_of(address)).find(address, detail=True)
    except FileNotFoundError:
        found = {}
    except ClothsegError:
        raise
    except Exception as error:
        raise InputError(
            f"Folder cannot be listed: {address} ({reason(error)}). Check the address and the rights to it"
        ) from error
    if not found:
        raise MissingInputError(f"Nothing found at {address}. Check the address")
    return found


@contextmanager
def writing(address: str) -> Iterator[Any]:
    """Give the file system of an address that is written to or cleared.

    Raises:
        MachineError: what the block does there fails.
    """
    try:
        yield file_system(scheme_of(address))
    except ClothsegError:
        raise
    except Exception as error:
        raise MachineError(
            f"Cannot write {address}: {reason(error)}. Check the address and the rights to it, then go on with --resume"
        ) from error


def reason(error: BaseException) -> str:
    """Return in a few words why a store refused."""
    return one_line(error)[:200]


def without_scheme(address: str) -> str:
    """Return the address as its file system's listings spell it: bucket/key, and for the web unchanged."""
    stripped: str = file_system(scheme_of(address))._strip_protocol(address)
    return stripped.rstrip("/")


def path_of(address: str) -> str:
    """Return the path in an address, without the query that a signed one carries.

    >>> path_of("https://example.org/photos/a.jpg?signature=1"), path_of("s3://bucket/a?.jpg")
    ('/photos/a.jpg', '/a?.jpg')
    """
    if scheme_of(address) in ("http", "https"):
        return urlsplit(address).path
    return "/" + address.partition("://")[2].partition("/")[2]
