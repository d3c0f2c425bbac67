"""Masks painted by all cores: photos go out to processes in small groups, counts and problems come back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clothseg.data.manifest import stem_of
from clothseg.data.masks import paint
from clothseg.data.photo_headers import read_photo_size
from clothseg.data.photo_tasks import Instance, PhotoTask
from clothseg.data.problems import Problem, RecordError
from clothseg.data.run_lengths import Edges
from clothseg.data.segmentations import read_outlines
from clothseg.errors import InputError, MachineError, one_line

LIE_FACTOR = 10
LIE_PIXELS = 100
"""A stated area is a lie if it is this many times off, and by more pixels than this."""

_PHOTOS_AT_ONCE = 32
_GROUPS_AHEAD = 3
"""Groups waiting for each process: enough to keep it busy, few enough to keep the parent small."""


@dataclass(frozen=True)
class Canvas:
    """Where photos are read and masks written, and how many classes there are."""

    photos: Path
    masks: Path
    num_classes: int


@dataclass
class Tally:
    """What came of painting some photos."""

    num_masks: int
    pixels_per_class: npt.NDArray[np.int64]
    """(num_classes,) over all masks."""
    photos_per_class: npt.NDArray[np.int64]
    """(num_classes,) masks in which the class occurs."""
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def nothing(cls, num_classes: int) -> Tally:
        """Return the tally of no photos."""
        return cls(0, np.zeros(num_classes, dtype=np.int64), np.zeros(num_classes, dtype=np.int64))

    def count(self, pixels: npt.NDArray[np.int64]) -> None:
        """Add one mask, given its pixels per class."""
        self.num_masks += 1
        self.pixels_per_class += pixels
        self.photos_per_class += pixels > 0

    def add(self, other: Tally) -> None:
        """Add what came of other photos."""
        self.num_masks += other.num_masks
        self.pixels_per_class += other.pixels_per_class
        self.photos_per_class += other.photos_per_class
        self.problems += other.problems


def paint_photos(
    tasks: Iterable[PhotoTask], canvas: Canvas, *, num_workers: int, progress: Callable[[int], None] | None = None
) -> Tally:
    """Paint the mask of each photo into `canvas.masks`, whose sub-folders must be there.

    The result does not depend on `num_workers`. No more than a few groups of photos are under way at a time.

    Args:
        tasks: the photos.
        canvas: where they are and where the masks go.
        num_workers: processes; with less than 2 this process paints.
        progress: called with the number of photos done so far.

    Raises:
        MachineError: a mask cannot be written, or a process died.
    """
    tally = Tally.nothing(canvas.num_classes)
    done = 0
    for count, part in _painted_groups(_grouped(tasks), partial(_paint_group, canvas), num_workers):
        tally.add(part)
        done += count
        if progress:
            progress(done)
    return tally


def _grouped(tasks: Iterable[PhotoTask]) -> Iterator[list[PhotoTask]]:
    tasks = iter(tasks)
    while group := list(islice(tasks, _PHOTOS_AT_ONCE)):
        yield group


def _painted_groups(
    groups: Iterator[list[PhotoTask]], paint_group: Callable[[Sequence[PhotoTask]], Tally], num_workers: int
) -> Iterator[tuple[int, Tally]]:
    """Yield the size and the tally of each group, in the order they came."""
    if num_workers < 2:
        for group in groups:
            yield len(group), paint_group(group)
        return
    # Spawned, not forked: a fork copies locks that a thread of the caller may hold.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_start_worker)
    waiting: deque[tuple[int, Future[Tally]]] = deque()
    try:
        for group in groups:
            waiting.append((len(group), pool.submit(paint_group, group)))
            if len(waiting) > num_workers * _GROUPS_AHEAD:
                size, future = waiting.popleft()
                yield size, future.result()
        for size, future in waiting:
            yield size, future.result()
    except BrokenProcessPool as error:
        raise MachineError(
            "A process that paints masks has died, most likely for want of memory. Run it again with fewer --workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it: after a kill -9 nobody else would end this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _paint_group(canvas: Canvas, group: Sequence[PhotoTask]) -> Tally:
    tally = Tally.nothing(canvas.num_classes)
    for task in group:
        try:
            tally.count(_paint_photo(canvas, task, tally.problems))
        except RecordError as error:
            tally.problems.append(Problem(error.reason, error.detail, task.image_id, file_name=task.file_name))
    return tally


def _paint_photo(canvas: Canvas, task: PhotoTask, problems: list[Problem]) -> npt.NDArray[np.int64]:
    """Write one mask and return its pixels per class.

    Raises:
        RecordError: the photo cannot be used, or none of its annotations.
    """
    _check_photo(canvas.photos / task.file_name, task)
    outlines = read_outlines([instance.segmentation for instance in task.instances], task.height, task.width)
    usable: list[tuple[float, int, list[Edges]]] = []
    for instance, outline in zip(task.instances, outlines, strict=True):
        try:
            if isinstance(outline, RecordError):
                raise outline
            usable.append((_area(instance, outline, task), instance.class_id, outline))
        except RecordError as error:
            problems.append(Problem(error.reason, error.detail, task.image_id, instance.annotation_id, task.file_name))
    if not usable and (task.instances or task.num_set_aside):
        raise RecordError("no annotation left", "all its annotations are set aside")
    usable.sort(key=lambda one: -one[0])  # stable: equal areas stay in the order of the file
    regions = [(class_id, edges) for _, class_id, outline in usable for edges in outline]
    mask = paint(regions, task.height, task.width)
    path = canvas.masks / f"{stem_of(task.file_name)}.png"
    try:
        path.write_bytes(mask.to_png())
    except OSError as error:
        raise MachineError(f"Cannot write {path}: {error.strerror or one_line(error)}. Free some space") from error
    return mask.pixels_per_class(canvas.num_classes)


def _check_photo(path: Path, task: PhotoTask) -> None:
    try:
        height, width = read_photo_size(path)
    except InputError as error:
        raise RecordError("broken photo", one_line(error)) from error
    if (height, width) != (task.height, task.width):
        raise RecordError(
            "photo size",
            f"the photo is {width} x {height} as a person sees it, its record says {task.width} x {task.height}",
        )


def _area(instance: Instance, outline: Sequence[Edges], task: PhotoTask) -> float:
    """Return the area that decides the order of painting: the stated one, or where none is stated the pixels covered.

    Raises:
        RecordError: the stated area is so far off that either it or the outline belongs to something else.
    """
    if instance.area is None:
        return float(paint([(1, edges) for edges in outline], task.height, task.width).pixels_per_class(2)[1])
    covered = int(sum(edges[1::2].sum() - edges[::2].sum() for edges in outline))
    low, high = sorted((instance.area, covered))
    if high - low > LIE_PIXELS and high > LIE_FACTOR * low:
        raise RecordError("area", f"its area is given as {instance.area:g}, its outline covers {covered} pixels")
    return instance.area
