"""Output targets: a folder that all machines see, or a prefix in an object store, with the journal of its run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clothseg.cluster.remote import WRITABLE_SCHEMES, check_scheme, listed, store_errors, store_of, without_scheme
from clothseg.errors import MachineError, MissingInputError, make_folder
from clothseg.pictures import write_whole
from clothseg.prediction.journal import JOURNAL_NAME, Entry, Journal
from clothseg.prediction.sources import Photo, is_address

PARTS = ".clothseg/"
"""Prefix of the journal's parts in a store; hidden, since they are no results."""

_PART = re.compile(re.escape(PARTS) + r"[0-9]{8}\.jsonl")

MAX_PART_SECONDS, MAX_PART_ENTRIES = 20.0, 1000
"""A part of the journal is written when its first entry is so old, or when it has so many."""


@dataclass(frozen=True)
class FolderTarget:
    """A folder, which on several machines has to be a shared one."""

    path: Path

    def check(self) -> None:
        """Check that the folder can be written, before the run starts.

        Raises:
            MachineError: it cannot.
        """
        make_folder(self.path)

    def check_from_worker(self) -> None:
        """Check that a worker's machine sees the folder: it has the journal, which is older than any worker.

        Raises:
            MachineError: it does not.
        """
        if not (self.path / JOURNAL_NAME).is_file():
            raise MachineError(
                f"A worker's machine does not see the output folder {self.path}. Pass an --output that all machines "
                "of the cluster share, or an address such as s3://bucket/results"
            )

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically.

        Raises:
            MachineError: it cannot be written.
        """
        write_whole(self.path / name, content)

    def location(self, name: str) -> str:
        """Return the path of a file in the target."""
        return str(self.path / name)


@dataclass(frozen=True)
class StoreTarget:
    """A prefix in an object store, such as s3://bucket/results; its methods do what those of `FolderTarget` do."""

    address: str

    def check(self) -> None:
        """See `FolderTarget.check`."""
        bucket = without_scheme(self.address).partition("/")[0]
        with self._errors():
            exists = store_of(self.address).exists(bucket)
        if not exists:
            raise MachineError(f"No bucket {bucket}, or no permission to see it: {self.address}. Pass another --output")

    def check_from_worker(self) -> None:
        """See `FolderTarget.check_from_worker`; an address is the same on all machines."""

    def write(self, name: str, content: bytes) -> None:
        """See `FolderTarget.write`: one PUT, or a multipart upload, which appears when it is complete."""
        with self._errors(name):
            store_of(self.address).pipe_file(self.location(name), content)

    def location(self, name: str) -> str:
        """Return the address of a file in the target."""
        return f"{self.address}/{name}"

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file, by its path inside the target; empty where there is nothing yet."""
        try:
            found = listed(self.address)
        except MissingInputError:
            return {}
        start = len(without_scheme(self.address)) + 1
        return {path[start:]: int(details["size"]) for path, details in found.items()}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._errors(name):
            content: bytes = store_of(self.address).cat_file(self.location(name))
            return content

    def delete(self, names: Iterable[str]) -> None:
        """Remove files."""
        if addresses := [self.location(name) for name in names]:
            with self._errors():
                store_of(self.address).rm(addresses)

    def _errors(self, name: str = "") -> AbstractContextManager[None]:
        what = f"Cannot write {self.location(name) if name else self.address}"
        return store_errors(
            MachineError, what, "Check the address and your permissions there, then run the command with --resume"
        )


Target = FolderTarget | StoreTarget


def target_of(output: str | Path) -> Target:
    """Return the target that `--output` means.

    Raises:
        SettingError: an address at which files cannot be written as a whole.
        MissingExtraError: the package that writes there is not installed.
    """
    if not is_address(output):
        return FolderTarget(Path(output))
    address = str(output).rstrip("/")
    check_scheme(address, WRITABLE_SCHEMES, "Results")
    store_of(address)
    return StoreTarget(address)


class StoredJournal(Journal):
    """A journal for an object store, where files cannot be appended to: a local file, and numbered parts in the store.

    Each part is one PUT, which is atomic. A run that is killed loses the entries since the last
    part; their photos are segmented again, with the same results. `folder` is an empty local one.
    """

    def __init__(self, store: StoreTarget, folder: Path, run: Mapping[str, Any]) -> None:
        super().__init__(folder, run)
        self._store = store
        self._sizes: dict[str, int] = {}
        self._number = 0
        self._num_stored_bytes = 0
        self._num_waiting = 0
        self._waiting_since = 0.0

    def start(self, photos: Iterable[Photo], *, resume: bool) -> dict[str, tuple[str, ...]]:
        """Start the journal; see `Journal.start`."""
        self._sizes = dict(self._store.sizes())
        parts = sorted(name for name in self._sizes if _PART.fullmatch(name))
        if resume:
            self._download(parts)
        done = super().start(photos, resume=resume)
        numbers = [int(name[len(PARTS) : -len(".jsonl")]) for name in parts]
        self._number = max(numbers, default=0) + 1
        self._store_part()
        self._store.delete(parts)  # only now, when the new part contains their valid entries
        self._sizes = {}
        return done

    def _download(self, parts: Iterable[str]) -> None:
        """Join the parts of the newest run, which are the last; each part starts with the first line of its journal."""
        head = b""
        entries: list[bytes] = []
        for name in parts:
            first, _, rest = self._store.read(name).partition(b"\n")
            if first != head:
                head, entries = first, []
            entries.append(rest)
        self._path.write_bytes(head + b"\n" + b"".join(entries))

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._num_waiting:
            self._store_part()

    def add(self, entry: Entry) -> None:
        """Record a finished photo."""
        super().add(entry)
        self._num_waiting += 1
        if self._num_waiting == 1:
            self._waiting_since = time.monotonic()
        if self._num_waiting >= MAX_PART_ENTRIES or time.monotonic() - self._waiting_since >= MAX_PART_SECONDS:
            self._store_part()

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file in the store, as `start` has listed it; None where there is none."""
        return self._sizes.get(name)

    def _store_part(self) -> None:
        """Write the new entries as one part, behind the journal's first line."""
        with self._path.open("rb") as stream:
            head = stream.readline()
            stream.seek(max(self._num_stored_bytes, len(head)))
            rest = stream.read()
            self._num_stored_bytes = stream.tell()
        self._store.write(f"{PARTS}{self._number:08}.jsonl", head + rest)
        self._number += 1
        self._num_waiting = 0
