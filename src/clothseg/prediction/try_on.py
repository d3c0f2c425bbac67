"""What virtual try-on programs ask for: the mask to paint a new garment into, and the worn garment alone on white."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from clothseg.errors import InputError, SettingError
from clothseg.garment_names import FASHIONPEDIA_CATEGORIES
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.prediction.cutouts import CutoutStyle, cut_out, without_specks
from clothseg.types import UInt8Array

_GROUPS: dict[str, tuple[str, ...]] = {
    "upper": ("upperbody", "wholebody", "neck"),
    "lower": ("lowerbody", "waist"),
    "full": ("upperbody", "lowerbody", "wholebody", "neck", "waist"),
}
_GROWTH = 0.03  # of the longer side of the garment's box: a new garment may be wider than the old one
_GARMENT = CutoutStyle(background="white", canvas="768x1024")  # the size that the programs work at


class TryOn(NamedTuple):
    """The two pictures that a try-on program takes beside the photo."""

    mask: UInt8Array
    """(H, W) uint8 at the photo's size: 255 where the new garment is painted, 0 where the photo stays."""
    garment: UInt8Array
    """(1024, 768, 3) uint8 RGB: the worn garment on white."""


def try_on(photo: UInt8Array, mask: UInt8Array, classes: ClassList, region: str, *, pixel: float = 1.0) -> TryOn:
    """Return the inpainting mask of a region and its garment.

    The mask is grown and filled, over background only: bags, shoes, gloves, hats and the other garments stay, and
    nothing above the garment's top, where the head is. So do faces, hair and hands, if the model has classes for them;
    to others they are background, and a mask may touch them where they touch the garment.

    The region upper takes tops and what covers the whole body, lower trousers and skirts (or what covers the whole
    body, where there are none), full all of them. `photo` and `pixel` are those of `cutouts.cut_out`.

    Raises:
        SettingError: there is no such region.
        InputError: the photo shows no garment of the region.
    """
    check_region(region)
    inside = np.isin(mask, _ids(classes, _GROUPS[region]))
    if region == "lower" and not np.isin(mask, _ids(classes, ("lowerbody",))).any():
        inside |= np.isin(mask, _ids(classes, ("wholebody",)))
    inside = without_specks(inside)
    if not inside.any():
        raise InputError(f"The photo shows no garment of the region {region}. Take another region or photo")
    _, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    outlines, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED) > 0
    distance = cv2.distanceTransform(1 - filled.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    grown = distance <= max(2.0, _GROWTH * max(width, height))
    grown &= inside | (mask == BACKGROUND_ID)
    grown[:top] = False
    garment = cut_out(photo, inside, _GARMENT, pixel=pixel)[..., :3]
    return TryOn(np.where(grown, np.uint8(255), np.uint8(0)), np.ascontiguousarray(garment))


def check_region(region: str) -> None:
    """Raise a SettingError if there is no such region."""
    if region not in list(_GROUPS):
        raise SettingError(f"Unknown region {str(region)[:100]!r} for try-on. Allowed: {', '.join(_GROUPS)}")


def _ids(classes: ClassList, groups: tuple[str, ...]) -> list[int]:
    """Return the ids of the classes that the categories of some super-categories fall into."""
    found = {classes.id_for_category(name, group) for group in groups for name in FASHIONPEDIA_CATEGORIES[group]}
    return sorted(class_id for class_id in found if class_id is not None)
