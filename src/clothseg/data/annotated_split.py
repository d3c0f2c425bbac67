"""The masks of one split, painted from its annotation file."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from clothseg.data.annotations import ANNOTATION_RECORD, open_annotations
from clothseg.data.manifest import names_by_stem
from clothseg.data.painting import Canvas, Tally, paint_photos
from clothseg.data.photo_tasks import PhotoNames, gather_tasks
from clothseg.data.records import unknown_names
from clothseg.data.report import SplitReport
from clothseg.data.source import SplitFolders
from clothseg.labels import CATEGORIES, GROUPS, ClassList
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.progress import Steps

PHOTOS_WORTH_A_PROCESS = 300
"""Fewer photos are painted in less time than a process takes to start."""


def paint_annotations(
    annotations: Path,
    folder: Path,
    split: SplitFolders,
    masks: Path,
    *,
    classes: ClassList,
    num_workers: int,
    steps: Steps,
    source: Path | None = None,
) -> tuple[SplitReport, Tally]:
    """Paint the mask of every photo that a COCO annotation file describes.

    Args:
        annotations: the COCO instance JSON.
        folder: the data set's folder.
        split: which of its photos.
        masks: an empty folder for the masks.
        classes: into which the categories are sorted. One's own list may leave categories out; in the two built in,
            a category that falls into no class is a fault of the file.
        num_workers: processes that paint.
        steps: shows the progress.
        source: folder that the photos came from, if it was another.

    Raises:
        DataError: the annotation file as a whole cannot be used.
        MachineError: a mask cannot be written.
    """
    file = open_annotations(annotations)
    is_own = classes not in (GROUPS, CATEGORIES)
    photos = folder / split.photos
    names = PhotoNames(names_by_stem(photos, PHOTO_SUFFIXES), source or photos)
    tasks = gather_tasks(file, classes, names, strict_categories=not is_own)
    for parent in {PurePosixPath(name).parent for name in tasks.file_names}:
        (masks / parent).mkdir(parents=True, exist_ok=True)
    with steps(f"Painting masks of {split.name}") as advance:
        tally = paint_photos(
            tasks,
            Canvas(photos, masks, len(classes)),
            num_workers=min(num_workers, len(tasks) // PHOTOS_WORTH_A_PROCESS),
            progress=lambda done: advance(done, len(tasks)),
        )
    unknown = unknown_names(file, classes) if is_own else []
    notes = [f"The class list asks for {name}, which the file does not have" for name in unknown]
    if tally.short_polygons:
        ids = ", ".join(map(repr, tally.short_polygons[:10])) + (", …" if len(tally.short_polygons) > 10 else "")
        notes.append(
            f"Polygons of fewer than 3 points are left out of {len(tally.short_polygons)} annotations that have others "
            f"(ids {ids})"
        )
    report = SplitReport(
        num_photos=len(file.images),
        num_annotations=len(file.annotations) + sum(one.reason == ANNOTATION_RECORD for one in file.problems),
        num_masks=tally.num_masks,
        problems=(*tasks.problems, *tally.problems),
        left_out=dict(tasks.left_out.most_common()),
        notes=tuple(notes),
    )
    return report, tally
