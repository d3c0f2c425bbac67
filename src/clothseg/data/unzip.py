"""A zip archive of photos becomes a folder of photos: safely, every byte checked, and continued after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from clothseg.data.archive_contents import Limits, Member, is_photo, list_members, opened, read_member
from clothseg.data.locks import alone
from clothseg.errors import ClothsegError, MachineError, one_line
from clothseg.pictures import whole_file, write_whole

Progress = Callable[[int, int | None], None]
"""Called with the bytes done so far and the bytes there are in all, or None where nobody knows."""

_MEMBERS_AT_ONCE = 16
_THREADS = 2  # one writes while the other reads and checks; more of them only wait for the folder


@dataclass(frozen=True)
class Unpacked:
    """What a finished folder holds of its archive; stored beside the folder as its mark of completeness."""

    archive: str
    """File name of the archive."""
    digest: str
    """SHA-256 over the name, size and CRC of every photo in the archive."""
    num_photos: int
    """How many photos came out of the archive."""
    num_bytes: int
    """How many bytes these photos have."""


def unpack(
    archive: Path, folder: Path, *, members_under: str, progress: Progress | None = None, limits: Limits | None = None
) -> Unpacked:
    """Put the photos that `archive` holds under `members_under` into `folder`, each with its CRC checked.

    The whole table of contents is checked before anything is written. Every photo is written whole under its final
    name, so a run that was killed is continued by calling this again: photos whose size and CRC are right stay as they
    are, everything else is written anew, and the result is the same as that of an undisturbed run. At the end the disk
    is told to keep it all, and `FOLDER.unpacked.json` beside the folder says that it is complete; after that, a call
    only compares sizes and puts back what is missing. Other files in the folder are left alone. What is no photo, such
    as `__MACOSX` or `Thumbs.db`, is passed over.

    Args:
        archive: the zip file; stored and deflated members, no encryption.
        folder: where the photos go, sub-folders under `members_under` included.
        members_under: folder in the archive, such as `train`.
        progress: called after every few photos with bytes of photos.
        limits: what counts as a bomb; the defaults suit photos.

    Raises:
        MissingInputError: the archive is not there.
        DataError: the archive is refused (see `list_members`), or a member's bytes do not fit its size and CRC; the
            message names the member. The mark is missing then, so the folder does not count as complete.
        MachineError: the disk is full or cannot be written.
    """
    with opened(archive) as contents:
        members = list_members(contents, archive, members_under=members_under, limits=limits or Limits())
    result = Unpacked(archive.name, _digest(members), len(members), sum(member.info.file_size for member in members))
    is_complete = _read_mark(folder) == result
    if is_complete and all(_has_size(folder / member.path, member) for member in members):
        return result
    with _disk_failures(archive, folder), _held(folder):
        if not is_complete:
            _mark_path(folder).unlink(missing_ok=True)
            _check_space(folder, members)
        _write_all(archive, folder, members, partial(_is_right, check_crc=not is_complete), progress)
    if hasattr(os, "sync"):  # once for all photos: an fsync for each of 45,000 takes minutes
        os.sync()
    write_whole(_mark_path(folder), json.dumps(asdict(result), indent=1).encode() + b"\n", sync=True)
    return result


def read_unpacked(folder: Path) -> Unpacked | None:
    """Return what `unpack` put into `folder`, or None where it is not complete; the archive is not needed for that.

    Complete means that the mark is there and the photos in the folder are as many, with as many bytes, as it says.
    With photos of one's own among them the answer is None, and `unpack` has to look into the archive.
    """
    mark = _read_mark(folder)
    if mark is None:
        return None
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file() and is_photo(PurePosixPath(path.name))]
    return mark if (len(sizes), sum(sizes)) == (mark.num_photos, mark.num_bytes) else None


def _digest(members: Sequence[Member]) -> str:
    rows = sorted((member.path, member.info.file_size, member.info.CRC) for member in members)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _mark_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.unpacked.json")


def _read_mark(folder: Path) -> Unpacked | None:
    try:
        return Unpacked(**json.loads(_mark_path(folder).read_bytes()))
    except (OSError, ValueError, TypeError):  # not there, or written by something else
        return None


@contextmanager
def _disk_failures(archive: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, ClothsegError):  # says what it has to say
            raise
        raise MachineError(
            f"Cannot unpack {archive} into {folder}: {error.strerror or one_line(error)}. "
            "Make the disk readable and writable, or choose another with --data-path"
        ) from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        yield


def _check_space(folder: Path, members: Sequence[Member]) -> None:
    needed = sum(member.info.file_size for member in members if not _has_size(folder / member.path, member))
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise MachineError(
            f"No room to unpack into {folder}: {needed:,} bytes needed, {free:,} free. "
            "Free some space, or choose another disk with --data-path"
        )


def _write_all(
    archive: Path,
    folder: Path,
    members: Sequence[Member],
    is_right: Callable[[Path, Member], bool],
    progress: Progress | None,
) -> None:
    """Write the members that are not right yet, a few threads at a time; checksums and the disk run side by side."""
    total = sum(member.info.file_size for member in members)
    in_order = sorted(members, key=lambda member: member.info.header_offset)
    groups = [in_order[start : start + _MEMBERS_AT_ONCE] for start in range(0, len(in_order), _MEMBERS_AT_ONCE)]
    done = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        try:
            for written in threads.map(partial(_write_group, archive, folder, is_right=is_right), groups):
                done += written
                if progress:
                    progress(done, total)
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise


def _write_group(
    archive: Path, folder: Path, group: Sequence[Member], *, is_right: Callable[[Path, Member], bool]
) -> int:
    with archive.open("rb", buffering=0) as stream:
        for member in group:
            path = folder / member.path
            if is_right(path, member):
                continue
            content = read_member(stream, archive, member)
            with whole_file(path) as temporary:
                temporary.write_bytes(content)
    return sum(member.info.file_size for member in group)


def _is_right(path: Path, member: Member, *, check_crc: bool) -> bool:
    if not _has_size(path, member):
        return False
    return not check_crc or zlib.crc32(path.read_bytes()) == member.info.CRC


def _has_size(path: Path, member: Member) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == member.info.file_size
