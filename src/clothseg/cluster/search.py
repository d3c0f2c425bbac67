"""Which photos an address means, named as photos in a folder are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from clothseg.cluster.remote import (
    READABLE,
    check_scheme,
    file_system,
    listed,
    path_of,
    reason,
    scheme_of,
    without_scheme,
)
from clothseg.encoding import HEAD_LENGTH, is_marked
from clothseg.errors import InputError, SettingError
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.prediction.naming import folded, source_stem, unique_stems
from clothseg.prediction.sources import FoundPhoto, find_photos, is_address, natural


@dataclass(frozen=True)
class Photo:
    """A photo to segment, on a disk or at an address, as plain values to be sent to a worker."""

    source: str
    """Its path or address."""
    file: str
    """Its path inside the folder it was found in; see `FoundPhoto.file`."""
    stem: str
    """See `FoundPhoto.stem`."""
    identity: tuple[str, int, int]
    """Source, size and time of change; of a listed object, its size and a number made from its ETag. -1: not known."""

    @classmethod
    def on_disk(cls, found: FoundPhoto) -> Photo:
        """Take over a photo that was found on a disk."""
        return cls(str(found.path), found.file, found.stem, found.identity)


@dataclass(frozen=True)
class _Candidate:
    """A photo at an address whose outputs have no name yet."""

    address: str
    relative: PurePosixPath
    """Its path inside the address that was given."""
    base_name: str
    """Last part of the address that was given."""
    identity: tuple[str, int, int]


def find(
    given: Sequence[str], listing: Iterable[str], *, output: str | Path
) -> tuple[tuple[Photo, ...], tuple[InputError, ...]]:
    """Find the photos that paths or addresses mean, and name their outputs as `find_photos` does.

    An address that ends like a photo is one, and is not asked about before it is fetched; any other is a folder, which
    is listed. Listed objects have a size and an ETag by which a later run sees that they changed.

    Args:
        given: what a person typed.
        listing: more of them, from a list.
        output: where the outputs will be, a path or an address.

    Returns:
        The photos, and what is wrong with the inputs that mean none.

    Raises:
        SettingError: paths and addresses together, or an address of a kind that is not read.
    """
    listing = list(listing)
    addresses = [one for one in (*given, *listing) if is_address(one)]
    if not addresses:
        search = find_photos(given, output=None if is_address(output) else Path(output), listed=listing)
        return tuple(map(Photo.on_disk, search.photos)), search.problems
    paths = [one for one in (*given, *listing) if not is_address(one)]
    if paths:
        raise SettingError(f"Both a path and an address: {paths[0]}, {addresses[0]}. Pass them in two runs")
    candidates: dict[str, _Candidate] = {}
    problems: list[InputError] = []
    for address in addresses:
        check_scheme(address, READABLE, "Photos")
        try:
            for candidate in _candidates(address):
                candidates.setdefault(candidate.address, candidate)
        except InputError as error:
            problems.append(error)
    return _named(list(candidates.values()), output), tuple(problems)


def _named(candidates: Sequence[_Candidate], output: str | Path) -> tuple[Photo, ...]:
    sources = {
        folded(_beside(one.address, stem)) for one in candidates if (stem := source_stem(one.relative.name)) is not None
    }

    def overwrites(stem: str) -> bool:
        return folded(f"{str(output).rstrip('/')}/{stem}") in sources

    stems = unique_stems([(one.relative, one.base_name) for one in candidates], overwrites)
    return tuple(
        Photo(one.address, one.relative.as_posix(), stem, one.identity)
        for one, stem in zip(candidates, stems, strict=True)
    )


def _candidates(address: str) -> list[_Candidate]:
    file_system(scheme_of(address))
    path = PurePosixPath(unquote(path_of(address)) if _is_web(address) else path_of(address))
    if path.suffix.lower() in PHOTO_SUFFIXES and not address.endswith("/"):
        return [_Candidate(address, PurePosixPath(path.name), path.parent.name, (address, -1, -1))]
    base = address.rstrip("/")
    prefix = without_scheme(base) + "/"
    found = []
    for name, details in listed(address if _is_web(address) else base).items():
        inside = name.removeprefix(prefix)
        if name.startswith(prefix) and _is_photo(inside):
            relative = PurePosixPath(unquote(inside) if _is_web(address) else inside)
            if ".." in relative.parts:
                raise InputError(f"A name that leaves its folder: {base}/{inside}. Rename it, or pass other photos")
            where = f"{base}/{inside}"
            found.append(_Candidate(where, relative, path.name or base, (where, *_version(details))))
    found = [one for one in sorted(found, key=lambda one: natural(one.relative)) if not _is_output(one)]
    if not found:
        raise InputError(f"No photos in {address}. Looked for names ending in {', '.join(sorted(PHOTO_SUFFIXES))}")
    return found


def _is_web(address: str) -> bool:
    return scheme_of(address) in ("http", "https")


def _is_photo(inside: str) -> bool:
    parts = inside.split("/")
    hidden = any(part.startswith(".") and part != ".." for part in parts)
    return not hidden and PurePosixPath(inside).suffix.lower() in PHOTO_SUFFIXES


def _version(details: Mapping[str, Any]) -> tuple[int, int]:
    """Return an object's size and a number that changes with its content; -1 where the store does not say."""
    size = details.get("size")
    tag = details.get("ETag") or details.get("etag") or details.get("mtime") or details.get("LastModified")
    number = -1 if tag is None else int.from_bytes(hashlib.sha256(str(tag).encode()).digest()[:6], "big")
    return -1 if size is None else int(size), number


def _is_output(candidate: _Candidate) -> bool:
    """Tell whether a run wrote the object; see `sources._is_output`."""
    size = candidate.identity[1]
    if source_stem(candidate.relative.name) is None or size == 0:
        return False
    end = HEAD_LENGTH if size < 0 else min(size, HEAD_LENGTH)  # stores refuse a range beyond the object's end
    try:
        return is_marked(file_system(scheme_of(candidate.address)).cat_file(candidate.address, start=0, end=end))
    except Exception as error:
        raise InputError(
            f"Photo cannot be read: {candidate.address} ({reason(error)}). Check the rights to it"
        ) from error


def _beside(address: str, name: str) -> str:
    return f"{address.rpartition('/')[0]}/{name}"
