"""The files for other tools that hold the results of all photos together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from clothseg.labels import ClassList
from clothseg.prediction.outputs.coco_files import write_polygons, write_results
from clothseg.prediction.outputs.cvat import write_annotations
from clothseg.prediction.outputs.label_studio import write_tasks
from clothseg.prediction.outputs.options import Format

Results = Iterable[Mapping[str, Any]]

WRITERS: Mapping[Format, Callable[[Path, ClassList, Results], tuple[Path, ...]]] = {
    "coco": write_results,
    "coco-polygons": write_polygons,
    "label-studio": write_tasks,
    "cvat": write_annotations,
}
"""What writes each format."""


def write_collection(
    folder: Path, classes: ClassList, results: Callable[[], Results], *, formats: Sequence[Format]
) -> tuple[Path, ...]:
    """Write the results of all photos in each of `formats`.

    Args:
        folder: where to write.
        classes: names and colours of the ids.
        results: called once for each format, gives what `Segmentation.to_coco` returned for each photo.
        formats: names of `WRITERS`.

    Returns:
        The files written; each is whole or not there.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    return tuple(path for name in formats for path in WRITERS[name](folder, classes, results()))
