"""What a zip archive of photos holds, with everything refused that an honest one would not have."""

from __future__ import annotations

import errno
import itertools
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from clothseg.errors import DataError, MachineError, MissingInputError, one_line
from clothseg.pictures import PHOTO_SUFFIXES

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_ENCRYPTED = 0x1
_LONGEST_NAME = 255
"""Bytes of a file's or folder's name on all usual file systems."""
_LONGEST_PATH = 2000
"""Bytes of a path in an archive; Linux takes 4,095 with the folders before it, and macOS 1,023."""
_FETCH_AGAIN = "Delete it and run this again to fetch it anew"


@dataclass(frozen=True)
class Limits:
    """How much an archive may unpack to before it is taken for a bomb.

    The total is held against the space on the disk as well.
    """

    photo_bytes: int = 256 * 2**20
    """Most bytes of one photo, packed or unpacked; what is read into memory at once."""
    num_members: int = 2_000_000
    """Most entries of an archive."""
    ratio: int = 100
    """Most bytes for each packed byte, of a member and of the whole. Photos are compressed already and come near 1."""
    ratio_from: int = 16 * 2**20
    """The ratio counts from this many bytes on: a little picture of one colour may well pack a thousand to one."""


@dataclass(frozen=True)
class Member:
    """One photo in an archive."""

    path: str
    """Where it goes, relative to the folder."""
    info: zipfile.ZipInfo
    """Its row in the table of contents."""


class _DefectError(Exception):
    """What is wrong with an archive, in words that follow its name."""


def find_defect(path: Path) -> str | None:
    """Return what keeps `path` from being a whole zip archive, or None; its two ends are read, not its photos.

    An archive that was cut off lacks its table of contents, which stands at the end; one that lost bytes in the middle
    has a table whose places are wrong.
    """
    try:
        _open(path).close()
    except _DefectError as defect:
        return str(defect)
    return None


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, which reads its table of contents.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is not whole (see `find_defect`).
        MachineError: it cannot be read.
    """
    if not path.is_file():
        raise MissingInputError(f"Archive not found: {path}. Run this again to fetch it, or put your own there")
    try:
        archive = _open(path)
    except _DefectError as defect:
        raise DataError(f"{path} cannot be used: {defect}. {_FETCH_AGAIN}") from defect
    except OSError as error:
        raise MachineError(f"Cannot read {path}: {error.strerror or one_line(error)}. Make it readable") from error
    with archive:
        yield archive


def _open(path: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(path)
    # All that zipfile lets out about a damaged table of contents; EINVAL is a seek to before the start.
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, struct.error) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise _DefectError(f"it is not a whole zip archive ({one_line(error)})") from error
    try:
        _check_places(path, archive.infolist())
    except BaseException:
        archive.close()
        raise
    return archive


def _check_places(path: Path, infos: Sequence[zipfile.ZipInfo]) -> None:
    if not infos:
        raise _DefectError("it is an empty zip archive")
    in_order = sorted(infos, key=lambda info: info.header_offset)
    with path.open("rb") as stream:
        for info in (in_order[0], in_order[-1]):
            if info.header_offset >= 0:
                stream.seek(info.header_offset)
            if info.header_offset < 0 or stream.read(4) != b"PK\3\4":
                raise _DefectError(f"bytes are missing or damaged: {info.filename!r} is not in its place")


def read_member(stream: BinaryIO, archive: Path, member: Member) -> bytes:
    """Return a member's bytes, checked against the size and CRC in the table of contents.

    `zipfile` reads one member at a time and is not made for threads; its table of contents is, and the rest is short.
    Source: PKWARE APPNOTE.TXT, 4.3.7: local file header.
    """
    info = member.info
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL_HEADER.size)
    if len(header) == _LOCAL_HEADER.size and header[:4] == b"PK\3\4":
        _, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        stream.seek(name_length + extra_length, os.SEEK_CUR)
        content = stream.read(info.compress_size)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            try:  # one byte more than allowed is enough to see that it is too much
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, info.file_size + 1)
            except zlib.error:
                content = b""
        if len(content) == info.file_size and zlib.crc32(content) == info.CRC:
            return content
    raise DataError(f"{archive} is damaged: the checksum of {info.filename!r} does not fit. {_FETCH_AGAIN}")


def list_members(archive: zipfile.ZipFile, path: Path, *, members_under: str, limits: Limits) -> list[Member]:
    """Return the photos that the archive at `path` holds under `members_under`, once all its entries are checked.

    Raises:
        DataError: there are no photos, or an entry is one that no honest archive of photos has: a path that leads out
            of the folder, a link, a password, a bomb, or a name that is there twice (capitals do not count, as on
            Windows and macOS). One such entry, photo or not, and nothing of the archive is taken.
    """
    infos = archive.infolist()
    if len(infos) > limits.num_members:
        raise DataError(f"{path} has {len(infos):,} entries; at most {limits.num_members:,} are allowed")
    for info in infos:
        _check_entry(path, info)
    root = PurePosixPath(members_under)
    inner = [(info, PurePosixPath(info.filename)) for info in infos if not info.is_dir()]
    photos = [(info, name) for info, name in inner if is_photo(name)]
    members = [Member(str(name.relative_to(root)), info) for info, name in photos if name.is_relative_to(root)]
    if not members:
        folders = sorted({str(name.parent) for _, name in photos})
        found = f"photos only under: {', '.join(folders[:5])}" if folders else "no photos at all"
        raise DataError(f"{path} has no photos under {members_under}/ but {found}. Take an archive laid out like that")
    _check_sizes(path, members, limits)
    _check_names(path, members)
    return members


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename  # as stored: zipfile cuts `filename` at a NUL and turns backslashes on Windows
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or ".." in PurePosixPath(name).parts or any(sign in name for sign in "\\:\0"):
        problem = "would land outside of the folder, or carries a backslash, a colon or a NUL"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link or a device"
    elif info.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"is compressed by method {info.compress_type}; only stored and deflated are read"
    else:
        return
    raise DataError(f"{path} is refused: its entry {name!r} {problem}. Pack it anew from plain files, or get another")


def _check_sizes(path: Path, members: Sequence[Member], limits: Limits) -> None:
    """Refuse bombs: huge members, incredible ratios, and members that share their bytes."""
    for member in members:
        _check_ratio(path, member.path, (member.info.compress_size, member.info.file_size), limits)
        num_bytes = max(member.info.file_size, member.info.compress_size)
        if num_bytes > limits.photo_bytes:
            raise DataError(
                f"{path} is refused: {member.path!r} has {num_bytes:,} bytes; a photo may have {limits.photo_bytes:,}"
            )
    total = sum(member.info.file_size for member in members)
    _check_ratio(path, "the whole", (path.stat().st_size, total), limits)
    in_order = sorted(members, key=lambda member: member.info.header_offset)
    for member, following in itertools.pairwise(in_order):
        end = member.info.header_offset + _LOCAL_HEADER.size + member.info.compress_size
        if end > following.info.header_offset:
            raise DataError(f"{path} is refused: {member.path!r} and {following.path!r} share the same bytes")


def _check_ratio(path: Path, what: str, packed_and_unpacked: tuple[int, int], limits: Limits) -> None:
    packed, unpacked = packed_and_unpacked
    if unpacked > limits.ratio_from and unpacked > limits.ratio * packed:
        raise DataError(
            f"{path} is refused as a bomb: {what!r} would unpack from {packed:,} to {unpacked:,} bytes; "
            f"at most {limits.ratio} to 1 is allowed"
        )


def _check_names(path: Path, members: Sequence[Member]) -> None:
    """Refuse names that no disk takes, and those that are one file where capitals or accents' spelling do not count."""
    seen: dict[str, str] = {}
    for member in members:
        parts = [part.encode(errors="surrogateescape") for part in PurePosixPath(member.path).parts]
        if max(map(len, parts)) > _LONGEST_NAME or len(b"/".join(parts)) > _LONGEST_PATH:
            raise DataError(
                f"{path} is refused: the name {member.path[:300]!r} is too long; a name may have {_LONGEST_NAME} "
                f"bytes, with all folders {_LONGEST_PATH}. Rename it in the archive"
            )
        key = unicodedata.normalize("NFC", member.path).casefold()
        if key in seen:
            problem = "are there both, and are one file on Windows and macOS"
            raise DataError(f"{path} is refused: {seen[key]!r} and {member.path!r} {problem}. Rename one")
        seen[key] = member.path
    for key, name in seen.items():
        for parent in PurePosixPath(key).parents:
            if str(parent) in seen:
                raise DataError(f"{path} is refused: {seen[str(parent)]!r} is a file, and the folder of {name!r}")


def is_photo(name: PurePosixPath) -> bool:
    """Tell photos from the rest by their names; macOS packs a `__MACOSX/._a.jpg` beside `a.jpg`."""
    return name.suffix.lower() in PHOTO_SUFFIXES and not name.name.startswith("._") and "__MACOSX" not in name.parts
