"""The record of finished photos, line by line in the output folder, from which a later run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import clothseg
from clothseg.errors import disk_errors
from clothseg.pictures import whole_file
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.sources import Photo
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation

JOURNAL_NAME = ".clothseg.jsonl"
"""The journal's name in the output folder; hidden, since it is no result."""

VERSION = 1


def described_run(
    *, model: Mapping[str, str], runtime_name: str, augmentation: TestTimeAugmentation, outputs: Outputs
) -> dict[str, Any]:
    """Return everything that determines the files of a photo, for the first line of a journal."""
    written: dict[str, Any] = asdict(outputs) | {"results": outputs.need_results}
    if outputs.need_colors:
        written["colors"] = True
    background = Path(outputs.style.background)
    if background.is_file():
        written["background"] = hashlib.sha256(background.read_bytes()).hexdigest()
    del written["formats"]  # they are written again from the results
    return {
        "clothseg": clothseg.__version__,
        "model": dict(model),
        "runtime": runtime_name,
        "passes": asdict(augmentation) | {"scales": list(augmentation.scales)},
        "outputs": written,
    }


@dataclass(frozen=True)
class Entry:
    """A photo that is done."""

    stem: str
    """Start of its outputs' names; it identifies a photo of the run."""
    photo: tuple[str, int, int]
    """`Photo.identity`: whether it is still the same."""
    files: Mapping[str, int]
    """The files written, by their paths inside the output folder, and their sizes in bytes."""
    result: Mapping[str, Any] | None = None
    """What `Segmentation.to_coco` returned, where the run was asked for results."""

    def is_whole(self, photo: Photo, size_of: Callable[[str], int | None]) -> bool:
        """Return whether the photo, as it is now, is unchanged and its files exist in the recorded sizes.

        Files get their names only when they are complete, so a file of the right size is not read.
        """
        return self.photo == photo.identity and all(size_of(name) == size for name, size in self.files.items())


class Journal:
    """The journal of one run: a first line that says what the run does, and a line for each photo that is done.

    A line is added once all files of its photo have their names, so a kill at any moment loses at most the
    photos in progress. An incomplete line is ignored.

    Args:
        folder: the folder of the journal.
        run: what decides about the files' content: model, options, version. Entries of other runs are ignored.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self._path = folder / JOURNAL_NAME
        self._head = {"version": VERSION, **run}
        self._stream: IO[bytes] | None = None

    def start(self, photos: Iterable[Photo], *, resume: bool) -> dict[str, tuple[str, ...]]:
        """Begin to write: an empty journal, or with `resume` one with those of `photos` that are done.

        Returns:
            The files of each photo that is done, as paths inside the output, by its stem.

        Raises:
            MachineError: the journal cannot be written.
        """
        by_stem = {photo.stem: photo for photo in photos} if resume else {}
        done: dict[str, tuple[str, ...]] = {}
        with whole_file(self._path) as temporary, temporary.open("wb") as stream:
            stream.write(_line(self._head))
            for entry in self.entries() if resume else ():
                photo = by_stem.get(entry.stem)
                if photo is not None and entry.stem not in done and entry.is_whole(photo, self.size_of):
                    stream.write(_line(vars(entry)))
                    done[entry.stem] = tuple(entry.files)
        return done

    def __enter__(self) -> Self:
        with disk_errors(f"Cannot write {self._path}", "Pass another --output"):
            self._stream = self._path.open("ab")
        return self

    def __exit__(self, *error: object) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def add(self, entry: Entry) -> None:
        """Record a photo as done."""
        assert self._stream is not None, "use the journal in a with block"
        self._stream.write(_line(vars(entry)))
        self._stream.flush()

    def entries(self) -> Iterator[Entry]:
        """Yield the photos that are done; none if there is no journal, or another run's."""
        try:
            stream = self._path.open("rb")
        except FileNotFoundError:
            return
        with stream:
            if _parsed(stream.readline()) != self._head:
                return
            yield from filter(None, map(_entry, stream))

    def results(self, photos: Iterable[Photo]) -> Iterator[Mapping[str, Any]]:
        """Yield the results of those of `photos` that are done, in their order, holding one at a time."""
        offsets: dict[str, int] = {}
        with self._path.open("rb") as stream:
            for line in stream:
                entry = _entry(line)
                if entry is not None:
                    offsets[entry.stem] = stream.tell() - len(line)
            for photo in photos:
                if photo.stem in offsets:
                    stream.seek(offsets[photo.stem])
                    entry = _entry(stream.readline())
                    if entry is not None and entry.result is not None:
                        yield entry.result

    def size_of(self, name: str) -> int | None:
        """Return the bytes of a file in the output, which is the journal's folder; None where there is none."""
        try:
            return (self._path.parent / name).stat().st_size
        except OSError:
            return None


def _line(values: Mapping[str, Any]) -> bytes:
    return f"{json.dumps(values)}\n".encode("ascii")


def _parsed(line: bytes) -> Any:
    if not line.endswith(b"\n"):  # cut off
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _entry(line: bytes) -> Entry | None:
    """Return the entry of a line; None for the first line, and for anything else that is none."""
    values = _parsed(line)
    if not isinstance(values, dict) or values.keys() != {"stem", "photo", "files", "result"}:
        return None
    return Entry(values["stem"], tuple(values["photo"]), values["files"], values["result"])
