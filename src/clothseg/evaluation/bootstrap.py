"""Intervals by bootstrap over photos: how far a score would move had other photos been taken."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clothseg.types import Float64Array

RESAMPLES = 1000
"""Times that as many photos as there are get drawn, with replacement."""
SEED = 0
LEVEL = 0.95
"""Part of the resampled scores that lies within an interval."""
LEAST_PHOTOS = 5
"""In fewer photos than this, resampling says nothing of how much photos differ, and no interval is given."""

_CHUNK = 4_000_000  # weights made at a time: 32 MB, however many photos there are


def resampled_sums(
    rows: npt.NDArray[np.integer] | Float64Array, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Float64Array:
    """Draw photos with replacement, and add up what they count.

    Whatever is to be compared must lie in the same `rows`, so that it is resampled by the same photos.
    Source: Efron, "Bootstrap methods: another look at the jackknife" (1979).

    Args:
        rows: (N, ...) counts of each photo.
        resamples: R, how many times all N are drawn.
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
        drawn += number * np.arange(stop - start)[:, None]  # so that one count serves all of them
        weights = np.bincount(drawn.ravel(), minlength=(stop - start) * number).reshape(stop - start, number)
        sums[start:stop] = weights.astype(np.float64) @ flat
    return sums.reshape(resamples, *rows.shape[1:])


def interval(values: Float64Array, *, level: float = LEVEL) -> tuple[Float64Array, Float64Array]:
    """Return the bounds between which `level` of the resampled values lie.

    Args:
        values: (R, ...), NaN where a resample has none, such as a class that none of its photos shows.
        level: part of the values, those in the middle.

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
