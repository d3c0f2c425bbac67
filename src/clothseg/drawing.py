"""Pictures of masks: overlays of colours on the photo, a legend with names, pictures side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clothseg.labels import BACKGROUND_ID, IGNORED_ID, ClassList
from clothseg.types import UInt8Array

_PAPER, _INK = (255, 255, 255), (30, 30, 30)
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
    left, top, width, height = cv2.boundingRect(colored)
    if not width:
        return result
    # Look-up tables and copies under a mask within the garments' box: many times as fast as indexing and np.where.
    box = slice(top, top + height), slice(left, left + width)
    wide_box = slice(max(0, top - 1), top + height + 1), slice(max(0, left - 1), left + width + 1)
    edge = cv2.morphologyEx(mask[wide_box], cv2.MORPH_GRADIENT, np.ones((3, 3), dtype=np.uint8))
    edge = edge[min(top, 1) :, min(left, 1) :][:height, :width]
    colors = cv2.applyColorMap(mask[box], _palette_of_256(classes)[:, None])
    blended = cv2.addWeighted(image[box], 1 - opacity, colors, opacity, 0)
    cv2.copyTo(colors, cv2.min(edge, colored[box]), blended)
    cv2.copyTo(blended, colored[box], result[box])
    return result


def legend(
    classes: ClassList, class_ids: Iterable[int], *, height: int, shares: Mapping[int, float] | None = None
) -> UInt8Array:
    """Draw the names of classes beside their colours, one below the other.

    Args:
        classes: names and colours of the ids.
        class_ids: the classes to name, in this order.
        height: height in pixels of the picture beside it, from which the letters get their size.
        shares: part of the photo each class covers, 0 to 1, written behind its name.

    Returns:
        (h, w, 3) uint8 RGB: as high as its lines, w as the longest name needs.
    """
    lines = [(class_id, _caption(classes.classes[class_id].display_name, class_id, shares)) for class_id in class_ids]
    row = max(_LOWEST_ROW, min(height // 26, height // (len(lines) + 1)))
    font = ImageFont.load_default(round(row * 0.72))
    width = 3 * row + max((round(font.getlength(caption)) for _, caption in lines), default=0)
    picture = Image.new("RGB", (width, row * (len(lines) + 1)), _PAPER)
    draw = ImageDraw.Draw(picture)
    for number, (class_id, caption) in enumerate(lines):
        top = row // 2 + number * row
        swatch = row // 2, top + row // 8, row // 2 + row, top + row - row // 8
        draw.rectangle(swatch, fill=classes.classes[class_id].color, outline=_INK)
        draw.text((round(row * 1.8), top + row / 2), caption, fill=_INK, font=font, anchor="lm")
    return np.array(picture, dtype=np.uint8)


def _caption(name: str, class_id: int, shares: Mapping[int, float] | None) -> str:
    if shares is None:
        return name
    share = shares.get(class_id, 0.0)
    return f"{name}  {f'{share:.1%}' if share >= 0.001 else '<0.1%'}"


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
    if gap == 0 and all(image.shape[0] == height for image in images):
        return np.concatenate(images, axis=1)  # no white would show
    width = sum(image.shape[1] for image in images) + gap * (len(images) - 1)
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    left = 0
    for image in images:
        canvas[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + gap
    return canvas
