"""Colours of an embedded ICC profile turned into sRGB, which is what networks, screens and our outputs take."""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The colour space that a profile names, and Pillow's mode for it; others fit no image that comes here."""

_NO_DIFFERENCE = 2
"""A profile that moves no colour by more than this, of 255, is sRGB under another name."""


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """Return an image of mode RGB, L or CMYK as RGB in sRGB, and a note where its profile cannot be used."""
    if not profile:
        return _as_rgb(image), ""
    try:
        mode, transform = _transform(profile)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return _as_rgb(image), "its colour profile is broken and was ignored"
    if mode == "L" and image.mode == "RGB":  # grey that a decoder has spread over three channels
        image = image.getchannel(0)
    if mode != image.mode:
        return _as_rgb(image), f"its colour profile is for {mode} colours, not {image.mode}, and was ignored"
    if transform is None:
        return _as_rgb(image), ""
    return _applied(image, transform), ""


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(16)
def _transform(profile: bytes) -> tuple[str, Any]:
    """Return the mode of a profile, and its transform into sRGB or None where that changes next to nothing."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space
    mode = _SPACES.get(space)
    if mode is None:
        return space.strip(), None
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    if mode == "CMYK":
        return mode, transform
    colors = levels[None, :] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    before = Image.fromarray(np.ascontiguousarray(colors))
    change = np.asarray(_applied(before, transform), np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return mode, None if np.abs(change).max() <= _NO_DIFFERENCE else transform


def _applied(image: Image.Image, transform: Any) -> Image.Image:
    changed = ImageCms.applyTransform(image, transform)
    assert changed is not None  # None only where it changes the image in place
    return changed
