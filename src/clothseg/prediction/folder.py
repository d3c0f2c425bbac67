"""Segments any number of photos into an output folder, one after the other, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clothseg.errors import InputError, MachineError
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import FoundPhoto


@dataclass(frozen=True)
class PhotoReport:
    """What became of one photo: its segmentation and the files written, or the reason why there are none."""

    photo: FoundPhoto
    segmentation: Segmentation | None = None
    files: tuple[Path, ...] = ()
    error: InputError | None = None


def check_output(folder: Path) -> None:
    """Make the output folder, before any time is spent.

    Raises:
        MachineError: it is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a file stands there" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise MachineError(f"Cannot make the output folder {folder}: {reason}. Pass another --output") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise MachineError(f"Cannot write into {folder}: permission denied. Pass another --output")


def predict_into_folder(
    predictor: Predictor, photos: Sequence[FoundPhoto], output: Path, *, json: bool = False
) -> Iterator[PhotoReport]:
    """Segment photos and write their outputs; a photo that cannot be read is reported, and the rest done.

    Yields:
        One report per photo, in order, once its files are written.

    Raises:
        MachineError: the output cannot be written; the photos before are done.
    """
    outcomes = predictor.outcomes(photo.path for photo in photos)
    for photo, outcome in zip(photos, outcomes, strict=True):
        if outcome.segmentation is None:
            yield PhotoReport(photo, error=outcome.error)
            continue
        segmentation = replace(outcome.segmentation, file=photo.file)
        yield PhotoReport(photo, segmentation, segmentation.save(output, stem=photo.stem, json=json))
