"""The size of a photo as a person sees it, from its header, with a look at its end."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from clothseg.pictures import MAX_PIXELS, read_picture

_ORIENTATION = 0x0112
_TURNED_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width. Source: CIPA DC-008, Exif 2.32, tag Orientation."""
_JPEG_END = b"\xff\xd9"


def read_photo_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the photo at `path`, EXIF orientation applied.

    A JPEG that ends as a JPEG ends is taken for whole; any other file is decoded to find out. `clothseg verify` decodes
    every photo.

    Raises:
        MissingInputError: there is no such file.
        PictureError: it is no photo, too large, broken or cut off.
    """
    size = _quick_size(path)
    if size is None:
        height, width = read_picture(path).pixels.shape[:2]
        return height, width
    return size


def _quick_size(path: Path) -> tuple[int, int] | None:
    """Return the size of a JPEG that looks whole, or None where only decoding can tell."""
    try:
        with path.open("rb") as stream:
            stream.seek(-2, os.SEEK_END)
            if stream.read(2) != _JPEG_END:
                return None
            stream.seek(0)
            with Image.open(stream, formats=("JPEG",)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    return None
                turned = "exif" in image.info and image.getexif().get(_ORIENTATION) in _TURNED_SIDEWAYS
    except Exception:  # noqa: BLE001 - whatever is wrong with it, `read_picture` names it
        return None
    return (width, height) if turned else (height, width)
