"""Masks painted from an annotation file by all cores, each photo and outline checked before.

A photo of 550 x 830 has 450,000 pixels, but its clothes have about 1,500 edges along its columns. `paint` works on the
edges alone: which region is on top between two of them, how many pixels that is, and where the PNG's rows differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np

from clothseg.data.annotations import ANNOTATION_RECORD, AnnotationFile, choose, open_annotations
from clothseg.data.links import PhotoNames
from clothseg.data.manifest import names_by_stem, stem_of
from clothseg.data.pair import read_photo_size
from clothseg.data.processes import work_in_groups
from clothseg.data.records import Instance, PhotoTask, check_records, unknown_names
from clothseg.data.report import Problem, RecordError, SplitReport
from clothseg.data.segmentations import TOO_FEW_POINTS, read_outlines
from clothseg.data.source import MaskCounts, MaskJob
from clothseg.encoding import png_from_rows
from clothseg.errors import InputError, disk_errors, one_line
from clothseg.labels import BACKGROUND_ID, CLASS_LISTS, ClassList
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.rle import Edges
from clothseg.types import Int64Array, UInt8Array

PHOTOS_PER_PROCESS = 200
"""Fewer photos or masks are done in less time than a process takes to start."""

AREA_FACTOR = 10
AREA_PIXELS = 100
"""A stated area is wrong if it is off by more than this factor and by more than this many pixels."""

Item = TypeVar("Item")


def write_in_groups(
    job: MaskJob, title: str, write_group: Callable[[Sequence[Item]], MaskCounts], items: Mapping[str, Item]
) -> MaskCounts:
    """Write masks in groups, in any number of processes, and return the sum of the counts.

    `write_group` writes the masks of some items and must be picklable. The folders in the names of the items, relative
    and with slashes, are made below `job.masks`.

    Raises:
        MachineError: a process died, or `write_group` raised it.
    """
    for parent in {PurePosixPath(name).parent for name in items}:
        (job.masks / parent).mkdir(parents=True, exist_ok=True)
    num_workers = min(job.num_workers, len(items) // PHOTOS_PER_PROCESS)
    counts = MaskCounts.zero(len(job.classes))
    with job.steps(title) as advance:
        for part in work_in_groups(write_group, list(items.values()), num_workers=num_workers, progress=advance):
            counts.add(part)
    return counts


def limited(items: Mapping[str, Item], limit: int | None) -> tuple[dict[str, Item], tuple[str, ...]]:
    """Return `limit` of the items by their names, in their order, and a note for the report if some are left out."""
    if limit is None or len(items) <= limit:
        return dict(items), ()
    chosen = choose(items, limit)
    note = f"Limited to {limit:,} of {len(items):,} photos, chosen by a hash of their names"
    return {name: item for name, item in items.items() if name in chosen}, (note,)


def paint_annotations(
    job: MaskJob, annotations: Path, *, photo_source: Path | None = None
) -> tuple[SplitReport, MaskCounts]:
    """Paint the mask of every photo that a COCO annotation file describes.

    A custom class list may leave categories out; with the two built-in lists, an annotation whose category is in no
    class is a defect of the file. `photo_source` is the folder that the photos came from, if it was another.

    Raises:
        DataError: the annotation file as a whole cannot be used.
        MachineError: a mask cannot be written, or a process died.
    """
    file = open_annotations(annotations)
    is_custom = job.classes not in CLASS_LISTS.values()
    names = PhotoNames(names_by_stem(job.photos, PHOTO_SUFFIXES), photo_source or job.photos)
    records = check_records(file, job.classes, names, strict_categories=not is_custom)
    write_group = partial(paint_group, job.photos, job.masks, len(job.classes))
    tasks, notes = limited({task.file_name: task for task in records.tasks}, job.limit)
    counts = write_in_groups(job, f"Painting masks of {job.split.name}", write_group, tasks)
    report = SplitReport(
        num_photos=len(file.images),
        num_annotations=len(file.annotations) + sum(one.reason == ANNOTATION_RECORD for one in file.problems),
        num_masks=counts.num_masks,
        problems=(*records.problems, *counts.problems),
        left_out=dict(records.left_out.most_common()),
        notes=(*notes, *_notes(file, job.classes if is_custom else None, counts.short_polygons)),
    )
    return report, counts


def _notes(file: AnnotationFile, custom_classes: ClassList | None, short_polygons: list[Any]) -> tuple[str, ...]:
    unknown = unknown_names(file, custom_classes) if custom_classes else []
    notes = [f"The class list names {name}, which the file does not have" for name in unknown]
    if short_polygons:
        ids = ", ".join(map(repr, short_polygons[:10])) + (", …" if len(short_polygons) > 10 else "")
        notes.append(
            f"Polygons of fewer than 3 points are left out of {len(short_polygons)} annotations that have others "
            f"(ids {ids})"
        )
    return tuple(notes)


def paint_group(photos: Path, masks: Path, num_classes: int, tasks: Sequence[PhotoTask]) -> MaskCounts:
    """Paint some photos in this process into `masks`, whose sub-folders must exist.

    Raises:
        MachineError: a mask cannot be written.
    """
    counts = MaskCounts.zero(num_classes)
    usable = []
    for task in tasks:
        try:
            _check_photo(photos / task.file_name, task)
            usable.append(task)
        except RecordError as error:
            counts.problems.append(Problem(error.reason, error.detail, task.image_id, file_name=task.file_name))
    outlines = read_outlines(
        [([bytes(instance.segmentation) for instance in task.instances], task.height, task.width) for task in usable]
    )
    for task, photo_outlines in zip(usable, outlines, strict=True):
        try:
            regions = _regions(task, photo_outlines, counts)
        except RecordError as error:
            counts.problems.append(Problem(error.reason, error.detail, task.image_id, file_name=task.file_name))
            continue
        mask = paint(regions, task.height, task.width)
        path = masks / f"{stem_of(task.file_name)}.png"
        with disk_errors(f"Cannot write {path}", "Free some space"):
            path.write_bytes(mask.to_png())
        counts.add_mask(mask.pixels_per_class(num_classes))
    return counts


def _check_photo(path: Path, task: PhotoTask) -> None:
    try:
        height, width = read_photo_size(path)
    except InputError as error:
        raise RecordError("broken photo", one_line(error)) from error
    if (height, width) != (task.height, task.width):
        raise RecordError(
            "photo size", f"the EXIF-oriented photo is {width} x {height}, its record says {task.width} x {task.height}"
        )


def _regions(
    task: PhotoTask, outlines: Sequence[list[Edges] | RecordError], counts: MaskCounts
) -> list[tuple[int, Edges]]:
    """Return (class id, edges) of each region in the order of painting; `counts` gets problems and counts."""
    usable: list[tuple[float, int, list[Edges]]] = []
    for instance, outline in zip(task.instances, outlines, strict=True):
        try:
            if isinstance(outline, RecordError):
                raise outline
            usable.append((_area(instance, outline, task), instance.class_id, outline))
            if any(edges is TOO_FEW_POINTS for edges in outline):
                counts.short_polygons.append(instance.annotation_id)
        except RecordError as error:
            counts.problems.append(
                Problem(error.reason, error.detail, task.image_id, instance.annotation_id, task.file_name)
            )
    if not usable and (task.instances or task.num_skipped):
        raise RecordError("no annotation left", "all its annotations are skipped")
    counts.num_annotations += len(usable)
    usable.sort(key=lambda one: -one[0])  # stable: equal areas stay in the order of the file
    return [(class_id, edges) for _, class_id, outline in usable for edges in outline]


def _area(instance: Instance, outline: Sequence[Edges], task: PhotoTask) -> float:
    """Return the area that decides the order of painting: the stated area, or if none is stated the covered pixels.

    Raises:
        RecordError: the stated area is so far off that either the area or the outline belongs to another object.
    """
    if instance.area is None and len(outline) > 1:  # parts may overlap
        return float(paint([(1, edges) for edges in outline], task.height, task.width).pixels_per_class(2)[1])
    covered = int(sum(edges[1::2].sum() - edges[::2].sum() for edges in outline))
    if instance.area is None:
        return float(covered)
    low, high = sorted((instance.area, covered))
    if high - low > AREA_PIXELS and high > AREA_FACTOR * low:
        raise RecordError("area", f"its area is given as {instance.area:g}, its outline covers {covered} pixels")
    return instance.area


@dataclass(frozen=True)
class PaintedMask:
    """The class of each pixel of a photo, as runs of one class down the columns."""

    height: int
    width: int
    starts: Int64Array
    """(n,) first pixel of each run, rising; those before are background. Pixel (y, x) is number x * height + y."""
    class_ids: UInt8Array
    """(n,) the class of each run."""

    def pixels_per_class(self, num_classes: int) -> Int64Array:
        """Return (num_classes,) how many pixels each class has."""
        counts = np.bincount(self.class_ids, weights=self._ends() - self.starts, minlength=num_classes)
        counts[BACKGROUND_ID] += self.starts[0] if len(self.starts) else self.height * self.width
        return counts.astype(np.int64)

    def to_png(self) -> bytes:
        """Return the mask as an 8-bit grey PNG whose values are class ids."""
        return png_from_rows(self._row_differences())

    def _ends(self) -> Int64Array:
        return np.append(self.starts[1:], self.height * self.width)

    def _row_differences(self) -> UInt8Array:
        """Return (height, 1 + width) uint8: PNG's filter 2, each pixel minus the pixel above, behind its number.

        The pixel above is the pixel before in the order of the runs, so only their first pixels differ from 0, and the
        top row, which has nothing above.
        """
        rows = np.zeros((self.height, self.width + 1), dtype=np.uint8)
        rows[:, 0] = 2
        if not len(self.starts):
            return rows
        columns = self.starts // self.height
        lines = self.starts - columns * self.height
        differences = self.class_ids.copy()
        differences[1:] -= self.class_ids[:-1]
        np.copyto(differences, self.class_ids, where=lines == 0)
        rows.ravel()[lines * (self.width + 1) + columns + 1] = differences
        last_columns = (self._ends() - 1) // self.height
        for run in np.flatnonzero((last_columns > columns) & (self.class_ids != BACKGROUND_ID)).tolist():
            rows[0, columns[run] + 2 : last_columns[run] + 2] = self.class_ids[run]
        return rows


def paint(regions: Sequence[tuple[int, Edges]], height: int, width: int) -> PaintedMask:
    """Paint regions, (class id, edges), one over the other; a later region covers the earlier ones.

    The edges are within height * width, which are the photo's in pixels.
    """
    regions = [(class_id, edges) for class_id, edges in regions if len(edges)]
    if not regions:
        return PaintedMask(height, width, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8))
    unsorted = np.concatenate([edges for _, edges in regions])
    order = unsorted.argsort()
    edges = unsorted[order]
    ranks = np.empty_like(order)
    ranks[order] = np.arange(len(order))
    class_ids = np.zeros(len(edges), dtype=np.uint8)  # of the run that begins at each edge
    begin = 0
    for class_id, region_edges in regions:
        _cover(class_ids, ranks[begin : begin + len(region_edges)], class_id)
        begin += len(region_edges)
    # Of several edges at one pixel the last one counts: the runs between them are empty.
    kept = np.append(edges[1:] != edges[:-1], edges[-1] < height * width)
    return PaintedMask(height, width, edges[kept], class_ids[kept])


def _cover(class_ids: UInt8Array, ranks: Int64Array, class_id: int) -> None:
    """Set the class of the runs inside a region; `ranks` are the positions of its edges among all sorted edges."""
    first, last = ranks[0], ranks[-1]
    toggles = np.zeros(last - first, dtype=bool)
    toggles[ranks[:-1] - first] = True
    np.copyto(class_ids[first:last], class_id, where=np.logical_xor.accumulate(toggles))
