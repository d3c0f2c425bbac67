"""What the runtimes of exported models are given: checked, as they would compute something from anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg.errors import InputError
from clothseg.transforms import STRIDE


def check_batch(batch: npt.NDArray[Any]) -> None:
    """Refuse what is not (B, h, w, 3) uint8 with h and w multiples of 32.

    Raises:
        InputError: with the type and the shape it has.
    """
    if batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3:
        raise InputError(f"The network's input is {batch.dtype} of shape {batch.shape}. Pass (B, h, w, 3) uint8 RGB")
    height, width = batch.shape[1:3]
    if height % STRIDE or width % STRIDE or 0 in batch.shape:
        raise InputError(
            f"The network's input is {batch.shape[0]} photos of {height} x {width} pixels; sides must be multiples of "
            f"{STRIDE}. Pad them with transforms.Letterbox"
        )
