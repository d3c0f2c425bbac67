"""Masks painted from photo tasks by all cores, each photo checked before; counts and problems come back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clothseg.data.manifest import stem_of
from clothseg.data.masks import paint
from clothseg.data.photo_headers import read_photo_size
from clothseg.data.photo_tasks import Instance, PhotoTask
from clothseg.data.problems import Problem, RecordError
from clothseg.data.processes import work_in_groups
from clothseg.data.segmentations import TOO_FEW_POINTS, read_outlines
from clothseg.errors import InputError, MachineError, one_line
from clothseg.rle import Edges
from clothseg.types import Int64Array

LIE_FACTOR = 10
LIE_PIXELS = 100
"""A stated area is a lie if it is this many times off, and by more pixels than this."""


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
    pixels_per_class: Int64Array
    """(num_classes,) over all masks."""
    photos_per_class: Int64Array
    """(num_classes,) masks in which the class occurs."""
    problems: list[Problem] = field(default_factory=list)
    num_annotations: int = 0
    """Annotations that were painted."""
    short_polygons: list[Any] = field(default_factory=list)
    """Ids of annotations that were painted without a polygon of theirs, which has fewer than three points."""

    @classmethod
    def nothing(cls, num_classes: int) -> Tally:
        """Return the tally of no photos."""
        return cls(0, np.zeros(num_classes, dtype=np.int64), np.zeros(num_classes, dtype=np.int64))

    def count(self, pixels: Int64Array) -> None:
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
        self.num_annotations += other.num_annotations
        self.short_polygons += other.short_polygons


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
    for count, part in work_in_groups(partial(paint_group, canvas), tasks, num_workers=num_workers):
        tally.add(part)
        done += count
        if progress:
            progress(done)
    return tally


def paint_group(canvas: Canvas, group: Sequence[PhotoTask]) -> Tally:
    """Paint some photos in this process; see `paint_photos`."""
    tally = Tally.nothing(canvas.num_classes)
    usable = []
    for task in group:
        try:
            _check_photo(canvas.photos / task.file_name, task)
            usable.append(task)
        except RecordError as error:
            tally.problems.append(Problem(error.reason, error.detail, task.image_id, file_name=task.file_name))
    outlines = read_outlines(
        [([instance.segmentation for instance in task.instances], task.height, task.width) for task in usable]
    )
    for task, own_outlines in zip(usable, outlines, strict=True):
        try:
            tally.count(_paint_photo(canvas, task, own_outlines, tally))
        except RecordError as error:
            tally.problems.append(Problem(error.reason, error.detail, task.image_id, file_name=task.file_name))
    return tally


def _paint_photo(
    canvas: Canvas, task: PhotoTask, outlines: Sequence[list[Edges] | RecordError], tally: Tally
) -> Int64Array:
    """Write one mask and return its pixels per class; `tally` gets what there is to say of its annotations.

    Raises:
        RecordError: none of its annotations can be used.
    """
    usable: list[tuple[float, int, list[Edges]]] = []
    for instance, outline in zip(task.instances, outlines, strict=True):
        try:
            if isinstance(outline, RecordError):
                raise outline
            usable.append((_area(instance, outline, task), instance.class_id, outline))
            if any(edges is TOO_FEW_POINTS for edges in outline):
                tally.short_polygons.append(instance.annotation_id)
        except RecordError as error:
            tally.problems.append(
                Problem(error.reason, error.detail, task.image_id, instance.annotation_id, task.file_name)
            )
    if not usable and (task.instances or task.num_set_aside):
        raise RecordError("no annotation left", "all its annotations are set aside")
    tally.num_annotations += len(usable)
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
