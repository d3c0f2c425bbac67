"""A run on a Ray cluster: passes of Ray Data over chunks of photos; chunks that are lost with a worker are repeated."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clothseg.cluster.cluster import Slots, last_line
from clothseg.cluster.targets import FolderTarget, StoredJournal
from clothseg.cluster.worker import LoadedModel, Replica, RunOptions
from clothseg.errors import InputError, MachineError, PictureError, pack_error, unpack_error
from clothseg.prediction.journal import Entry, Journal, described_run
from clothseg.prediction.outputs import write_collection
from clothseg.prediction.predictor import Outcome
from clothseg.prediction.sources import Photo
from clothseg.progress import Printer

MAX_PHOTOS_IN_CHUNK = 32
"""Photos of one Ray task: with many photos, Ray's overhead of about 10 ms per task is small."""
CHUNKS_PER_SLOT = 8
"""Chunks are smaller when there are few photos, so that no worker has a large one left at the end."""
MAX_CHUNKS_IN_PASS = 4096
MAX_TRIES = 3
"""A photo is skipped if its worker died this often while it had no other photo."""
TASKS_PER_WORKER = 2
"""Chunks that a worker has at a time: the next one is there when one is done. The others wait (back-pressure)."""


@dataclass(frozen=True)
class Chunk:
    """Photos that one worker segments one after the other."""

    numbers: tuple[int, ...]
    """Indices of the run's photos."""
    tries: int = 0
    """How often it was lost with its worker."""


def journal_of(options: RunOptions, model: LoadedModel, folder: Path) -> Journal:
    """Return the journal of a run; `folder` is used if the output is in a store."""
    run = described_run(
        model=model.identity,
        runtime_name=model.runtime_name,
        augmentation=options.augmentation,
        outputs=options.outputs,
    )
    target = options.target
    return Journal(target.path, run) if isinstance(target, FolderTarget) else StoredJournal(target, folder, run)


@dataclass(frozen=True)
class ClusterRun:
    """Segments photos with copies of the model on a Ray cluster."""

    ray: Any = field(repr=False)
    photos: Sequence[Photo]
    options: RunOptions
    model: LoadedModel
    slots: Slots
    content: Any = field(repr=False)
    """Ray's reference to the content of the model file."""
    console: Printer = field(repr=False)
    journal: Journal = field(repr=False)

    def outcomes(self, *, resume: bool = False) -> Iterator[Outcome]:
        """Segment the photos as `FolderRun.outcomes` does, but in the order in which they are finished.

        A chunk whose worker dies is repeated by another. Files are written atomically, with the same
        content each time, and a photo is reported once, so nothing is lost or doubled.

        Raises:
            ModelError: the network's output is not finite.
            MachineError: the output cannot be written, or workers die and none finishes anything.
        """
        done = self.journal.start(self.photos, resume=resume)
        for photo in self.photos:
            if photo.stem in done:
                yield Outcome(photo, files=self._locations(done[photo.stem]), is_new=False)
        left = [number for number, photo in enumerate(self.photos) if photo.stem not in done]
        with self.journal:
            for number, report in self._run_passes(left):
                photo = self.photos[number]
                if "error" in report:
                    error = unpack_error(report["error"])
                    assert isinstance(error, InputError)
                    yield Outcome(photo, error=error)
                    continue
                self.journal.add(Entry(photo.stem, photo.identity, report["files"], report["result"]))
                yield Outcome(photo, files=self._locations(report["files"]), notes=tuple(report["notes"]))

    def write_collection(self) -> tuple[str, ...]:
        """Write the formats of all photos together; see `FolderRun.write_collection`."""
        with TemporaryDirectory(prefix="clothseg-formats-") as folder:
            paths = write_collection(
                Path(folder),
                self.model.classes,
                lambda: self.journal.results(self.photos),
                formats=self.options.outputs.formats,
            )
            for path in paths:
                self.options.target.write(path.name, path.read_bytes())
        return self._locations(path.name for path in paths)

    def _locations(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self.options.target.location, names))

    def _run_passes(self, numbers: Sequence[int]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the number and the report of each photo once."""
        waiting = self._chunks(numbers)
        num_empty = 0
        while waiting:
            chunks, waiting = waiting[:MAX_CHUNKS_IN_PASS], waiting[MAX_CHUNKS_IN_PASS:]
            ray_pass = RayPass(self, one_at_a_time=any(one.tries for one in chunks))
            finished: set[int] = set()
            for key, reports in ray_pass.reports([self._task(chunk) for chunk in chunks]):
                finished.add(key)
                for report in reports:
                    if "fatal" in report:
                        raise unpack_error(report["fatal"])
                    yield report["number"], report
            num_empty = 0 if finished or len(chunks) == 1 else num_empty + 1
            if num_empty >= MAX_TRIES:
                raise MachineError(
                    f"The cluster finished nothing {num_empty} times in a row: {ray_pass.reason}. Solve this, then run "
                    "the command with --resume"
                )
            lost = [chunk for key, chunk in enumerate(chunks) if key not in finished]
            if num_lost := sum(len(chunk.numbers) for chunk in lost):
                self.console.print(f"{num_lost} photos were lost with a worker and are repeated ({ray_pass.reason})")
            for chunk in lost:
                if len(chunk.numbers) == 1 and chunk.tries + 1 >= MAX_TRIES:
                    source = self.photos[chunk.numbers[0]].source
                    what = f"Photo ended its worker {MAX_TRIES} times: {source}"
                    error = PictureError(f"{what}. Save it again, or look into the cluster's logs")
                    yield chunk.numbers[0], {"error": pack_error(error)}
                else:
                    waiting += _repeated(chunk)

    def _chunks(self, numbers: Sequence[int]) -> list[Chunk]:
        size = max(1, min(MAX_PHOTOS_IN_CHUNK, -(-len(numbers) // (self.slots.count * CHUNKS_PER_SLOT))))
        return [Chunk(tuple(numbers[start : start + size])) for start in range(0, len(numbers), size)]

    def _task(self, chunk: Chunk) -> list[Mapping[str, Any]]:
        """Return what a worker needs to know of the photos of a chunk."""
        photos = [(number, self.photos[number]) for number in chunk.numbers]
        return [
            {"number": number, "source": one.source, "file": one.file, "stem": one.stem, "size": one.identity[1]}
            for number, one in photos
        ]


def _repeated(chunk: Chunk) -> list[Chunk]:
    """Return how a lost chunk is tried again: first as it was, then photo by photo to find the one that is fatal."""
    if chunk.tries == 0:
        return [Chunk(chunk.numbers, 1)]
    return [Chunk((number,), chunk.tries + 1 if len(chunk.numbers) == 1 else 1) for number in chunk.numbers]


@dataclass
class RayPass:
    """One pass of Ray Data over some chunks; a chunk is done by one worker, or lost with it."""

    run: ClusterRun
    one_at_a_time: bool
    """A worker has one chunk at a time, so that a chunk that ends its worker takes no other one with it."""
    reason: str = "Ray does not say why"
    """Why chunks were lost, in Ray's words."""

    def reports(self, chunks: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Segment chunks, each given as what `Replica` needs to know of its photos.

        Yields:
            The index of a chunk and the reports of its photos, when it is finished; nothing for a lost chunk.
        """
        with self._capture_log():
            try:
                for batch in self._dataset(chunks).iter_batches(batch_size=None, prefetch_batches=0):
                    for done in map(json.loads, batch["done"]):
                        yield done["key"], done["reports"]
            except self.run.ray.exceptions.RayError as error:  # the chunks that did not come are lost
                self.reason = _in_words(error)

    def _dataset(self, chunks: Sequence[Sequence[Mapping[str, Any]]]) -> Any:
        run, data = self.run, self.run.ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # a lost chunk does not end the others
        rows = [{"chunk": json.dumps({"key": key, "photos": photos})} for key, photos in enumerate(chunks)]
        with warnings.catch_warnings():
            # Ray 2.64 removes map_batches' free options, and with them max_task_retries; see pyproject.toml.
            warnings.simplefilter("ignore", run.ray.util.annotations.RayDeprecationWarning)
            return data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Replica,
                batch_size=None,
                fn_constructor_args=(run.options, run.model, [run.content]),
                compute=data.ActorPoolStrategy(
                    size=min(run.slots.count, len(chunks)),
                    max_tasks_in_flight_per_actor=1 if self.one_at_a_time else TASKS_PER_WORKER,
                ),
                # A worker that dies is started again where there is room, but its chunks do not wait for it: they are
                # repeated in the next pass, so that a machine that never comes back delays nothing.
                max_restarts=-1,
                max_task_retries=0,
                **run.slots.resources,
            )

    @contextlib.contextmanager
    def _capture_log(self) -> Iterator[None]:
        """Keep Ray Data's log off stderr, and take the reason of lost chunks from it.

        Logged errors have frames that refer to the pass's workers, and a worker that is referenced keeps its slot: the
        next pass would wait for it forever. So no other handler gets them, and reference cycles are collected.
        """
        logger = logging.getLogger("ray.data")
        before = logger.handlers, logger.level, logger.propagate
        handler = logging.Handler()
        handler.addFilter(self._take_reason)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.handlers, _, logger.propagate = before
            logger.setLevel(before[1])
            gc.collect()

    def _take_reason(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            self.reason = _in_words(record.exc_info[1])
        return False  # not printed


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {last_line(error)[:160]}"
