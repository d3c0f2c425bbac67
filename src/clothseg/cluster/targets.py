"""Where results go: a folder that all machines see, or a prefix in an object store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from clothseg.cluster.remote import STORES, check_scheme, file_system, listed, scheme_of, without_scheme, writing
from clothseg.errors import MachineError, MissingInputError
from clothseg.pictures import write_whole
from clothseg.prediction.folder import check_output
from clothseg.prediction.journal import JOURNAL_NAME
from clothseg.prediction.sources import is_address


class Place(Protocol):
    """Where results go. A file there is whole or not there."""

    def check(self) -> None:
        """Refuse a place that cannot be written, before any time is spent.

        Raises:
            MachineError: it cannot be written.
        """

    def check_from_worker(self) -> None:
        """Refuse a place that the machine of a worker does not see.

        Raises:
            MachineError: it is another one there.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file whole.

        Raises:
            MachineError: it cannot be written.
        """

    def shown(self, name: str) -> str:
        """Return where a file of the place is, for people."""


@dataclass(frozen=True)
class Folder:
    """A folder, which on several machines has to be a shared one."""

    path: Path

    def check(self) -> None:
        """See `Place.check`."""
        check_output(self.path)

    def check_from_worker(self) -> None:
        """See `Place.check_from_worker`; the journal, which is begun before any worker, tells the folder."""
        if not (self.path / JOURNAL_NAME).is_file():
            raise MachineError(
                f"A worker's machine does not see the output folder {self.path}. Pass an --output that all machines "
                "of the cluster share, or an address such as s3://bucket/results"
            )

    def write(self, name: str, content: bytes) -> None:
        """See `Place.write`."""
        write_whole(self.path / name, content)

    def shown(self, name: str) -> str:
        """See `Place.shown`."""
        return str(self.path / name)


@dataclass(frozen=True)
class Store:
    """A prefix in an object store, such as s3://bucket/results."""

    address: str

    def check(self) -> None:
        """See `Place.check`."""
        with writing(self.address) as files:
            bucket = without_scheme(self.address).partition("/")[0]
            if not files.exists(bucket):
                raise MachineError(f"No bucket {bucket}, or no right to see it: {self.address}. Pass another --output")

    def check_from_worker(self) -> None:
        """See `Place.check_from_worker`; an address is the same everywhere."""

    def write(self, name: str, content: bytes) -> None:
        """See `Place.write`: one PUT, or a multipart upload that is seen once it is complete."""
        with writing(self.shown(name)) as files:
            files.pipe_file(self.shown(name), content)

    def shown(self, name: str) -> str:
        """See `Place.shown`."""
        return f"{self.address}/{name}"

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each file, by its path inside the place; also of none where there is nothing yet."""
        try:
            found = listed(self.address)
        except MissingInputError:
            return {}
        start = len(without_scheme(self.address)) + 1
        return {path[start:]: int(details["size"]) for path, details in found.items()}

    def read(self, name: str) -> bytes:
        """Return what a file of the place holds."""
        with writing(self.shown(name)):
            content: bytes = file_system(scheme_of(self.address)).cat_file(self.shown(name))
            return content

    def delete(self, names: Iterable[str]) -> None:
        """Remove files of the place."""
        if addresses := [self.shown(name) for name in names]:
            with writing(self.address) as files:
                files.rm(addresses)


def place_of(output: str | Path) -> Folder | Store:
    """Return the place that `--output` means.

    Raises:
        SettingError: an address at which nothing can be written whole.
        MissingExtraError: what writes there is not installed.
    """
    if not is_address(output):
        return Folder(Path(output))
    address = str(output).rstrip("/")
    check_scheme(address, STORES, "Results")
    file_system(scheme_of(address))
    return Store(address)
