"""Every photo predicted, compared with its truth and counted, one after the other in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from clothseg.errors import DataError, InputError, one_line
from clothseg.evaluation.counts import Tally
from clothseg.evaluation.photo_counts import PhotoCounts, count_photo
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.scored_data import ScoredData, ScoredPhoto

Watch = Callable[[Iterator[PhotoCounts | InputError]], Iterator[PhotoCounts | InputError]]
"""Passes on what becomes of the photos, and shows the progress."""


@dataclass(frozen=True)
class Failure:
    """A photo that could not be scored."""

    photo: str
    reason: str


@dataclass
class Scored:
    """What became of the photos."""

    tally: Tally
    failures: list[Failure] = field(default_factory=list)


def score(predictions: Predictions, data: ScoredData, *, watch: Watch = lambda results: results) -> Scored:
    """Predict and count every photo; one that cannot be read or predicted is set aside.

    Args:
        predictions: where the masks come from.
        data: the photos and their truth.
        watch: shows the progress.

    Raises:
        InputError: not one photo could be scored; the message has the first reason.
        ModelError: the network gave no numbers.
    """
    num_classes = len(data.classes)
    failures: list[Failure] = []

    def work(photo: ScoredPhoto) -> PhotoCounts | InputError:
        try:
            return _count(predictions, photo, num_classes)
        except InputError as error:
            return error

    def counted() -> Iterator[PhotoCounts]:
        for photo, result in zip(data.photos, watch(predictions.in_pipeline(work, data.photos)), strict=True):
            if isinstance(result, InputError):
                failures.append(Failure(photo.name, one_line(result)))
            else:
                yield result

    tally = Tally.of(data.classes.names, counted())
    if not tally.photos:
        first = failures[0]
        raise InputError(
            f"None of the {len(data.photos)} photos could be scored. The first, {first.photo}: {first.reason}"
        )
    return Scored(tally, failures)


def _count(predictions: Predictions, photo: ScoredPhoto, num_classes: int) -> PhotoCounts:
    truth, prediction = photo.truth(num_classes), predictions.mask(photo)
    if prediction.shape != truth.shape:
        (height, width), (true_height, true_width) = prediction.shape, truth.shape
        raise DataError(
            f"The prediction for {photo.name} has {width} x {height} pixels, its truth {true_width} x {true_height}. "
            "They must be of one size, that of the photo as a person sees it"
        )
    return count_photo(photo.name, prediction, truth, num_classes)
