"""Confidence intervals by bootstrap over photos: how far a score would move with other photos of the same kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.types import Float64Array

RESAMPLES = 1000
"""How many resamples are drawn; each has as many photos as the data, drawn with replacement."""
SEED = 0
LEVEL = 0.95
"""Share of the resampled scores that lie inside an interval."""
MIN_PHOTOS = 5
"""With fewer photos than this, a resample says nothing about how much photos differ, and there is no interval."""

_CHUNK = 4_000_000  # weights computed at a time: 32 MB for any number of photos


@dataclass(frozen=True)
class Estimate:
    """A score and its interval; NaN where the score is absent, or where there are too few photos for an interval."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, value: Float64Array | float, resampled: Float64Array, *, num_photos: int) -> Estimate:
        """Return the score of `num_photos` photos with the interval of the (R,) scores of its resamples.

        Below `MIN_PHOTOS` there is no interval.
        """
        if num_photos < MIN_PHOTOS or math.isnan(float(value)):
            return cls(float(value))
        return cls(float(value), *interval(resampled))

    @property
    def is_absent(self) -> bool:
        """Whether there is nothing to score."""
        return math.isnan(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether there were enough photos for an interval."""
        return not math.isnan(self.low)


def resampled_sums(
    rows: npt.NDArray[np.integer] | Float64Array, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Float64Array:
    """Draw photos with replacement, and sum their counts.

    Counts in the same `rows` are resampled with the same photos, which makes the intervals of differences paired.
    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).

    Args:
        rows: (N, ...) counts of each photo.
        resamples: R, how many resamples of N photos are drawn.
        seed: the same seed, N and R draw the same photos.

    Returns:
        (R, ...) float64, exact below 2**53.
    """
    number = len(rows)
    flat = rows.reshape(number, -1).astype(np.float64)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, number))
    sums = np.empty((resamples, flat.shape[1]))
    for start in range(0, resamples, chunk):
        stop = min(resamples, start + chunk)
        drawn = generator.integers(number, size=(stop - start, number))
        drawn += number * np.arange(stop - start)[:, None]  # one bincount counts the photos of all resamples
        weights = np.bincount(drawn.ravel(), minlength=(stop - start) * number).reshape(stop - start, number)
        sums[start:stop] = weights.astype(np.float64) @ flat
    return sums.reshape(resamples, *rows.shape[1:])


def interval(values: Float64Array, *, level: float = LEVEL) -> tuple[float, float]:
    """Return the lower and upper bound between which the middle `level` of (R,) resampled values lies.

    A resample without a value, such as of a class that none of its photos shows, is NaN; so are the bounds if all are.
    """
    present = values[~np.isnan(values)]
    if not len(present):
        return math.nan, math.nan
    low, high = np.quantile(present, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
