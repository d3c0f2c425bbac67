"""The counts of each photo and of all photos together, from which every score and every resample is computed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.evaluation.objects import SIZES, count_consistency, count_objects
from clothseg.labels import BACKGROUND_ID
from clothseg.scores import boundary_counts, confusion_matrix
from clothseg.types import Float64Array, Int64Array, UInt8Array

COUNTS = ("hits", "truth", "predicted", "boundary_hits", "boundary_union")
"""Pixels counted for each class and photo: correctly predicted, true, predicted; intersection and union of the boundary
pixels. Every score of a class is computed from sums of these."""


@dataclass(frozen=True, eq=False)
class PhotoCounts:
    """The counts of one photo."""

    name: str
    """The photo's path inside its split's folder."""
    matrix: Int64Array
    """(C, C) int64: row = true class, column = predicted class."""
    counts: Int64Array
    """(5, C) int64: the rows of `COUNTS`."""
    objects: Float64Array
    """(sizes, C, 4) float64 as `count_objects` returns it."""
    consistency: Int64Array
    """(3,) int64 as `count_consistency` returns it."""
    truth_checksum: int
    """CRC-32 of the true mask: two evaluations are comparable only where their truth is the same."""

    @classmethod
    def of(cls, name: str, prediction: UInt8Array, truth: UInt8Array, num_classes: int) -> PhotoCounts:
        """Count one photo; prediction and truth are (H, W) uint8, class ids below `num_classes`, C."""
        assert prediction.shape == truth.shape, (prediction.shape, truth.shape)
        matrix = confusion_matrix(prediction, truth, num_classes)
        rows = (matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0))
        return cls(
            name,
            matrix,
            np.concatenate([np.stack(rows), boundary_counts(prediction, truth, num_classes)]),
            objects=count_objects(prediction, truth, num_classes),
            consistency=count_consistency(prediction, truth, num_classes),
            truth_checksum=zlib.crc32(truth.tobytes(), zlib.crc32(repr(truth.shape).encode())),
        )


@dataclass(frozen=True, eq=False)
class SplitCounts:
    """The counts of N photos, kept per photo so that photos can be resampled: 20 bytes for each photo and class."""

    names: tuple[str, ...]
    """Class names in the order of their ids, background first."""
    photos: tuple[str, ...]
    """Names of the photos."""
    truth_checksums: tuple[int, ...]
    """CRC-32 of each photo's true mask."""
    counts: npt.NDArray[np.int32]
    """(N, 5, C) int32: the rows of `COUNTS` for each photo; a photo has at most 89 million pixels."""
    matrix: Int64Array
    """(C, C) int64 over all photos: row = true class, column = predicted class."""
    objects: Float64Array
    """(sizes, C, 4) float64 over all photos, as `count_objects` returns it."""
    photo_objects: Float64Array
    """(N, sizes, 4) float64: the same for each photo, over all classes."""
    consistency: Int64Array
    """(N, 3) int64: large garments of each photo, as `count_consistency` returns them."""

    @classmethod
    def of(cls, names: Sequence[str], photos: Iterable[PhotoCounts]) -> SplitCounts:
        """Sum the counts of photos, which are taken one at a time."""
        size = len(names)
        matrix, objects = np.zeros((size, size), np.int64), np.zeros((len(SIZES), size, 4))
        scored: list[tuple[str, int]] = []
        counts: list[npt.NDArray[np.int32]] = []
        photo_objects: list[Float64Array] = []
        consistency: list[Int64Array] = []
        for one in photos:
            matrix += one.matrix
            objects += one.objects
            scored.append((one.name, one.truth_checksum))
            counts.append(one.counts.astype(np.int32))
            photo_objects.append(one.objects.sum(axis=1))
            consistency.append(one.consistency)
        return cls(
            tuple(names),
            tuple(name for name, _ in scored),
            tuple(checksum for _, checksum in scored),
            np.array(counts, dtype=np.int32).reshape(-1, len(COUNTS), size),
            matrix,
            objects,
            np.array(photo_objects).reshape(-1, len(SIZES), 4),
            np.array(consistency, dtype=np.int64).reshape(-1, 3),
        )

    @property
    def num_garments(self) -> Int64Array:
        """(N,) int64: how many classes besides the background each photo's truth shows."""
        return np.asarray((self.counts[:, COUNTS.index("truth"), BACKGROUND_ID + 1 :] > 0).sum(axis=1))

    @property
    def photos_per_class(self) -> Int64Array:
        """(C,) int64: in how many photos the truth shows each class."""
        return np.asarray((self.counts[:, COUNTS.index("truth")] > 0).sum(axis=0))

    @property
    def photo_iou(self) -> Float64Array:
        """(N,) float64: each photo's mean IoU over the garments in its truth or prediction; 1 if neither has any."""
        hits, truth, predicted = self.counts[:, :3, BACKGROUND_ID + 1 :].astype(np.int64).swapaxes(0, 1)
        union = truth + predicted - hits
        shown = (union > 0).sum(axis=1)
        total = (hits / np.maximum(union, 1)).sum(axis=1)
        return np.where(shown > 0, total / np.maximum(shown, 1), 1.0)
