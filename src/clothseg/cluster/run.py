"""Segments any number of photos on a Ray cluster, in rounds, so that what dies with a worker is done by another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from clothseg.cluster.cluster import Slots
from clothseg.cluster.rounds import Round
from clothseg.cluster.search import Photo
from clothseg.cluster.stored_journal import StoredJournal
from clothseg.cluster.targets import Folder
from clothseg.cluster.worker import Loaded, Plan, unpacked
from clothseg.errors import InputError, MachineError
from clothseg.prediction.journal import Entry, Journal, described_run
from clothseg.prediction.outputs import write_collection
from clothseg.prediction.predictor import Outcome

MOST_PHOTOS_IN_CHUNK = 32
"""Photos that a worker is given at a time: many make little of what Ray takes for a task, about 10 ms."""
CHUNKS_PER_SLOT = 8
"""With few photos chunks are smaller, so that no worker is left with a large one at the end."""
MOST_CHUNKS_IN_ROUND = 4096
MOST_TRIES = 3
"""A photo that was in the only chunk of a worker so often when it died is not tried again."""


@dataclass(frozen=True)
class Chunk:
    """Photos that one worker does, one after the other."""

    numbers: tuple[int, ...]
    """Places in the run's photos."""
    tries: int = 0
    """How often it was lost with its worker."""


def journal_of(plan: Plan, loaded: Loaded, folder: Path) -> Journal | StoredJournal:
    """Return the journal of a run, in `folder` if its output is none of this machine's."""
    run = described_run(
        model=loaded.model, runtime_name=loaded.runtime_name, augmentation=plan.passes, outputs=plan.outputs
    )
    return Journal(plan.place.path, run) if isinstance(plan.place, Folder) else StoredJournal(plan.place, folder, run)


@dataclass(frozen=True)
class ClusterRun:
    """The prediction of some photos into one place, by copies of the model on a Ray cluster."""

    ray: Any = field(repr=False)
    photos: Sequence[Photo]
    plan: Plan
    loaded: Loaded
    slots: Slots
    content: Any = field(repr=False)
    """A reference to the model file's content in the cluster."""
    console: Console = field(repr=False)
    journal: Journal | StoredJournal = field(repr=False)

    def outcomes(self, *, resume: bool = False) -> Iterator[Outcome]:
        """Segment the photos and write their outputs; a photo that cannot be read is reported, and the rest done.

        A chunk whose worker dies is done again, by another. Files are whole or not there and come out the same each
        time, and a photo is reported once, so nothing is lost or doubled.

        Args:
            resume: pass over photos that an earlier run with the same model and options has done.

        Yields:
            One outcome per photo, in the order in which they are done, those of an earlier run first.

        Raises:
            ModelError: the network gave no numbers.
            MachineError: the output cannot be written, or workers die and none does anything.
        """
        done = self.journal.start(self.photos, resume=resume)
        for photo in self.photos:
            if photo.stem in done:
                yield Outcome(photo, files=[*map(self.plan.place.shown, done[photo.stem])], is_new=False)
        left = [number for number, photo in enumerate(self.photos) if photo.stem not in done]
        with self.journal:
            for number, report in self._in_rounds(left):
                photo = self.photos[number]
                if "error" in report:
                    error = unpacked(report["error"])
                    assert isinstance(error, InputError)
                    yield Outcome(photo, error=error)
                    continue
                self.journal.add(Entry(photo.stem, photo.identity, report["files"], report["result"]))
                yield Outcome(photo, files=[*map(self.plan.place.shown, report["files"])], notes=tuple(report["notes"]))

    def write_collection(self) -> tuple[str, ...]:
        """Write the formats that hold all photos together; called once all reports have come.

        Returns:
            The files.

        Raises:
            MachineError: the output cannot be written.
        """
        with TemporaryDirectory(prefix="clothseg-formats-") as folder:
            paths = write_collection(
                Path(folder),
                self.loaded.classes,
                lambda: self.journal.results(self.photos),
                formats=self.plan.outputs.formats,
            )
            for path in paths:
                self.plan.place.write(path.name, path.read_bytes())
        return tuple(self.plan.place.shown(path.name) for path in paths)

    def _in_rounds(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the report of each photo once."""
        waiting = self._chunks(numbers)
        num_barren = 0
        while waiting:
            chunks, waiting = waiting[:MOST_CHUNKS_IN_ROUND], waiting[MOST_CHUNKS_IN_ROUND:]
            this = Round(
                self.ray, self.plan, self.loaded, self.content, self.slots, is_careful=any(one.tries for one in chunks)
            )
            finished: set[int] = set()
            for key, reports in this.reports([self._content(chunk) for chunk in chunks]):
                finished.add(key)
                for report in reports:
                    if "fatal" in report:
                        raise unpacked(report["fatal"])
                    yield report["number"], report
            num_barren = 0 if finished or len(chunks) == 1 else num_barren + 1
            if num_barren >= MOST_TRIES:
                raise MachineError(
                    f"The cluster finished nothing {num_barren} times in a row: {this.reason}. Put that right, then "
                    "go on with --resume"
                )
            lost = [chunk for key, chunk in enumerate(chunks) if key not in finished]
            if num_lost := sum(len(chunk.numbers) for chunk in lost):
                self.console.print(f"{num_lost} photos were lost with a worker and are done again ({this.reason})")
            for chunk in lost:
                if len(chunk.numbers) == 1 and chunk.tries + 1 >= MOST_TRIES:
                    yield chunk.numbers[0], {"error": ("PictureError", self._ended(chunk))}
                else:
                    waiting += _again(chunk)

    def _chunks(self, numbers: Sequence[int]) -> list[Chunk]:
        size = max(1, min(MOST_PHOTOS_IN_CHUNK, -(-len(numbers) // (self.slots.count * CHUNKS_PER_SLOT))))
        return [Chunk(tuple(numbers[start : start + size])) for start in range(0, len(numbers), size)]

    def _content(self, chunk: Chunk) -> list[Mapping[str, Any]]:
        """Return what a worker is told of the photos of a chunk."""
        photos = [(number, self.photos[number]) for number in chunk.numbers]
        return [
            {"number": number, "source": one.source, "file": one.file, "stem": one.stem, "size": one.identity[1]}
            for number, one in photos
        ]

    def _ended(self, chunk: Chunk) -> str:
        source = self.photos[chunk.numbers[0]].source
        return f"Photo ended its worker {MOST_TRIES} times: {source}. Save it again, or look into the cluster's logs"


def _again(chunk: Chunk) -> list[Chunk]:
    """Return how a chunk that was lost is tried again: as it was, and after that photo by photo, to find the one."""
    if chunk.tries == 0:
        return [Chunk(chunk.numbers, 1)]
    return [Chunk((number,), chunk.tries + 1 if len(chunk.numbers) == 1 else 1) for number in chunk.numbers]
