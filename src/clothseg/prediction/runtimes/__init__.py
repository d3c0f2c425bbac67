"""What runs a network: the interface that the runtimes have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from clothseg.model.description import ModelDescription
from clothseg.transforms import resize_plane
from clothseg.types import Float32Array, UInt8Array

ABSENT = -30.0
"""Logit of a category that the network has no plane for."""


class Runtime(Protocol):
    """A network that is loaded and ready."""

    @property
    def name(self) -> str:
        """What runs it and where, for people, such as "torch on cpu"."""

    @property
    def description(self) -> ModelDescription:
        """The description in the model file."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file, in hexadecimal."""

    @property
    def streams(self) -> int:
        """How many threads may call `logits` at a time."""

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network.

        Args:
            batch: (B, h, w, 3) uint8 RGB, h and w multiples of 32.

        Returns:
            (B, C, h, w) float32; smaller in height and width where the model squashes photos and its network does not
            enlarge its output.
        """


def class_logits(planes: Float32Array, description: ModelDescription, size: tuple[int, int]) -> Float32Array:
    """Return the logits of all classes, (B, C, h, w), from a file's output, for an input of `size`, (h, w).

    An output of categories, which is smaller, is enlarged: half of the size, in older files a quarter. Of classes that
    are merged the probabilities are added.
    """
    if description.merged:
        merged = np.full((len(planes), len(description.classes), *planes.shape[2:]), planes.min() + ABSENT, np.float32)
        for number, class_id in enumerate(description.merged):
            np.logaddexp(merged[:, class_id], planes[:, number], out=merged[:, class_id])
        return merged
    if description.output != "categories":
        return planes
    count = len(planes)
    logits = np.full((count, len(description.classes), *size), ABSENT, dtype=np.float32)
    for number, name in enumerate(description.categories):
        for photo in range(count):
            logits[photo, description.classes.id_of(name)] = resize_plane(planes[photo, number], size)
    return logits
