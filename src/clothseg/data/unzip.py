"""A zip archive of photos becomes a folder of photos: every entry checked, and resumed after a kill."""

from __future__ import annotations

import copy
import errno
import hashlib
import itertools
import json
import os
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from clothseg.errors import DataError, MissingInputError, check_space, disk_errors, one_line
from clothseg.pictures import PHOTO_SUFFIXES, whole_file, write_whole
from clothseg.progress import Advance

_ENCRYPTED = 0x1
_LOCAL_HEADER_SIZE = 30
"""Bytes before an entry's name and content. Source: PKWARE APPNOTE.TXT, 4.3.7: local file header."""
_LONGEST_NAME = 255
"""Bytes of a file's or folder's name on all usual file systems."""
_LONGEST_PATH = 2000
"""Bytes of a path in an archive; Linux takes 4,095 with the folders before it, and macOS 1,023."""
_MAX_MEMBERS = 2_000_000
_MAX_PHOTO_BYTES = 256 * 2**20
"""Of one photo, packed or unpacked; a photo is read into memory at once."""
_MAX_RATIO = 100
"""Bytes for each packed byte, of a photo and in total. Photos are compressed already and come near 1."""
_RATIO_FROM = 16 * 2**20
"""The ratio is checked from this many bytes on: a small picture of one colour may well pack a thousand to one."""
_DOWNLOAD_AGAIN = "Delete it and run this again to download it again"
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError, EOFError)
"""What zipfile raises on a damaged archive, besides an OSError for a seek to before the start."""

Members = Mapping[str, zipfile.ZipInfo]
"""The photos of an archive: their path relative to the folder, with slashes, and their row in the table of contents."""


@dataclass(frozen=True)
class Unpacked:
    """What a finished folder has of its archive; stored beside the folder as `FOLDER.unpacked.json`."""

    archive: str
    """File name of the archive."""
    digest: str
    """SHA-256 over the name, size and CRC of every photo in the archive."""
    num_photos: int
    """How many photos came out of the archive."""
    num_bytes: int
    """How many bytes these photos have."""


def unpack(archive: Path, folder: Path, *, members_under: str, progress: Advance | None = None) -> Unpacked:
    """Write the photos that `archive` has under `members_under` into `folder`, each with its CRC checked.

    The whole table of contents is checked before anything is written. Each photo is written whole under its final name,
    so calling this again resumes a run that was killed: photos whose size and CRC are right stay as they are, all
    others are written again, and the result equals that of an undisturbed run. At the end `FOLDER.unpacked.json` beside
    the folder says that it is complete; after that, a call only compares sizes and restores what is missing. Other
    files in the folder stay as they are. Entries that are no photos, such as `__MACOSX` or `Thumbs.db`, are ignored.
    Only one run at a time may write the folder (see `processes.lock_folder`).

    Args:
        archive: the zip file; stored and deflated members, no encryption.
        folder: where the photos go, sub-folders under `members_under` included.
        members_under: folder in the archive, such as `train`.
        progress: called after every photo with bytes of photos.

    Raises:
        MissingInputError: the archive is not there.
        DataError: the archive is refused (see `_list_members`), or the bytes of a photo do not match its size and CRC;
            the message names it. `FOLDER.unpacked.json` is missing then, so the folder does not count as complete.
        MachineError: the disk is full or cannot be written.
    """
    with contents_of(archive) as contents:
        members = _list_members(contents, archive, members_under)
        num_bytes = sum(info.file_size for info in members.values())
        result = Unpacked(archive.name, _digest(members), len(members), num_bytes)
        is_complete = _read_record(folder) == result
        if is_complete and all(_has_size(folder / path, info) for path, info in members.items()):
            return result
        hint = "Make the disk readable and writable, or choose another with --data-path"
        with disk_errors(f"Cannot unpack {archive} into {folder}", hint):
            folder.mkdir(parents=True, exist_ok=True)
            if not is_complete:
                _record_path(folder).unlink(missing_ok=True)
                missing = [info for path, info in members.items() if not _has_size(folder / path, info)]
                check_space(folder, sum(info.file_size for info in missing), what=f"the photos in {folder}")
            _write_photos(contents, folder, members, check_crc=not is_complete, progress=progress)
    if hasattr(os, "sync"):  # once for all photos: an fsync for each of 45,000 takes minutes
        os.sync()
    write_whole(_record_path(folder), json.dumps(asdict(result), indent=1).encode() + b"\n", sync=True)
    return result


def read_unpacked(folder: Path) -> Unpacked | None:
    """Return what `unpack` wrote into `folder`, or None where it is not complete; the archive is not needed for that.

    Complete means that `FOLDER.unpacked.json` is there and the photos in the folder have the count and the total size
    that it says. With other photos among them the answer is None, and `unpack` has to open the archive.
    """
    record = _read_record(folder)
    if record is None:
        return None
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and _is_photo(path)]
    return record if (len(sizes), sum(sizes)) == (record.num_photos, record.num_bytes) else None


def count_photos(archive: Path, members_under: str) -> tuple[int, int]:
    """Return how many photos `unpack` would take from an archive, and their bytes.

    Raises:
        MissingInputError, DataError, MachineError: as `unpack`.
    """
    with contents_of(archive) as contents:
        members = _list_members(contents, archive, members_under)
    return len(members), sum(info.file_size for info in members.values())


def photo_folder(archive: Path, preferred: str) -> str:
    """Return the folder in `archive` to unpack photos from: `preferred` if it has some, else the one that has all.

    Raises:
        MissingInputError, DataError, MachineError: as `contents_of`.
    """
    with contents_of(archive) as contents:
        folders = {name.parent for name in map(PurePosixPath, contents.namelist()) if _is_photo(name)}
    if any(folder.is_relative_to(preferred) for folder in folders):
        return preferred
    return os.path.commonpath(folders) if folders else preferred


def find_defect(path: Path) -> str | None:
    """Return why `path` is not a whole zip archive, or None; its two ends are read, not its photos.

    An archive that was cut off lacks its table of contents, which is at the end; in one that lost bytes in the middle
    the table's positions are wrong.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # EINVAL: a seek to before the start
            raise
        return f"it is not a whole zip archive ({one_line(error)})"
    if not infos:
        return "it is an empty zip archive"
    with path.open("rb") as stream:
        for info in (infos[0], infos[-1]):
            stream.seek(max(0, info.header_offset))
            if info.header_offset < 0 or stream.read(4) != b"PK\3\4":
                return f"bytes are missing or damaged: {info.filename!r} is not at its position"
    return None


@contextmanager
def contents_of(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive.

    Raises:
        MissingInputError: it is not there.
        DataError: it is not whole.
        MachineError: it cannot be read.
    """
    if not path.is_file():
        raise MissingInputError(f"Archive not found: {path}. Run this again to download it, or put your own there")
    with disk_errors(f"Cannot read {path}", "Make it readable"):
        defect = find_defect(path)
        if defect:
            raise DataError(f"{path} cannot be used: {defect}. {_DOWNLOAD_AGAIN}")
        archive = zipfile.ZipFile(path)
    with archive:
        yield archive


def _list_members(archive: zipfile.ZipFile, path: Path, members_under: str) -> Members:
    """Return the photos that the archive at `path` has under `members_under`, after all its entries are checked.

    Raises:
        DataError: there are no photos, or an entry is unsafe: a path that leads out of the folder, a link, encrypted,
            a zip bomb, or a name that occurs twice (ignoring case, as Windows and macOS do). One such entry, photo or
            not, and nothing of the archive is unpacked.
    """
    infos = archive.infolist()
    if len(infos) > _MAX_MEMBERS:
        raise DataError(f"{path} has {len(infos):,} entries; at most {_MAX_MEMBERS:,} are allowed")
    for info in infos:
        _check_entry(path, info)
    root = PurePosixPath(members_under)
    names = [(PurePosixPath(info.filename), info) for info in infos if not info.is_dir()]
    photos = [(name, info) for name, info in names if _is_photo(name)]
    members = [(str(name.relative_to(root)), info) for name, info in photos if name.is_relative_to(root)]
    if not members:
        folders = sorted({str(name.parent) for name, _ in photos})
        found = f"photos only under: {', '.join(folders[:5])}" if folders else "no photos at all"
        raise DataError(f"{path} has no photos under {members_under}/ but {found}. Pass an archive with this layout")
    _check_names(path, [name for name, _ in members])
    _check_sizes(path, dict(members))
    return dict(members)


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    name = info.orig_filename  # as stored: zipfile cuts `filename` at a NUL and turns backslashes on Windows
    kind = stat.S_IFMT(info.external_attr >> 16)
    if name.startswith("/") or ".." in PurePosixPath(name).parts or any(sign in name for sign in "\\:\0"):
        problem = "would be written outside of the folder, or has a backslash, a colon or a NUL in its name"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        problem = "is a link or a device"
    elif info.flag_bits & _ENCRYPTED:
        problem = "is encrypted"
    elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"is compressed by method {info.compress_type}; only stored and deflated are read"
    else:
        return
    raise DataError(f"{path} is refused: its entry {name!r} {problem}. Pack it again from plain files, or get another")


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse names that no disk takes, and names that are one file where case or the spelling of accents is ignored."""
    seen: dict[str, str] = {}
    for name in names:
        parts = [part.encode(errors="surrogateescape") for part in PurePosixPath(name).parts]
        if max(map(len, parts)) > _LONGEST_NAME or len(b"/".join(parts)) > _LONGEST_PATH:
            raise DataError(
                f"{path} is refused: the name {name[:300]!r} is too long; a name may have {_LONGEST_NAME} "
                f"bytes, with all folders {_LONGEST_PATH}. Rename it in the archive"
            )
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            problem = "are both there, and are one file on Windows and macOS"
            raise DataError(f"{path} is refused: {seen[key]!r} and {name!r} {problem}. Rename one")
        seen[key] = name
    for key, name in seen.items():
        for parent in PurePosixPath(key).parents:
            if str(parent) in seen:
                raise DataError(f"{path} is refused: {seen[str(parent)]!r} is a file, and the folder of {name!r}")


def _check_sizes(path: Path, members: Members) -> None:
    """Refuse zip bombs: huge photos, incredible ratios, and photos that share their bytes."""
    sizes = [(name, info.compress_size, info.file_size) for name, info in members.items()]
    sizes.append(("the total", path.stat().st_size, sum(info.file_size for info in members.values())))
    for name, packed, unpacked in sizes:
        if unpacked > _RATIO_FROM and unpacked > _MAX_RATIO * packed:
            raise DataError(
                f"{path} is refused as a zip bomb: {name!r} would unpack from {packed:,} to {unpacked:,} bytes; "
                f"at most {_MAX_RATIO} to 1 is allowed"
            )
        size = max(packed, unpacked)
        if name in members and size > _MAX_PHOTO_BYTES:
            raise DataError(f"{path} is refused: {name!r} has {size:,} bytes; a photo may have {_MAX_PHOTO_BYTES:,}")
    for (name, info), (other, following) in itertools.pairwise(_in_order(members)):
        if info.header_offset + _LOCAL_HEADER_SIZE + info.compress_size > following.header_offset:
            raise DataError(f"{path} is refused: {name!r} and {other!r} share the same bytes")


def _in_order(members: Members) -> list[tuple[str, zipfile.ZipInfo]]:
    """Return the members in the order of their bytes in the archive."""
    return sorted(members.items(), key=lambda member: member[1].header_offset)


def _is_photo(name: PurePosixPath | Path) -> bool:
    """Return whether a name is a photo's; macOS packs a `__MACOSX/._a.jpg` beside `a.jpg`."""
    return name.suffix.lower() in PHOTO_SUFFIXES and not name.name.startswith("._") and "__MACOSX" not in name.parts


def _digest(members: Members) -> str:
    rows = sorted((path, info.file_size, info.CRC) for path, info in members.items())
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _record_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unpacked.json")


def _read_record(folder: Path) -> Unpacked | None:
    try:
        return Unpacked(**json.loads(_record_path(folder).read_bytes()))
    except (OSError, ValueError, TypeError):  # not there, or written by something else
        return None


def _write_photos(
    archive: zipfile.ZipFile, folder: Path, members: Members, *, check_crc: bool, progress: Advance | None
) -> None:
    """Write the photos that are not right yet; with `check_crc` a right size is not enough."""
    total = sum(info.file_size for info in members.values())
    done = 0
    for name, info in _in_order(members):
        path = folder / name
        is_right = _has_size(path, info) and not (check_crc and zlib.crc32(path.read_bytes()) != info.CRC)
        if not is_right:
            content = _read(archive, info)
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
        done += info.file_size
        if progress:
            progress(done, total)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return a member's bytes, checked against the size and CRC in the table of contents."""
    larger = copy.copy(info)
    larger.file_size += 1  # so that zipfile does not stop at a size that is too small
    try:
        with archive.open(larger) as stream:
            content = stream.read(larger.file_size)
    except _DAMAGED:
        content = None
    if content is None or len(content) != info.file_size:
        raise DataError(
            f"{archive.filename} is damaged: the checksum of {info.filename!r} does not match. {_DOWNLOAD_AGAIN}"
        )
    return content


def _has_size(path: Path, info: zipfile.ZipInfo) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == info.file_size
