"""Scores every photo of a split against its truth, in bounded memory, and draws the worst ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from clothseg.data.manifest import DATASET_FOLDER, MANIFEST_NAME, Manifest, pairs, spread
from clothseg.drawing import overlay
from clothseg.encoding import encode_jpeg
from clothseg.errors import DataError, InputError, SettingError, check_input, command, one_line
from clothseg.evaluation.counts import COUNTS, PhotoCounts, SplitCounts
from clothseg.evaluation.predictions import Predictions
from clothseg.labels import BACKGROUND_ID, ClassList, ClothingClass
from clothseg.pictures import read_mask, read_picture
from clothseg.progress import tracked
from clothseg.transforms import Letterbox, resize_image, resize_mask
from clothseg.types import Int64Array, UInt8Array

WORST_PHOTOS = 12
"""How many photos with the lowest IoU a report shows."""
PICTURE_SIDE = 384
"""Longer side of a picture in pixels: sharp at a third of a page's width."""


@dataclass(frozen=True)
class ScoredPhoto:
    """A photo and the path of its true mask."""

    name: str
    """Path inside the split's photo folder, with slashes."""
    path: Path
    truth_path: Path

    def truth(self, num_classes: int) -> UInt8Array:
        """Return the true class ids, (H, W) uint8.

        Raises:
            DataError: the mask cannot be read, or has an id of `num_classes` or more; the message names it.
        """
        truth = read_mask(self.truth_path)
        if (highest := int(truth.max(initial=0))) >= num_classes:
            raise DataError(
                f"Mask {self.truth_path} has class id {highest}; the dataset has the ids 0 to {num_classes - 1}. "
                f'Run "{command("verify")}"'
            )
        return truth


@dataclass(frozen=True)
class ScoredData:
    """A dataset's manifest and the photos to score."""

    manifest: Manifest
    split: str
    photos: tuple[ScoredPhoto, ...]

    @property
    def classes(self) -> ClassList:
        """The classes of the dataset: those that get scores."""
        return self.manifest.classes


def open_data(data_path: Path, split_name: str, *, count: int | None = None) -> ScoredData:
    """Find the photos to score.

    Args:
        data_path: a DATA_PATH, or the dataset's own folder in it.
        split_name: a split of the dataset's manifest, such as val.
        count: score this many photos, spread evenly over the split; None scores all.

    Raises:
        MissingInputError: there is no prepared dataset.
        DataError: the dataset is damaged, or the split has no photos.
        SettingError: there is no such split, or `count` is below 1.
    """
    if count is not None and count < 1:
        raise SettingError(f"--count is {count}. Pass 1 or more")
    check_input(data_path, "Data folder", f'Pass one that "{command("prepare")}" prepared', folder=True)
    folder = data_path / DATASET_FOLDER
    if not (folder / MANIFEST_NAME).is_file() and (data_path / MANIFEST_NAME).is_file():
        folder = data_path
    manifest = Manifest.read(folder)
    if split_name not in manifest.splits:
        raise SettingError(f"{folder} has no split {split_name!r}. It has: {', '.join(sorted(manifest.splits))}")
    split = manifest.splits[split_name]
    photos = tuple(
        ScoredPhoto(photo.relative_to(folder / split.photos).as_posix(), photo, mask)
        for photo, mask in pairs(folder, split)
    )
    if not photos:
        raise DataError(f'The split {split_name} of {folder} has no photos. Run "{command("prepare")}" again')
    if count is not None:
        photos = tuple(spread(photos, count))
    return ScoredData(manifest, split_name, photos)


@dataclass(frozen=True)
class Failure:
    """A photo that could not be scored."""

    photo: str
    reason: str


def score_photos(
    predictions: Predictions, data: ScoredData, console: Console
) -> tuple[SplitCounts, tuple[Failure, ...]]:
    """Predict and count every photo; a photo or mask that cannot be read is skipped and named.

    `console` shows the progress and the failures.

    Raises:
        InputError: not one photo could be scored; the message has the first reason.
        ModelError: the network returned NaN or infinite values.
    """
    num_classes = len(data.classes)
    failures: list[Failure] = []

    def count(photo: ScoredPhoto) -> PhotoCounts | InputError:
        try:
            return _count(predictions, photo, num_classes)
        except InputError as error:
            return error

    def counted() -> Iterator[PhotoCounts]:
        results = tracked(console, predictions.in_pipeline(count, data.photos), total=len(data.photos))
        for photo, result in zip(data.photos, results, strict=True):
            if isinstance(result, InputError):
                failures.append(Failure(photo.name, one_line(result)))
            else:
                yield result

    counts = SplitCounts.of(data.classes.names, counted())
    if not counts.photos:
        first = failures[0]
        raise InputError(
            f"None of the {len(data.photos)} photos could be scored. The first, {first.photo}: {first.reason}"
        )
    for failure in failures:
        console.print(f"clothseg: {failure.photo}: {failure.reason}")
    return counts, tuple(failures)


def _count(predictions: Predictions, photo: ScoredPhoto, num_classes: int) -> PhotoCounts:
    truth, prediction = photo.truth(num_classes), predictions.mask(photo.name, photo.path)
    if prediction.shape != truth.shape:
        (height, width), (true_height, true_width) = prediction.shape, truth.shape
        raise DataError(
            f"The prediction for {photo.name} has {width} x {height} pixels, its truth {true_width} x {true_height}. "
            "Both must have the size of the EXIF-oriented photo"
        )
    return PhotoCounts.of(photo.name, prediction, truth, num_classes)


@dataclass(frozen=True)
class ClassInPhoto:
    """The score of one class in one photo."""

    label: ClothingClass
    iou: float
    in_truth: bool
    in_prediction: bool


@dataclass(frozen=True)
class WorstPhoto:
    """A photo with a low IoU, and its pictures."""

    name: str
    iou: float
    """Mean IoU over the garments in truth or prediction."""
    classes: tuple[ClassInPhoto, ...]
    """Those garments, highest IoU first."""
    pictures: tuple[bytes, ...] = ()
    """JPEGs: photo, truth, prediction; empty if the photo cannot be read."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of each picture in pixels."""
    problem: str = ""
    """Why there are no pictures."""


def worst_photos(counts: SplitCounts, predictions: Predictions, data: ScoredData) -> list[WorstPhoto]:
    """Predict the `WORST_PHOTOS` photos with the lowest IoU again, and draw them; lowest first."""
    by_name = {photo.name: photo for photo in data.photos}
    worst, photo_iou = [], counts.photo_iou
    for index in np.argsort(photo_iou, kind="stable")[:WORST_PHOTOS].tolist():
        photo, iou = by_name[counts.photos[index]], float(photo_iou[index])
        classes = _classes_in_photo(counts.counts[index].astype(np.int64), data.classes.classes)
        try:
            pictures, size = _draw(photo, predictions, data)
            worst.append(WorstPhoto(photo.name, iou, classes, pictures, size))
        except InputError as error:  # masks from a folder can be scored without the photo
            worst.append(WorstPhoto(photo.name, iou, classes, problem=one_line(error)))
    return worst


def _classes_in_photo(counts: Int64Array, classes: tuple[ClothingClass, ...]) -> tuple[ClassInPhoto, ...]:
    hits, truth, predicted = (counts[COUNTS.index(name)] for name in ("hits", "truth", "predicted"))
    union = truth + predicted - hits
    scored = [
        ClassInPhoto(classes[one], float(hits[one] / union[one]), bool(truth[one]), bool(predicted[one]))
        for one in np.flatnonzero(union)
        if one != BACKGROUND_ID
    ]
    return tuple(sorted(scored, key=lambda one: -one.iou))


def _draw(photo: ScoredPhoto, predictions: Predictions, data: ScoredData) -> tuple[tuple[bytes, ...], tuple[int, int]]:
    """Return the three JPEGs, and their (width, height)."""
    pixels = read_picture(photo.path).pixels
    masks = photo.truth(len(data.classes)), predictions.mask(photo.name, photo.path)
    height, width = pixels.shape[:2]
    size = Letterbox.fit(height, width, min(PICTURE_SIDE, max(height, width))).scaled_size
    small = resize_image(pixels, size)
    views = (small, *(overlay(small, resize_mask(mask, size), data.classes, opacity=0.6) for mask in masks))
    return tuple(encode_jpeg(view, 80) for view in views), (size[1], size[0])
