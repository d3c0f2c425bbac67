"""What a client wants made of its photo, in plain values, as it travels to a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Output = Literal["json", "mask", "overlay", "cutout"]
"""Forms of an answer: results, index PNG, photo with colours and legend (JPEG), one class alone (RGBA PNG)."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be made of a photo."""

    output: Output = "json"
    label: str = ""
    """Name of the class to cut out."""
    tight: bool = False
    """Crop the cut-out to the garment."""
    include_mask: bool = False
    """Put the mask into the JSON, too."""
    file: str = ""
    """Name of the photo in the results."""
    max_pixels: int
    """Larger photos are refused from their header."""
