"""Which files a prediction is written as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cutouts = Literal["none", "frame", "tight"]
"""Cut-outs of each garment: none, in the photo's whole frame, or cropped to the garment."""

Format = Literal["coco", "coco-polygons", "label-studio", "cvat"]
"""Files that other tools read, one set for all photos together."""


@dataclass(frozen=True)
class Outputs:
    """What is written beside the mask and the overlay of each photo."""

    json: bool = False
    """Write the results as JSON with COCO run-length codes, too."""
    cutouts: Cutouts = "none"
    """Write each garment alone on nothing (RGBA PNG): in the photo's frame, or cropped tight."""
    soft_masks: bool = False
    """Write the probability of each class that a photo shows (8-bit PNG, 255 = 1)."""
    formats: tuple[Format, ...] = ()
    """Write files for other tools, for all photos together."""

    @property
    def need_results(self) -> bool:
        """Whether run-length codes and scores have to be worked out."""
        return self.json or bool(self.formats)
