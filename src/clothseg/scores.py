"""One confusion matrix, and every score that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg.labels import IGNORED_ID

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


def confusion_matrix(
    prediction: npt.NDArray[Any], target: npt.NDArray[Any], num_classes: int, *, ignored: int = IGNORED_ID
) -> Counts:
    """Count how often each true class was predicted as each class.

    Args:
        prediction: class ids below `num_classes`, of any shape.
        target: class ids of the same shape; pixels that hold `ignored` are left out.
        num_classes: C, how many classes there are.
        ignored: value of `target` that counts nowhere.

    Returns:
        (C, C) int64: row = true class, column = predicted class.
    """
    counted = target != ignored
    pairs = target[counted].astype(np.intp) * num_classes + prediction[counted]
    return np.bincount(pairs, minlength=num_classes**2).astype(np.int64).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Scores:
    """Scores per class and their means; a class that the truth never shows is absent, with NaN, and in no mean."""

    names: tuple[str, ...]
    """Class names in the order of their ids, background first."""
    matrix: Counts
    """(C, C) int64: row = true class, column = predicted class."""

    @classmethod
    def from_confusion(cls, matrix: npt.ArrayLike, names: Sequence[str]) -> Scores:
        """Build the scores of a confusion matrix, (C, C) counts with the truth in rows."""
        counts = np.asarray(matrix, dtype=np.int64)
        assert counts.shape == (len(names), len(names)), counts.shape
        return cls(tuple(names), counts)

    @property
    def support(self) -> Counts:
        """(C,) int64: true pixels of each class."""
        return np.asarray(self.matrix.sum(axis=1))

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(C,) bool: the classes that the truth shows."""
        return self.support > 0

    @property
    def iou(self) -> Shares:
        """(C,) float64: intersection over union (Jaccard index), NaN where absent."""
        return self._share(self._hits, self.support + self._predicted - self._hits)

    @property
    def f1(self) -> Shares:
        """(C,) float64: harmonic mean of precision and recall (Dice coefficient), NaN where absent."""
        return self._share(2 * self._hits, self.support + self._predicted)

    @property
    def precision(self) -> Shares:
        """(C,) float64: share of the pixels given a class that are of it; 0 where none was given, NaN where absent."""
        return self._share(self._hits, np.maximum(self._predicted, 1))

    @property
    def recall(self) -> Shares:
        """(C,) float64: share of a class's pixels that were found, NaN where absent."""
        return self._share(self._hits, self.support)

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present, background counted; NaN if nothing was counted."""
        return self.mean("iou")

    @property
    def mean_f1(self) -> float:
        """Mean F1 over the classes present, background counted; NaN if nothing was counted."""
        return self.mean("f1")

    @property
    def accuracy(self) -> float:
        """Share of all pixels that got their class; NaN if nothing was counted."""
        total = int(self.matrix.sum())
        return float(self._hits.sum() / total) if total else float("nan")

    def mean(self, score: str, *, background: bool = True) -> float:
        """Return the mean of `iou`, `f1`, `precision` or `recall` over the classes present."""
        values = getattr(self, score)[0 if background else 1 :]
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    @property
    def _hits(self) -> Counts:
        return self.matrix.diagonal()

    @property
    def _predicted(self) -> Counts:
        return np.asarray(self.matrix.sum(axis=0))

    def _share(self, part: Counts, whole: Counts) -> Shares:
        shares = np.full(len(self.names), np.nan)
        np.divide(part, whole, out=shares, where=self.present)
        return shares
