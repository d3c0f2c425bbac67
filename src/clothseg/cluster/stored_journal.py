"""The journal of a run whose results go to an object store, where nothing can be appended to: kept in parts."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from clothseg.cluster.targets import Store
from clothseg.prediction.journal import JOURNAL_NAME, Entry, Journal, Photo

PARTS = ".clothseg/"
"""Where in the output the parts lie; hidden, since they are no results."""

_PART = re.compile(re.escape(PARTS) + r"[0-9]{8}\.jsonl")

MOST_SECONDS, MOST_ENTRIES = 20.0, 1000
"""A part is written when its first entry is so old, or when it has so many."""


class StoredJournal:
    """A journal on this machine for as long as the run lasts, and in the store part by part.

    A part is one PUT, so it is whole or not there. A run that is killed loses the entries since the last part; their
    photos are done anew, and come out the same. Otherwise as `prediction.journal.Journal`.

    Args:
        store: the output.
        folder: an empty folder of this machine.
        run: see `Journal`.
    """

    def __init__(self, store: Store, folder: Path, run: Mapping[str, Any]) -> None:
        self._store = store
        self._sizes: dict[str, int] = {}
        self._path = folder / JOURNAL_NAME
        self._journal = Journal(folder, run, size_of=lambda name: self._sizes.get(name))
        self._number = 0
        self._stored = 0
        self._waiting = 0
        self._since = 0.0

    def start(self, photos: Iterable[Photo], *, resume: bool) -> dict[str, tuple[str, ...]]:
        """Begin to write; see `Journal.start`."""
        self._sizes = dict(self._store.sizes())
        parts = sorted(name for name in self._sizes if _PART.fullmatch(name))
        if resume:
            self._gather(parts)
        done = self._journal.start(photos, resume=resume)
        numbers = [int(name[len(PARTS) : -len(".jsonl")]) for name in parts]
        self._number = max(numbers, default=0) + 1
        self._store_rest()
        self._store.delete(parts)  # only now that the new part holds what counts of them
        self._sizes = {}
        return done

    def _gather(self, parts: Iterable[str]) -> None:
        """Put the parts together; the first line of one counts for all, so those of another run are passed over."""
        head = b""
        entries: list[bytes] = []
        for name in parts:
            first, _, rest = self._store.read(name).partition(b"\n")
            if first != head:  # the parts of the newest run are the last
                head, entries = first, []
            entries.append(rest)
        self._path.write_bytes(head + b"\n" + b"".join(entries))

    def __enter__(self) -> Self:
        self._journal.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._journal.__exit__(*error)
        if self._waiting:
            self._store_rest()

    def add(self, entry: Entry) -> None:
        """Note a photo as done."""
        self._journal.add(entry)
        self._waiting += 1
        if self._waiting == 1:
            self._since = time.monotonic()
        if self._waiting >= MOST_ENTRIES or time.monotonic() - self._since >= MOST_SECONDS:
            self._store_rest()

    def results(self, photos: Iterable[Photo]) -> Iterator[Mapping[str, Any]]:
        """Yield the results of photos that are done; see `Journal.results`."""
        return self._journal.results(photos)

    def _store_rest(self) -> None:
        """Write what is new as a part of its own; each part begins with the journal's first line."""
        with self._path.open("rb") as stream:
            head = stream.readline()
            stream.seek(max(self._stored, len(head)))
            rest = stream.read()
            self._stored = stream.tell()
        self._store.write(f"{PARTS}{self._number:08}.jsonl", head + rest)
        self._number += 1
        self._waiting = 0
