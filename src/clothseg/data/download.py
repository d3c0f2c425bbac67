"""Files come over HTTP or from a local folder: interrupted downloads resume, and a file is whole or not there."""

from __future__ import annotations

import json
import mmap
import os
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from http.client import HTTPMessage, HTTPResponse
from pathlib import Path
from urllib.parse import quote, urlsplit

from clothseg.data.http_client import RefusedError, RetryableError, RetryPolicy, open_response, read_blocks
from clothseg.data.unzip import find_defect as find_zip_defect
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError, check_space, disk_errors
from clothseg.pictures import write_whole
from clothseg.progress import Advance

_PROGRESS_EVERY = 1 << 20
"""Bytes between two calls of `progress`; encrypted connections deliver 16 KB at a time."""
_END_BYTES = 512
"""Bytes from the start and the end of a file that identify its kind."""
_PAGE_STARTS = (b"<!doctype html", b"<html")


def fetch(
    source: str,
    name: str,
    target: Path,
    *,
    progress: Advance = lambda done, total: None,
    retries: RetryPolicy | None = None,
) -> Path:
    """Return the path of a whole file: the one in a local source, or `target`, downloaded if it is not there yet.

    Nothing is copied from a local source. Over HTTP the bytes are written to `NAME.part` beside the target, with
    `NAME.part.json` saying which version of the file they belong to; the file gets its final name when its length and
    content are right. An interrupted or killed download resumes if the server still has that version. A file that is
    at `target` already is used, whatever the source: so users can add their own files. Only one run at a time
    may download to a folder (see `processes.lock_folder`).

    Args:
        source: root of the download: http(s) address or local folder.
        name: the file, relative to the root, with slashes: `images/train2020.zip`. Its suffix says what its content
            has to be: .zip and .json are checked.
        target: where the file is to be.
        progress: called about every megabyte; what is there from an earlier run counts as done.
        retries: timeouts and attempts.

    Raises:
        SettingError: the source is neither an http(s) address nor a path.
        MissingInputError: the local source does not have the file.
        DataError: the file that is there already, or in the local source, is not what its name says.
        MachineError: the server cannot be reached, refuses, stalls, breaks off again and again, sends something else
            than the file or redirects to plain http; or the disk is full or cannot be written.
    """
    if "://" in source:
        address = _checked_address(source, name)
        if target.is_file():
            return _checked(target)
        return Download(address, _ways_out(target), progress, retries or RetryPolicy()).run(target)
    local = in_folder(Path(source), name)
    if local.is_file() or target.is_file():
        return _checked(local if local.is_file() else target)
    raise MissingInputError(f"{name} is not in the folder {source}. {_ways_out(target)}")


def bytes_to_fetch(source: str, name: str, target: Path) -> int | None:
    """Return how many bytes of a file are still to be downloaded, or None where the server does not say.

    Raises:
        SettingError: the source is no http(s) address.
    """
    address = _checked_address(source, name)
    try:
        with open_response(address, {}, RetryPolicy(timeout=5, attempts=1)) as response:
            length = _Version.from_headers(address, response.headers).length
    except (RefusedError, RetryableError):  # `fetch` says why
        return None
    return None if length is None else max(0, length - _PartialFile(target).size)


def in_folder(folder: Path, name: str) -> Path:
    """Return the path of the file called `name` in a local source, which may have all files in one folder."""
    flat = folder / name.rsplit("/", 1)[-1]
    return flat if flat.is_file() else folder / name


@dataclass(frozen=True)
class Download:
    """One file to download."""

    address: str
    """Checked by the caller: http(s), with everything quoted."""
    way_out: str
    """What to do where it fails; last in the error."""
    progress: Advance
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of each request, beside those of our own."""

    def run(self, target: Path) -> Path:
        """Download to `target`, or resume; see `fetch`.

        Raises:
            MachineError: as `fetch`.
        """
        part = _PartialFile(target)
        with disk_errors(f"Cannot write {target}", "Free some space, or choose another folder"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._attempts(part)
            finally:
                if not part.size:
                    part.remove()
        return target

    def _attempts(self, part: _PartialFile) -> None:
        retries, most, attempt = self.retries, part.size, 1
        while True:
            try:
                return self._attempt(part)
            except RefusedError as error:
                raise MachineError(f"{error}. {self.way_out}") from error
            except RetryableError as failure:
                if failure.discard:
                    part.remove()
                if part.size >= most + retries.new_bytes:
                    attempt, most = 1, part.size
                attempt += 1
                if attempt > retries.attempts:
                    kept = f" {part.size:,} bytes are kept; run this again to resume." if part.size else ""
                    raise MachineError(
                        f"Cannot fetch {self.address}: {failure} ({retries.attempts} attempts).{kept} {self.way_out}"
                    ) from failure
                time.sleep(retries.seconds_before(attempt, failure.requested_wait))

    def _attempt(self, part: _PartialFile) -> None:
        """Make one attempt to download what is missing, and give the file its name when it is complete."""
        version = part.resumable(self.address)
        is_resumed = version is not None
        if version is None or part.size != version.length:  # equal: killed between the last byte and the final name
            headers = {"Range": f"bytes={part.size}-", "If-Range": version.validator or ""} if version else {}
            with open_response(self.address, {**self.headers, **headers}, self.retries) as response:
                is_resumed = version is not None and response.status == HTTPStatus.PARTIAL_CONTENT
                if version is not None and is_resumed:
                    _check_range(response, part.size, version)
                else:  # also where the server ignores ranges, or has another version by now
                    version = _Version.from_headers(self.address, response.headers)
                    part.start(version)
                self._copy(response, part, version.length)
        defect = find_defect(part.path, part.target.name, whole=True)
        if defect and is_resumed:
            raise RetryableError(f"the rest of the file does not match its start: {defect}", discard=True)
        if defect:
            part.remove()
            raise RefusedError(f"Refused what {self.address} sent: {defect}")
        part.finish()

    def _copy(self, response: HTTPResponse, part: _PartialFile, total: int | None) -> None:
        """Append the bytes of a response to those that are there, until there are `total` of them."""
        done = part.size
        check_space(part.path.parent, (total or 0) - done, what=str(part.target))
        self.progress(done, total)
        reported = done
        with part.path.open("ab") as stream:
            for block in read_blocks(response, self.retries):
                stream.write(block)
                done += len(block)
                if done - reported >= _PROGRESS_EVERY:
                    self.progress(done, total)
                    reported = done
        if total is not None and done < total:
            raise RetryableError(f"the connection broke off after {done:,} of {total:,} bytes")
        self.progress(done, done)


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
    """Return `path`; refuse a file that another program left incomplete."""
    with disk_errors(f"Cannot read {path}", "Make it readable"):
        defect = find_defect(path, path.name, whole=False)
    if defect:
        raise DataError(f"{path} cannot be used: {defect}. Delete it and run this again, or put a whole one there")
    return path


def find_defect(path: Path, name: str, *, whole: bool) -> str | None:
    """Return why the file at `path` is not a whole file of the kind that `name` ends in, or None.

    Args:
        path: the file.
        name: what it is or will be called; .zip and .json are checked, anything else is accepted.
        whole: read all of a JSON file, not only its two ends; needs msgspec. Only this finds a file that was cut off
            after some inner bracket.
    """
    with path.open("rb") as stream:
        start = stream.read(_END_BYTES)
        stream.seek(-min(path.stat().st_size, _END_BYTES), os.SEEK_END)
        end = stream.read().rstrip()
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.lower().startswith(_PAGE_STARTS):
        return "it is a web page"
    if name.endswith(".zip"):
        is_zip = start.startswith(b"PK")
        return find_zip_defect(path) if is_zip else f"it is no zip archive (it starts with {start[:16]!r})"
    if name.endswith(".json") and not text.startswith(b"{"):
        return f"it is no JSON object (it starts with {start[:16]!r})"
    if name.endswith(".json") and (not end.endswith(b"}") or (whole and _is_truncated(path))):
        return "it is a JSON file without its end"
    return None


def _is_truncated(path: Path) -> bool:
    """Return whether a JSON file lacks its end; what else is wrong with it is found when it is read."""
    import msgspec

    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            msgspec.json.decode(content, type=msgspec.Raw)
        except (msgspec.DecodeError, RecursionError) as error:
            return "truncated" in str(error)
    return False


@dataclass(frozen=True)
class _Version:
    """A server's description of the file it sends, so that a later request can get the rest of the same file."""

    address: str
    etag: str | None
    last_modified: str | None
    length: int | None
    """Bytes of the whole file, or None where the server does not say."""

    @classmethod
    def from_headers(cls, address: str, headers: HTTPMessage) -> _Version:
        """Read the headers of a response with status 200."""
        length = headers.get("Content-Length", "")
        is_known = length.isdecimal() and "Transfer-Encoding" not in headers
        return cls(address, headers.get("ETag"), headers.get("Last-Modified"), int(length) if is_known else None)

    @property
    def validator(self) -> str | None:
        """The value for If-Range. A weak ETag is not allowed there: two files with one weak ETag may differ in bytes.

        Source: RFC 9110, section 13.1.5.
        """
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class _PartialFile:
    """`NAME.part` with the bytes downloaded so far, and `NAME.part.json` with their version, beside the target."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._version_path = target.with_name(f"{target.name}.part.json")

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def resumable(self, address: str) -> _Version | None:
        """Return which version of the file at `address` the bytes belong to, or None where they are of no use."""
        try:
            version = _Version(**json.loads(self._version_path.read_bytes()))
            is_usable = version.address == address and version.validator is not None
            return version if is_usable and version.length is not None and 0 < self.size <= version.length else None
        except (OSError, ValueError, TypeError, AttributeError):  # not there, or not written by us
            return None

    def start(self, version: _Version) -> None:
        """Start again with no bytes of `version`."""
        self.remove()  # first: bytes must never be beside the record of another version
        write_whole(self._version_path, json.dumps(asdict(version), indent=1).encode() + b"\n")
        self.path.touch()

    def remove(self) -> None:
        """Remove the bytes and their version."""
        self.path.unlink(missing_ok=True)
        self._version_path.unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the file its final name when the disk has all of it."""
        with self.path.open("rb") as stream:
            os.fsync(stream.fileno())
        self.path.replace(self.target)
        self._version_path.unlink(missing_ok=True)


def _check_range(response: HTTPResponse, offset: int, version: _Version) -> None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
    is_same = response.headers.get("ETag", version.etag) == version.etag
    if not (found and is_same and (int(found[1]), int(found[2])) == (offset, version.length)):
        raise RetryableError("the server sends another part of the file than requested", discard=True)
