"""How much a pixel of each class counts, so that rare classes are learnt too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEAVIEST = 10.0
"""Most that a pixel of a rare class counts; beyond, a few mistaken outlines would rule the training."""


def balanced_weights(pixels_per_class: Sequence[int], balance: float) -> tuple[float, ...]:
    """Return how much a pixel of each class counts.

    A class weighs its share of the pixels to the power of minus `balance`, scaled so that the average pixel weighs 1,
    and `HEAVIEST` at most. A class that is nowhere weighs 1; it is never asked for.

    Args:
        pixels_per_class: of the training masks.
        balance: 0 counts all pixels alike, 1 gives every class the same say.

    >>> [round(weight, 2) for weight in balanced_weights([900, 90, 10, 0], 0.5)]
    [0.78, 2.47, 7.41, 1.0]
    """
    pixels = np.asarray(pixels_per_class, dtype=np.float64)
    present = pixels > 0
    weights = np.ones(len(pixels))
    if present.any():
        share = pixels[present] / pixels.sum()
        weight = share**-balance
        weights[present] = np.minimum(weight / (weight * share).sum(), HEAVIEST)
    return tuple(weights.tolist())
