"""Pictures of masks: overlays of colours on the photo, a legend with names, pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clothseg.labels import BACKGROUND_ID, IGNORED_ID, ClassList
from clothseg.types import UInt8Array

_PAPER, _INK = 255, 30  # of each channel; filling with one number is much faster than with three
_LOWEST_ROW = 16  # pixels; smaller text cannot be read

# For each mask value, whether an overlay colours it: every garment, neither background nor padding.
_COLORED = np.full(IGNORED_ID + 1, 255, dtype=np.uint8)
_COLORED[[BACKGROUND_ID, IGNORED_ID]] = 0


def color_mask(mask: UInt8Array, classes: ClassList) -> UInt8Array:
    """Return class ids, (H, W) uint8, as their colours, (H, W, 3) uint8 RGB; padding becomes grey."""
    return _palette_of_256(classes)[mask]


def _palette_of_256(classes: ClassList) -> UInt8Array:
    palette = np.full((IGNORED_ID + 1, 3), 128, dtype=np.uint8)
    palette[: classes.num_classes] = classes.palette
    return palette


def overlay(image: UInt8Array, mask: UInt8Array, classes: ClassList, *, opacity: float = 0.5) -> UInt8Array:
    """Return the photo with the colours of the garments over it, each with a thin outline in its full colour.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) uint8, class ids; background and padding stay as in the photo.
        classes: names and colours of the ids.
        opacity: 0 shows the photo only, 1 the colours only.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    result = image.copy()
    colored = np.asarray(cv2.LUT(mask, _COLORED), dtype=np.uint8)
    # Look-up tables and copies under a mask: many times as fast as indexing and np.where.
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), dtype=np.uint8))
    colors = cv2.applyColorMap(mask, _palette_of_256(classes)[:, None])
    blended = cv2.addWeighted(image, 1 - opacity, colors, opacity, 0)
    cv2.copyTo(colors, cv2.min(edge, colored), blended)
    cv2.copyTo(blended, colored, result)
    return result


def legend(
    classes: ClassList, class_ids: Iterable[int], *, height: int, shares: Mapping[int, float] | None = None
) -> UInt8Array:
    """Draw the names of classes beside their colours, one below the other.

    Args:
        classes: names and colours of the ids.
        class_ids: the classes to name, in this order.
        height: height of the picture in pixels; it becomes higher where so many classes could not be read.
        shares: part of the photo each class covers, 0 to 1, written behind its name.

    Returns:
        (h, w, 3) uint8 RGB: h is `height` or more, w as the longest name needs.
    """
    lines = [(class_id, _caption(classes.names[class_id], class_id, shares)) for class_id in class_ids]
    row = max(_LOWEST_ROW, min(height // 26, height // (len(lines) + 1)))
    height = max(height, row * (len(lines) + 1))
    texts = [np.hstack([_text(part, row) for part in parts]) for _, parts in lines]
    width = max((text.shape[1] for text in texts), default=0) + 3 * row
    picture = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    for number, ((class_id, _), text) in enumerate(zip(lines, texts, strict=True)):
        top = row // 2 + number * row
        swatch = picture[top + row // 8 : top + row - row // 8 + 1, row // 2 : row // 2 + row + 1]
        swatch[:] = _INK
        swatch[1:-1, 1:-1] = classes.classes[class_id].color
        left = round(row * 1.8)
        picture[top : top + row, left : left + text.shape[1]] = text[..., None]
    return picture


def _caption(name: str, class_id: int, shares: Mapping[int, float] | None) -> tuple[str, ...]:
    """Return the text beside a colour in parts that recur and are cached: a name, single digits."""
    if shares is None:
        return (name,)
    share = shares.get(class_id, 0.0)
    return (f"{name}  ", *(f"{share:.1%}" if share >= 0.001 else "<0.1%"))


@lru_cache(maxsize=1024)
def _text(text: str, row: int) -> UInt8Array:
    """Return words in ink on paper, (row, w) uint8 grey; cached, as drawing letters takes longer than the rest."""
    font = ImageFont.load_default(round(row * 0.72))
    picture = Image.new("L", (max(1, round(font.getlength(text))), row), _PAPER)
    ImageDraw.Draw(picture).text((0, row / 2), text, fill=_INK, font=font, anchor="lm")
    return np.asarray(picture, dtype=np.uint8)


def with_legend(
    image: UInt8Array, classes: ClassList, class_ids: Iterable[int], *, shares: Mapping[int, float] | None = None
) -> UInt8Array:
    """Put a legend of the given classes at the right of a picture, (H, W, 3) uint8 RGB."""
    return side_by_side(image, legend(classes, class_ids, height=image.shape[0], shares=shares), gap=0)


def classes_in(mask: UInt8Array) -> list[int]:
    """Return the garment classes that a mask shows, lowest id first, without background and padding."""
    counts = np.bincount(mask.ravel(), minlength=IGNORED_ID + 1)
    return [int(one) for one in np.flatnonzero(counts) if one not in (BACKGROUND_ID, IGNORED_ID)]


def side_by_side(*images: UInt8Array, gap: int = 8) -> UInt8Array:
    """Join pictures, (H, W, 3) uint8 RGB each, from left to right on white, `gap` pixels apart."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    canvas = np.full((height, width, 3), _PAPER, dtype=np.uint8)
    left = 0
    for image in images:
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap
    return canvas
