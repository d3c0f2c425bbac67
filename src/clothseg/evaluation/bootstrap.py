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
        """Return a score with the interval of its resampled values.

        Args:
            value: the score of all photos, a single number.
            resampled: (R,), the score of each resample.
            num_photos: how many photos the score comes from; below `MIN_PHOTOS` there is no interval.
        """
        if num_photos < MIN_PHOTOS or math.isnan(float(value)):
            return cls(float(value))
        low, high = interval(resampled)
        return cls(float(value), float(low), float(high))

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


def interval(values: Float64Array, *, level: float = LEVEL) -> tuple[Float64Array, Float64Array]:
    """Return the bounds between which `level` of the resampled values lie.

    Args:
        values: (R, ...), NaN where a resample has no value, such as for a class that none of its photos shows.
        level: share of the values, those in the middle.

    Returns:
        Lower and upper bound, (...) each; NaN where no resample has a value.
    """
    shape = values.shape[1:]
    flat = values.reshape(len(values), -1)
    bounds = np.full((2, flat.shape[1]), np.nan)
    has_some = ~np.isnan(flat).all(axis=0)
    if has_some.any():
        bounds[:, has_some] = np.nanquantile(flat[:, has_some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return bounds[0].reshape(shape), bounds[1].reshape(shape)
