"""Photos and files at addresses such as s3://bucket/photos: found and named as on a disk, and read through fsspec."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from clothseg.encoding import HEAD_LENGTH, is_marked
from clothseg.errors import (
    ClothsegError,
    InputError,
    MissingExtraError,
    MissingInputError,
    PictureError,
    SettingError,
    install,
    one_line,
    require,
)
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.prediction.sources import (
    Candidate,
    Photo,
    Search,
    find_photos,
    folded,
    is_address,
    named_photos,
    natural,
    source_stem,
)

WRITABLE_SCHEMES = ("s3", "s3a", "gs", "gcs")
"""Where results may be written: an object appears there only when it is complete."""
READABLE_SCHEMES = (*WRITABLE_SCHEMES, "http", "https")

MAX_BYTES = 1 << 30
"""Largest photo that is read; it is in memory as a whole, and no photo of `pictures.MAX_PIXELS` is nearly as large."""


def check_scheme(address: str, allowed: Sequence[str], purpose: str) -> None:
    """Refuse an address with another scheme.

    Raises:
        SettingError: the scheme is not one of `allowed`.
    """
    if _scheme_of(address) not in allowed:
        kinds = ", ".join(f"{one}://" for one in allowed)
        raise SettingError(f"{purpose} cannot be at {address}. Allowed: a path, or an address that begins with {kinds}")


def store_of(address: str) -> Any:
    """Return fsspec's file system of an address; see `file_system`."""
    return file_system(_scheme_of(address))


@functools.cache
def file_system(scheme: str) -> Any:
    """Return fsspec's file system of a scheme, without a cache of listings, since others write there, too.

    Raises:
        MissingExtraError: its package is not installed.
    """
    fsspec = require("fsspec", "cluster")
    try:
        return fsspec.filesystem(scheme, use_listings_cache=False)
    except ImportError as error:
        package = "gcsfs" if scheme in ("gs", "gcs") else "s3fs" if scheme.startswith("s3") else "aiohttp"
        raise MissingExtraError(
            f"{package} is not installed, which reads {scheme}:// addresses. Install it with: {install('remote')}"
        ) from error


@contextmanager
def store_errors(kind: type[ClothsegError], what: str, hint: str) -> Iterator[None]:
    """Raise errors of a store's client, which may be of any class, as `kind`."""
    try:
        yield
    except ClothsegError:
        raise
    except Exception as error:
        raise kind(f"{what} ({one_line(error)[:200]}). {hint}") from error


def read(address: str, size: int = -1) -> bytes:
    """Read a photo; `size` is its bytes as they were listed, -1 if not known.

    Raises:
        MissingInputError: there is no such file.
        PictureError: the photo cannot be fetched, or is too large.
    """
    if size > MAX_BYTES:
        raise PictureError(f"Photo is too large: {address} has {size:,} bytes, at most {MAX_BYTES:,} are read")
    with store_errors(PictureError, f"Photo cannot be fetched: {address}", "Run the command again with --resume"):
        try:
            content: bytes = store_of(address).cat_file(address)
        except FileNotFoundError as error:
            raise MissingInputError(f"Photo not found: {address}. Check the address") from error
    return content


def listed(address: str) -> dict[str, dict[str, Any]]:
    """Return all files below an address: their addresses without a scheme, and the store's details of each.

    Raises:
        MissingInputError: there are none.
        InputError: the address cannot be listed.
    """
    found: dict[str, dict[str, Any]] = {}
    hint = "Check the address and your permissions there"
    with store_errors(InputError, f"Folder cannot be listed: {address}", hint), suppress(FileNotFoundError):
        found = store_of(address).find(address, detail=True)
    if not found:
        raise MissingInputError(f"Nothing found at {address}. Check the address")
    return found


def without_scheme(address: str) -> str:
    """Return the address as its file system's listings write it: bucket/key, and for the web unchanged."""
    stripped: str = store_of(address)._strip_protocol(address)
    return stripped.rstrip("/")


def find(given: Sequence[str], listing: Iterable[str], *, output: str | Path) -> Search:
    """Find the photos of paths or addresses, and name their outputs as `find_photos` does.

    An address that ends like a photo is one, and is not requested before it is read; any other is a folder, which is
    listed. Listed objects have a size and an ETag by which a later run detects changes.

    Raises:
        SettingError: both paths and addresses are given, or an address that cannot be read.
    """
    listing = list(listing)
    addresses = [one for one in (*given, *listing) if is_address(one)]
    if not addresses:
        return find_photos(given, output=None if is_address(output) else Path(output), listed=listing)
    paths = [one for one in (*given, *listing) if not is_address(one)]
    if paths:
        raise SettingError(f"Both a path and an address: {paths[0]}, {addresses[0]}. Pass them in two runs")
    candidates: dict[str, Candidate] = {}
    problems: list[InputError] = []
    for address in addresses:
        check_scheme(address, READABLE_SCHEMES, "Photos")
        try:
            for candidate in _candidates(address):
                candidates.setdefault(candidate.source, candidate)
        except InputError as error:
            problems.append(error)
    return Search(_named(list(candidates.values()), output), tuple(problems))


def _candidates(address: str) -> list[Candidate]:
    """Return the photos of one address."""
    store_of(address)  # names the package that is not installed
    is_web = _scheme_of(address) in ("http", "https")

    def decoded(path: str) -> PurePosixPath:
        return PurePosixPath(unquote(path) if is_web else path)

    path = decoded(_path_of(address))
    if path.suffix.lower() in PHOTO_SUFFIXES and not address.endswith("/"):
        return [Candidate(address, PurePosixPath(path.name), path.parent.name, (address, -1, -1))]
    base = address.rstrip("/")
    prefix = without_scheme(base) + "/"
    found = []
    for name, details in listed(address if is_web else base).items():
        inside = name.removeprefix(prefix)
        if name.startswith(prefix) and _is_photo(inside):
            relative, where = decoded(inside), f"{base}/{inside}"
            if ".." in relative.parts:
                raise InputError(f"A name that leaves its folder: {where}. Rename it, or pass other photos")
            found.append(Candidate(where, relative, path.name or base, (where, *_version(details))))
    found = [one for one in sorted(found, key=lambda one: natural(one.relative)) if not _is_output(one)]
    if not found:
        raise InputError(f"No photos in {address}. Looked for names ending in {', '.join(sorted(PHOTO_SUFFIXES))}")
    return found


def _scheme_of(address: str) -> str:
    return address.partition("://")[0].lower()


def _path_of(address: str) -> str:
    """Return the path in an address, without the query of a signed URL."""
    if _scheme_of(address) in ("http", "https"):
        return urlsplit(address).path
    return "/" + address.partition("://")[2].partition("/")[2]


def _is_photo(inside: str) -> bool:
    is_hidden = any(part.startswith(".") and part != ".." for part in inside.split("/"))
    return not is_hidden and PurePosixPath(inside).suffix.lower() in PHOTO_SUFFIXES


def _version(details: Mapping[str, Any]) -> tuple[int, int]:
    """Return an object's size and a number that changes with its content; -1 where the store does not say."""
    size = details.get("size")
    tag = details.get("ETag") or details.get("etag") or details.get("mtime") or details.get("LastModified")
    number = -1 if tag is None else int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:6], "big")
    return -1 if size is None else int(size), number


def _is_output(candidate: Candidate) -> bool:
    """Return whether a run wrote the object; see `sources._is_output`."""
    size = candidate.identity[1]
    if source_stem(candidate.relative.name) is None or size == 0:
        return False
    end = HEAD_LENGTH if size < 0 else min(size, HEAD_LENGTH)  # stores refuse a range beyond the object's end
    with store_errors(InputError, f"Photo cannot be read: {candidate.source}", "Check your permissions there"):
        return is_marked(store_of(candidate.source).cat_file(candidate.source, start=0, end=end))


def _named(candidates: Sequence[Candidate], output: str | Path) -> tuple[Photo, ...]:
    def beside(address: str, name: str) -> str:
        return folded(f"{address.rpartition('/')[0]}/{name}")

    sources = {beside(one.source, stem) for one in candidates if (stem := source_stem(one.relative.name)) is not None}

    def overwrites(stem: str) -> bool:
        return folded(f"{str(output).rstrip('/')}/{stem}") in sources

    return named_photos(candidates, overwrites)
