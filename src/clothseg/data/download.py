"""A file of the download comes over http or from a local folder, and is whole or not there."""

from __future__ import annotations

import errno
import http.client
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

from clothseg.data.file_content import START_BYTES, find_defect, find_wrong_start
from clothseg.data.http_answers import AnotherTry, Patience, RangeGoneError, open_answer, read_blocks
from clothseg.data.partial_file import PartialFile, Version
from clothseg.data.unzip import Progress
from clothseg.errors import ClothsegError, DataError, MachineError, MissingInputError, SettingError, one_line

_TELL_EVERY = 1 << 20  # bytes between two calls of `progress`; encrypted connections bring 16 KB at a time


def fetch(
    source: str, name: str, target: Path, *, progress: Progress | None = None, patience: Patience | None = None
) -> Path:
    """Return the path of a whole file: the one in a local source, or `target`, fetched there if it is not there yet.

    Nothing is copied from a local source. Over http the bytes go into `NAME.part` beside the target, with
    `NAME.part.json` saying which version of the file they belong to; the file takes its final name once its length and
    content are right. A fetch that broke off, or was killed, goes on from there if the server still has that version.
    A file that is at `target` already is used, whatever the source: that is how one brings one's own files.

    Args:
        source: root of the download: http(s) address or local folder.
        name: the file, relative to the root, with slashes: `images/train2020.zip`. Its ending tells what its content
            has to be: .zip and .json are checked.
        target: where the file is to be.
        progress: called about every megabyte; what is there from an earlier run counts as done.
        patience: timeouts and attempts.

    Raises:
        SettingError: the source is neither an http(s) address nor a path.
        MissingInputError: the local source does not have the file.
        DataError: the file that is there already, or in the local source, is not what its name says.
        MachineError: the server cannot be reached, refuses, stalls, cuts off again and again, sends something else than
            the file or leads to plain http; or the disk is full or cannot be written.
    """
    if "://" in source:
        address = _checked_address(source, name)
        if not target.is_file():
            part = PartialFile(target)
            with _disk_failures(target), part.held():
                _fetch_over_http(address, part, progress or _no_progress, patience or Patience())
            return target
        return _checked(target)
    local = Path(source) / name
    if local.is_file() or target.is_file():
        return _checked(local if local.is_file() else target)
    raise MissingInputError(f"{name} is not in the folder {source}. {_ways_out(target)}")


def _no_progress(done: int, total: int | None) -> None:
    """Tell nobody."""


def _ways_out(target: Path) -> str:
    return f"Pass --source with the address or folder of a mirror, or put your own file at {target}"


def _checked_address(source: str, name: str) -> str:
    try:
        parts = urlsplit(source)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        is_good = False
    if not is_good or "@" in source or re.search(r"[?#\s]", source):
        allowed = "https://HOST/PATH or http://HOST/PATH (no user, no ? or #), or the path of a folder"
        raise SettingError(f"SOURCE is {source!r}. Allowed: {allowed}")
    return f"{source.rstrip('/')}/{quote(name)}"


def _checked(path: Path) -> Path:
    """Return `path`; a file that something else left here half done is not taken for whole."""
    try:
        defect = find_defect(path, path.name, end_to_end=False)
    except OSError as error:
        raise MachineError(f"Cannot read {path}: {error.strerror or one_line(error)}. Make it readable") from error
    if defect:
        raise DataError(f"{path} cannot be used: {defect}. Delete it and run this again, or put a whole one there")
    return path


def _fetch_over_http(address: str, part: PartialFile, progress: Progress, patience: Patience) -> None:
    most = part.size
    attempt = 1
    while True:
        try:
            return _fetch_rest(address, part, progress, patience)
        except AnotherTry as failure:
            if isinstance(failure, RangeGoneError):
                part.discard()
            if part.size >= most + patience.new_bytes:
                attempt, most = 1, part.size
            attempt += 1
            if attempt > patience.attempts:
                kept = f" {part.size:,} bytes are kept; run this again to go on from there." if part.size else ""
                raise MachineError(
                    f"Cannot fetch {address}: {failure} ({patience.attempts} attempts).{kept} {_ways_out(part.target)}"
                ) from failure
            time.sleep(patience.seconds_before(attempt, failure.asked_wait))


@contextmanager
def _disk_failures(target: Path) -> Iterator[None]:
    """Name what the disk refuses; what the network refuses has a name when it gets here."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ClothsegError):
            raise
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or one_line(error)
        raise MachineError(
            f"Cannot write {target}: {reason}. Free some space, or choose another --data-path"
        ) from error


def _fetch_rest(address: str, part: PartialFile, progress: Progress, patience: Patience) -> None:
    """Make one attempt at all that is missing, and give the file its name once it is whole."""
    version = part.resumable(address)
    is_resumed = version is not None
    if version is None or part.size != version.length:  # equal: killed between the last byte and the final name
        headers = _range_headers(part.size, version) if version else {}
        with _opened(address, headers, part, patience) as answer:
            is_resumed = answer.status == http.client.PARTIAL_CONTENT
            if is_resumed:
                _check_range(answer, part.size, version)
            else:  # also where the server ignores ranges, or has another version by now
                version = Version.from_headers(address, answer.headers)
                part.start(version)
            assert version is not None
            _copy(answer, part, version, progress, patience)
    defect = find_defect(part.path, part.target.name, end_to_end=True)
    if defect:
        part.discard()
        if is_resumed:
            raise AnotherTry(f"the rest that was fetched did not fit: {defect}")
        raise MachineError(f"Refused what {address} sent: {defect}. {_ways_out(part.target)}")
    part.finish()


def _opened(
    address: str, headers: Mapping[str, str], part: PartialFile, patience: Patience
) -> http.client.HTTPResponse:
    try:
        return open_answer(address, headers, patience)
    except MachineError as error:
        raise MachineError(f"{one_line(error)}. {_ways_out(part.target)}") from error


def _range_headers(offset: int, version: Version) -> dict[str, str]:
    """Ask for the bytes from `offset` on, or for the whole file where the server has another version by now."""
    return {"Range": f"bytes={offset}-", "If-Range": version.validator or ""}


def _check_range(answer: http.client.HTTPResponse, offset: int, version: Version | None) -> None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    is_same = version is not None and answer.headers.get("ETag", version.etag) == version.etag
    if not (version and found and is_same and (int(found[1]), int(found[2])) == (offset, version.length)):
        raise RangeGoneError("the server sends another part of the file than the one asked for")


def _copy(
    answer: http.client.HTTPResponse, part: PartialFile, version: Version, progress: Progress, patience: Patience
) -> None:
    """Write the bytes of an answer behind those that are there, until there are as many as there should be."""
    done, total = part.size, version.length
    _check_space(part, total)
    progress(done, total)
    told = done
    with part.open_at(done) as stream:
        for block in read_blocks(answer, patience, first=START_BYTES):
            if done == 0 and len(block) >= min(START_BYTES, total or START_BYTES):
                wrong = find_wrong_start(block, part.target.name)
                if wrong:
                    part.discard()
                    raise MachineError(f"Refused what {version.address} sends: {wrong}. {_ways_out(part.target)}")
            stream.write(block)
            done += len(block)
            if done - told >= _TELL_EVERY:
                progress(done, total)
                told = done
    if total is not None and done < total:
        raise AnotherTry(f"the connection broke off after {done:,} of {total:,} bytes")
    progress(done, done)


def _check_space(part: PartialFile, total: int | None) -> None:
    needed = (total or 0) - part.size
    free = shutil.disk_usage(part.path.parent).free
    if needed > free:
        raise MachineError(
            f"No room for {part.target}: {needed:,} bytes needed, {free:,} free. "
            "Free some space, or choose another disk with --data-path"
        )
