"""The photos that went worst: each as it is, with its truth and with what was predicted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clothseg.drawing import overlay
from clothseg.encoding import encode_jpeg
from clothseg.errors import InputError, one_line
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.photo_counts import COUNTS
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.scored_data import ScoredData, ScoredPhoto
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import read_picture
from clothseg.transforms import resize_image, resize_mask
from clothseg.types import Int64Array

GALLERY_PHOTOS = 12
SIDE = 384
"""Longer side of a picture in pixels: sharp at a third of a page's width."""


@dataclass(frozen=True)
class Verdict:
    """How one class went in one photo."""

    class_id: int
    iou: float
    in_truth: bool
    in_prediction: bool


@dataclass(frozen=True)
class GalleryPhoto:
    """One photo of the gallery."""

    name: str
    iou: float
    """Mean IoU over the garments that truth or prediction shows."""
    verdicts: tuple[Verdict, ...]
    """Of those garments, best first."""
    pictures: tuple[bytes, ...] = ()
    """JPEGs: photo, truth, prediction; empty if the photo could not be read."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of each picture in pixels."""
    problem: str = ""
    """Why there are no pictures."""


def worst_photos(
    evaluation: Evaluation, predictions: Predictions, data: ScoredData, *, count: int = GALLERY_PHOTOS
) -> list[GalleryPhoto]:
    """Predict the photos with the lowest IoU once more, and draw them; lowest first."""
    by_name = {photo.name: photo for photo in data.photos}
    tally, found = evaluation.tally, []
    for place in evaluation.worst(count):
        photo, iou = by_name[tally.photos[place]], float(tally.photo_iou[place])
        verdicts = _verdicts(tally.counts[place].astype(np.int64))
        try:
            pictures, size = _draw(photo, predictions, data.classes)
            found.append(GalleryPhoto(photo.name, iou, verdicts, pictures, size))
        except InputError as error:  # masks made elsewhere can be scored though a photo is broken
            found.append(GalleryPhoto(photo.name, iou, verdicts, problem=one_line(error)))
    return found


def _verdicts(counts: Int64Array) -> tuple[Verdict, ...]:
    hits, truth, predicted = (counts[COUNTS.index(name)] for name in ("hits", "truth", "predicted"))
    union = truth + predicted - hits
    verdicts = [
        Verdict(int(one), float(hits[one] / union[one]), bool(truth[one]), bool(predicted[one]))
        for one in np.flatnonzero(union)
        if one != BACKGROUND_ID
    ]
    return tuple(sorted(verdicts, key=lambda verdict: -verdict.iou))


def _draw(
    photo: ScoredPhoto, predictions: Predictions, classes: ClassList
) -> tuple[tuple[bytes, bytes, bytes], tuple[int, int]]:
    """Return the three JPEGs, and their (width, height)."""
    pixels = read_picture(photo.path).pixels
    truth, prediction = photo.truth(len(classes)), predictions.mask(photo)
    scale = min(1.0, SIDE / max(pixels.shape))
    size = max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    small = resize_image(pixels, size)
    views = (small, *(overlay(small, resize_mask(mask, size), classes, opacity=0.6) for mask in (truth, prediction)))
    plain, true, predicted = (encode_jpeg(view, 80) for view in views)
    return (plain, true, predicted), (size[1], size[0])
