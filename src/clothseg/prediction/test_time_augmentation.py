"""How often and how finely the network looks at a photo: as a whole, mirrored, in other sizes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from clothseg.errors import SettingError
from clothseg.model.description import ModelDescription
from clothseg.transforms import STRIDE, Letterbox, resize_plane
from clothseg.types import Float32Array, UInt8Array

Network = Callable[[UInt8Array], Float32Array]
"""Takes (1, h, w, 3) uint8 RGB, h and w multiples of 32, and gives (1, C, h, w) float32 logits."""

MOST_TILES = 8
"""The finest look: at 512 px and 13 classes it takes 110 MB for each photo under way."""


@dataclass(frozen=True)
class Passes:
    """How often and how finely the network looks at a photo; each look costs the time of one prediction.

    Raises:
        SettingError: a value is not allowed.

    >>> Passes(flip=True, scales=(1.0, 1.5)).num_looks
    4
    """

    tiles: int = 1
    """N above 1 looks at large photos N times as finely, too, in overlapping tiles; no photo is enlarged for it."""
    flip: bool = False
    """Look at the mirror image, too, and take the mean."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes to look at the whole photo in, as multiples of the model's own; their mean is taken."""

    def __post_init__(self) -> None:
        if not 1 <= self.tiles <= MOST_TILES:
            raise SettingError(f"tiles is {self.tiles}. Allowed: a whole number from 1 to {MOST_TILES}")
        if not self.scales or not all(0.25 <= scale <= 4 for scale in self.scales):
            raise SettingError(f"scales is {list(self.scales)}. Allowed: one or more numbers from 0.25 to 4")

    @property
    def num_looks(self) -> int:
        """How many times the network sees the whole photo."""
        return len(self.scales) * (1 + self.flip)


def whole_logits(network: Network, pixels: UInt8Array, description: ModelDescription, passes: Passes) -> Float32Array:
    """Return the mean of what the network gives for each look at the whole photo.

    Args:
        network: what is asked.
        pixels: (H, W, 3) uint8 RGB.
        description: the model's: its image size and normalisation are used.
        passes: its `flip` and `scales` are used.

    Returns:
        (C, h, w) float32 at the model's resolution, without padding: the longer side is the model's image size.
    """
    height, width = pixels.shape[:2]
    size = Letterbox.fit(height, width, description.image_size).scaled_size
    total: Float32Array | None = None
    for scale in passes.scales:
        box = Letterbox.fit(height, width, max(STRIDE, round(description.image_size * scale)))
        image = box.image(pixels, description.normalization)
        seen = look(network, image, box.scaled_size, flip=passes.flip)
        if box.scaled_size != size:
            seen = np.stack([resize_plane(plane, size) for plane in seen])
        total = seen if total is None else total + seen
    assert total is not None
    return total if len(passes.scales) == 1 else total / np.float32(len(passes.scales))


def look(network: Network, image: UInt8Array, covered: tuple[int, int], *, flip: bool) -> Float32Array:
    """Return the logits of the part of an input that a photo covers.

    Args:
        network: what is asked.
        image: (h, w, 3) uint8 RGB, h and w multiples of 32, the photo at the top left.
        covered: (height, width) of the photo in it.
        flip: take the mean with the mirror image's.

    Returns:
        (C, *covered) float32.
    """
    height, width = covered
    logits: Float32Array = network(image[None])[0][:, :height, :width]
    if not flip:
        return logits
    mirrored = image.copy()
    mirrored[:height, :width] = image[:height, :width][:, ::-1]
    turned: Float32Array = network(mirrored[None])[0][:, :height, :width][..., ::-1]
    return (logits + turned) / np.float32(2)


def is_finite(logits: Float32Array) -> bool:
    """Tell whether all are numbers, neither NaN nor infinite, as is their sum in float64 just then."""
    return all(math.isfinite(cv2.sumElems(plane)[0]) for plane in logits)
