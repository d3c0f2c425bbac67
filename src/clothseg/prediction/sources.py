"""The photos that a command line means, and a unique name for the outputs of each."""

from __future__ import annotations

import codecs
import contextlib
import functools
import glob
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from clothseg.encoding import HEAD_LENGTH, is_marked
from clothseg.errors import InputError, MissingInputError, path_kind, path_problem, walk
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.prediction.segmentation import (
    CUTOUT_ENDING,
    MASK_ENDING,
    OVERLAY_ENDING,
    SOFT_MASK_ENDING,
    TRY_ON_ENDING,
)

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")

# Most file systems end names at 255 bytes; the ending and a number take the rest, a class's name in it up to 35.
_LONGEST_STEM = 200

_ENDINGS = (MASK_ENDING, OVERLAY_ENDING, CUTOUT_ENDING, SOFT_MASK_ENDING, TRY_ON_ENDING)
_OUTPUT_NAME = re.compile(
    f"(?P<stem>.+)({'|'.join(re.escape(ending.format(name='NAME', suffix='SUFFIX')) for ending in _ENDINGS)})".replace(
        "NAME", r"[\w-]+"
    ).replace("SUFFIX", "(png|webp|jpg)"),
    re.DOTALL,
)


@dataclass(frozen=True)
class Photo:
    """A photo to segment, on a disk or at an address."""

    source: str
    """Its path or address."""
    file: str
    """Its path inside the folder it was found in, with slashes; just its name where it was given itself."""
    stem: str
    """Start of the paths of its outputs inside the output folder; no two photos of a search share one."""
    identity: tuple[str, int, int]
    """What changes when the photo does: its source, its size in bytes and its time of change in nanoseconds; of an
    object in a store, a number made from its ETag in place of the time. -1: not known."""


class Search(NamedTuple):
    """The photos that were found, and the inputs that gave none."""

    photos: tuple[Photo, ...]
    problems: tuple[InputError, ...]
    """Missing inputs, inputs without photos, and folders that cannot be read."""


@dataclass(frozen=True)
class Candidate:
    """A photo whose outputs have no name yet, on a disk or at an address."""

    source: str
    """Its path or address."""
    relative: PurePath
    """Its path inside the folder it was found in."""
    base_name: str
    """Name of that folder."""
    identity: tuple[str, int, int]
    """See `Photo.identity`."""

    @classmethod
    def on_disk(cls, path: Path, base: Path) -> Candidate:
        """Describe a file that was found in the folder `base`."""
        size, changed = -1, -1
        with contextlib.suppress(OSError):
            status = path.stat()
            size, changed = status.st_size, status.st_mtime_ns
        return cls(str(path), path.relative_to(base), base.absolute().name, (str(path), size, changed))


def find_photos(inputs: Sequence[str | Path], *, output: Path | None, listed: Iterable[str] = ()) -> Search:
    """Find the photos that `inputs` and a list mean, and name their outputs.

    `output` is where these will be; None where that is no folder of this machine. Outputs of `listed` photos and
    folders keep the relative paths that stand in the list, so that they do not depend on what else is listed.

    An input is a photo, a folder (searched for endings of photos; linked folders are followed, hidden files and folders
    skipped), or a pattern such as `photos/**/*.jpg`. A photo meant twice is taken once. Masks, overlays and cut-outs
    that a run wrote are no photos where a folder or a pattern contains them; their files are marked as clothseg's.

    Outputs are named by the photo's path inside the folder, without its ending. Photos that would share a name, even
    if case is ignored, keep their ending (`a.jpg_mask.png`), then get the folder's name before it, then a
    number; so do photos whose outputs would overwrite one of the photos, or a picture that clothseg did not write.
    """
    candidates: dict[Path, Candidate] = {}
    problems: list[InputError] = []
    for one, is_listed in (*((one, False) for one in inputs), *((one, True) for one in listed)):
        try:
            for candidate in _candidates(str(one), problems):
                named = _relative_to_here(candidate) if is_listed else candidate
                candidates.setdefault(_resolved(Path(candidate.source)), named)
        except InputError as error:
            problems.append(error)
    return Search(_named(tuple(candidates.values()), output), tuple(problems))


def is_address(given: object) -> bool:
    """Return whether something is an address, such as s3://bucket/photos, and not a path.

    >>> is_address("https://example.org/photo.jpg"), is_address("photos/a.jpg")
    (True, False)
    """
    return isinstance(given, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", given) is not None


def read_list(content: bytes) -> list[str]:
    """Return the names in a list: one a line, or each ended by a zero byte as `find -print0` writes them.

    UTF-16 and byte-order marks, as Windows programs write them, are recognised.

    Raises:
        InputError: it is no list of names, such as a photo.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _lines(content.decode(encoding, "replace"))
    sample = content[:400]
    if len(sample) >= 4 and any(set(sample[first::2]) == {0} and 0 not in sample[1 - first :: 2] for first in (0, 1)):
        return _lines(content.decode("utf-16-be" if sample[0] == 0 else "utf-16-le", "replace"))
    content = content.removeprefix(codecs.BOM_UTF8)
    separator = b"\0" if b"\0" in content else b"\n"
    lines = [line.rstrip(b"\r\n") for line in content.removesuffix(separator).split(separator)]
    names = [os.fsdecode(line) for line in lines if line.strip()]
    is_binary = len(names) < len(lines) if separator == b"\0" else any(_CONTROL.search(name) for name in names)
    if is_binary:
        raise InputError(
            f"Standard input has no list of names but {len(content):,} bytes of something else, such as a photo. "
            "Write one photo or folder a line, or pass the photo's path"
        )
    return names


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"[\r\n\0]+", text) if line.strip()]


def _relative_to_here(candidate: Candidate) -> Candidate:
    path = Path(candidate.source)
    is_below = not path.is_absolute() and ".." not in path.parts
    return Candidate.on_disk(path, Path()) if is_below else candidate


def _candidates(given: str, problems: list[InputError]) -> list[Candidate]:
    """Return the photos that an input means, and add to `problems` the folders in it that cannot be read."""
    path = Path(given)
    try:
        kind = path_kind(given) if given else ""
        if not kind and path.is_symlink():
            kind = "a file"  # a link to nothing, which is named when it is read
    except OSError as error:
        raise InputError(f"Photo cannot be found: {given[:300]} ({path_problem(error)}). Check the path") from error
    if kind == "a file":
        return [Candidate.on_disk(path, path.parent)]
    num_problems = len(problems)
    if kind == "a folder":
        base, paths = path, _photos_below(path, problems)
    elif kind:
        raise InputError(f"Neither a photo nor a folder but {kind}: {given}. Pass a file or a folder")
    elif glob.has_magic(given):
        base, paths = _matches(path, problems)
    else:
        raise MissingInputError(f"Photo not found: {given or repr(given)}. Check the path")
    found = [Candidate.on_disk(one, base) for one in paths if source_stem(one.name) is None or not _is_output(one)]
    if not found and len(problems) == num_problems:
        raise InputError(f"No photos in {given}. Looked for names ending in {', '.join(sorted(PHOTO_SUFFIXES))}")
    return found


def _matches(pattern: Path, problems: list[InputError]) -> tuple[Path, list[Path]]:
    """Return the folder in front of a pattern's first wildcard, and the photos that the pattern means.

    Brackets in the names of folders that are there are no wildcards.
    """
    base = Path(*pattern.parts[:1]) if pattern.is_absolute() else Path()
    parts = list(pattern.parts[len(base.parts) :])
    while not glob.has_magic(parts[0]) or (base / parts[0]).is_dir():
        base /= parts.pop(0)
    full = str(Path(glob.escape(str(base)), *parts))
    matches = sorted(map(Path, glob.glob(full, recursive=True)), key=natural)  # noqa: PTH207 - skips hidden files
    paths = [path for match in matches for path in (_photos_below(match, problems) if match.is_dir() else [match])]
    return base, [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES]


def _photos_below(folder: Path, problems: list[InputError]) -> list[Path]:
    """Return the photos in a folder and those below it, and add the folders that cannot be read to `problems`."""

    def name_problem(error: OSError) -> None:
        reason = f"{error.filename} ({path_problem(error)})"
        problems.append(InputError(f"Folder cannot be read: {reason}. Check its permissions"))

    found = []
    for where, names in walk(folder, name_problem):
        paths = [where / name for name in names if not name.startswith(".")]
        found += [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES]
    return sorted(found, key=natural)


def _is_output(path: Path) -> bool:
    """Return whether a run wrote this file; a folder, a pipe, or a file that cannot be read is not."""
    try:
        if path_kind(path) != "a file":  # reading a pipe may block forever
            return False
        with path.open("rb") as stream:
            return is_marked(stream.read(HEAD_LENGTH))
    except OSError:
        return False


def _named(candidates: Sequence[Candidate], output: Path | None) -> tuple[Photo, ...]:
    paths = [_resolved(Path(one.source)) for one in candidates]
    sources = {folded(str(path.with_name(stem))) for path in paths if (stem := source_stem(path.name)) is not None}

    @functools.cache
    def stems_of_others(folder: Path) -> set[str]:
        stems = {}
        with contextlib.suppress(OSError):  # it does not exist yet
            stems = {path: source_stem(path.name) for path in folder.iterdir()}
        return {folded(stem) for path, stem in stems.items() if stem is not None and not _is_output(path)}

    def overwrites(stem: str) -> bool:
        if output is None:
            return False
        target = output / stem
        return folded(str(_resolved(target))) in sources or folded(target.name) in stems_of_others(target.parent)

    return named_photos(candidates, overwrites)


def natural(path: PurePath) -> list[tuple[list[str | int], str]]:
    """Return a key that sorts 2.jpg before 10.jpg, folder by folder."""
    return [
        ([int(part) if index % 2 else part.casefold() for index, part in enumerate(re.split(r"([0-9]+)", name))], name)
        for name in path.parts
    ]


def _resolved(path: Path) -> Path:
    """Return the path of a file with linked folders resolved; a link to a file stays a path of its own."""
    return path.parent.resolve() / path.name


def named_photos(candidates: Sequence[Candidate], is_forbidden: Callable[[str], bool]) -> tuple[Photo, ...]:
    """Return the photos with the start of their outputs' names, as `find_photos` describes it.

    `is_forbidden` says of which stems the outputs would overwrite a photo.

    >>> candidates = [Candidate.on_disk(Path(name), Path()) for name in ("a.jpg", "a.png", "b.png")]
    >>> [photo.stem for photo in named_photos(candidates, lambda stem: False)]
    ['a.jpg', 'a.png', 'b']
    """
    details = [0] * len(candidates)
    for _ in range(2):  # twice: a longer name may be the shorter one of another photo
        stems = [_stem(one, detail) for one, detail in zip(candidates, details, strict=True)]
        shared = Counter(map(folded, stems))
        details = [
            detail + 1 if shared[folded(stem)] > 1 or is_forbidden(stem) else detail
            for stem, detail in zip(stems, details, strict=True)
        ]
    stems = _numbered(map(_stem, candidates, details), is_forbidden)
    return tuple(
        Photo(one.source, one.relative.as_posix(), stem, one.identity)
        for one, stem in zip(candidates, stems, strict=True)
    )


def source_stem(name: str) -> str | None:
    """Return the stem of the photo of which a file with this name would be an output, or None.

    >>> source_stem("a_mask.png"), source_stem("a.png")
    ('a', None)
    """
    found = _OUTPUT_NAME.fullmatch(name)
    return found["stem"] if found else None


def folded(path: str) -> str:
    """Return `path` as compared by file systems that ignore case and Unicode normalisation."""
    return unicodedata.normalize("NFC", path).casefold()


def _stem(candidate: Candidate, detail: int) -> str:
    """Return the name of a photo's outputs: 0 without its ending, 1 with it, 2 with the folder's name, too."""
    path = candidate.relative.with_name(candidate.relative.stem) if detail == 0 else candidate.relative
    shortened = path.with_name(_shortened(path.name))
    return (PurePath(candidate.base_name) / shortened if detail == 2 else shortened).as_posix()


def _numbered(stems: Iterable[str], is_forbidden: Callable[[str], bool]) -> list[str]:
    """Return `stems`, with a number behind each that is still taken by an earlier one or forbidden."""
    taken: set[str] = set()
    result = []
    for stem in stems:
        name, number = stem, 1
        while folded(name) in taken or is_forbidden(name):
            number += 1
            name = f"{stem}-{number}"
        taken.add(folded(name))
        result.append(name)
    return result


def _shortened(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_STEM:
        return name
    start = encoded[: _LONGEST_STEM - 9].decode("utf-8", "ignore")
    return f"{start}-{hashlib.sha256(encoded).hexdigest()[:8]}"
