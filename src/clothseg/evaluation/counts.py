"""The counts of all photos, kept per photo so that photos can be drawn again and again from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.evaluation.objects import SIZES
from clothseg.evaluation.photo_counts import COUNTS, PhotoCounts
from clothseg.labels import BACKGROUND_ID
from clothseg.types import Float64Array, Int64Array


@dataclass(frozen=True, eq=False)
class Tally:
    """The counts of N photos; a photo takes 20 bytes for each class."""

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
    def of(cls, names: Sequence[str], photos: Iterable[PhotoCounts]) -> Tally:
        """Add up the counts of photos, which are taken one at a time."""
        size = len(names)
        matrix, objects = np.zeros((size, size), np.int64), np.zeros((len(SIZES), size, 4))
        found: list[tuple[str, int]] = []
        counts: list[npt.NDArray[np.int32]] = []
        photo_objects: list[Float64Array] = []
        consistency: list[Int64Array] = []
        for one in photos:
            matrix += one.matrix
            objects += one.objects
            found.append((one.name, one.truth_checksum))
            counts.append(one.counts.astype(np.int32))
            photo_objects.append(one.objects.sum(axis=1))
            consistency.append(one.consistency)
        return cls(
            tuple(names),
            tuple(name for name, _ in found),
            tuple(checksum for _, checksum in found),
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
        """(N,) float64: each photo's mean IoU over the garments that its truth or prediction shows; 1 if none does."""
        hits, truth, predicted = self.counts[:, :3, BACKGROUND_ID + 1 :].astype(np.int64).swapaxes(0, 1)
        union = truth + predicted - hits
        shown = (union > 0).sum(axis=1)
        total = (hits / np.maximum(union, 1)).sum(axis=1)
        return np.where(shown > 0, total / np.maximum(shown, 1), 1.0)
