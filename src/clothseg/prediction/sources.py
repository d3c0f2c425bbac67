"""Which photos a command line means, and a name of its own for the outputs of each."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from clothseg.errors import InputError, MissingInputError
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.prediction.naming import folded, source_stem, unique_stems


@dataclass(frozen=True)
class FoundPhoto:
    """A photo to segment."""

    path: Path
    """Where it is read."""
    file: str
    """Its path inside the folder it was found in, with slashes; just its name where it was given itself."""
    stem: str
    """Start of the paths of its outputs inside the output folder; no two photos of a search share one."""

    @property
    def identity(self) -> tuple[str, int, int]:
        """Its path as given, its size in bytes and its time of change in nanoseconds; -1 where it is not there."""
        try:
            status = self.path.stat()
        except OSError:
            return str(self.path), -1, -1
        return str(self.path), status.st_size, status.st_mtime_ns


@dataclass(frozen=True)
class Search:
    """What the inputs of a command line came to."""

    photos: tuple[FoundPhoto, ...]
    problems: tuple[InputError, ...]
    """Inputs that are not there, or hold no photo."""


@dataclass(frozen=True)
class _Candidate:
    """A photo whose outputs have no name yet."""

    path: Path
    base: Path
    """The folder it was found in."""

    @property
    def relative(self) -> Path:
        return self.path.relative_to(self.base)


def find_photos(inputs: Sequence[str | Path], *, output: Path | None, listed: Iterable[str] = ()) -> Search:
    """Find the photos that `inputs` mean, and name their outputs.

    Args:
        inputs: what a person typed.
        output: where the outputs will be; None where that is no folder of this machine.
        listed: more photos or folders, as a list names them. Their outputs keep the relative paths that stand in it, so
            that a photo's outputs do not depend on what else is listed.

    An input is a photo, a folder (searched through for endings of photos, hidden files and folders passed over), or a
    pattern such as `photos/**/*.jpg`. A photo meant twice is taken once. Inside folders, what an earlier run wrote is
    no photo: the output folder, or where that is the searched folder itself, masks and overlays of the photos in it.

    Outputs are named by the photo's path inside the folder, without its ending. Photos that would share a name, also
    where capitals do not count, keep their ending (`a.jpg_mask.png`), then get the folder's name before it, then a
    number; so do photos whose outputs would overwrite one of the photos.
    """
    candidates: dict[Path, _Candidate] = {}
    problems: list[InputError] = []
    for one, is_listed in (*((one, False) for one in inputs), *((one, True) for one in listed)):
        try:
            for candidate in _candidates(str(one), output):
                named = _relative_to_here(candidate) if is_listed else candidate
                candidates.setdefault(_place(candidate.path), named)
        except InputError as error:
            problems.append(error)
    photos = tuple(candidates.values())
    stems = _unique_stems(photos, output)
    found = (FoundPhoto(one.path, one.relative.as_posix(), stem) for one, stem in zip(photos, stems, strict=True))
    return Search(tuple(found), tuple(problems))


def is_address(given: str | Path) -> bool:
    """Tell whether something is an address, such as s3://bucket/photos, and not a path.

    >>> is_address("https://example.org/photo.jpg"), is_address("photos/a.jpg")
    (True, False)
    """
    return isinstance(given, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", given) is not None


def read_list(content: bytes) -> list[str]:
    """Return the names in a list: one a line, or each ended by a zero byte as `find -print0` writes them."""
    separator = b"\0" if b"\0" in content else b"\n"
    return [os.fsdecode(name) for line in content.split(separator) if (name := line.rstrip(b"\r\n")).strip()]


def _relative_to_here(candidate: _Candidate) -> _Candidate:
    is_below = not candidate.path.is_absolute() and ".." not in candidate.path.parts
    return _Candidate(candidate.path, Path()) if is_below else candidate


def _candidates(given: str, output: Path | None) -> list[_Candidate]:
    path = Path(given)
    if given and (path.is_file() or path.is_symlink()) and not path.is_dir():
        return [_Candidate(path, path.parent)]
    if given and path.is_dir():
        base, paths = path, _photos_below(path)
    elif given and path.exists():
        raise InputError(f"Neither a photo nor a folder: {given}. Pass a file or a folder")
    elif glob.has_magic(given):
        base, paths = _matches(path)
    else:
        raise MissingInputError(f"Photo not found: {given or repr(given)}. Check the path")
    found = [_Candidate(one, base) for one in _without_outputs(paths, base, output)]
    if not found:
        raise InputError(f"No photos in {given}. Looked for names ending in {', '.join(sorted(PHOTO_SUFFIXES))}")
    return found


def _matches(pattern: Path) -> tuple[Path, list[Path]]:
    """Return the folder in front of a pattern's first wildcard, and the photos that the pattern means."""
    literal = next(number for number, part in enumerate(pattern.parts) if glob.has_magic(part))
    matches = sorted(map(Path, glob.glob(str(pattern), recursive=True)), key=natural)  # noqa: PTH207 - passes hidden files over
    paths = [path for match in matches for path in (_photos_below(match) if match.is_dir() else [match])]
    return Path(*pattern.parts[:literal]), [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES]


def _photos_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"Folder cannot be read: {error.filename} ({error.strerror}). Check its permissions")

    found = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(where, name)
            if name.startswith(".") or path.suffix.lower() not in PHOTO_SUFFIXES:
                continue
            if path.is_file() or path.is_symlink():  # a pipe would be waited for without end
                found.append(path)
    return sorted(found, key=natural)


def _without_outputs(paths: Sequence[Path], base: Path, output: Path | None) -> list[Path]:
    """Leave out what an earlier run into `output` wrote among the photos of `base`."""
    if output is None:
        return list(paths)
    if _is_within(base, output):
        beside = {path.with_suffix("") for path in paths} | set(paths)
        return [path for path in paths if _source(path) not in beside]
    if _is_within(output, base):
        return [path for path in paths if not _is_within(path, output)]
    return list(paths)


def _source(path: Path) -> Path | None:
    """Return the path, without ending or with it, of the photo of which `path` would be an output."""
    stem = source_stem(path.name)
    return path.with_name(stem) if stem is not None else None


def _unique_stems(photos: Sequence[_Candidate], output: Path | None) -> list[str]:
    sources = {folded(str(source)) for photo in photos if (source := _source(_place(photo.path))) is not None}

    def overwrites(stem: str) -> bool:
        return output is not None and folded(str(_place(output / stem))) in sources

    return unique_stems([(one.relative, one.base.absolute().name) for one in photos], overwrites)


def natural(path: PurePath) -> list[tuple[list[str | int], str]]:
    """Return a key that sorts 2.jpg before 10.jpg, folder by folder."""
    return [
        ([int(part) if place % 2 else part.casefold() for place, part in enumerate(re.split(r"([0-9]+)", name))], name)
        for name in path.parts
    ]


def _place(path: Path) -> Path:
    """Return where a file lies, links of folders followed; a link to a file is a file of its own."""
    return path.parent.resolve() / path.name


def _is_within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
