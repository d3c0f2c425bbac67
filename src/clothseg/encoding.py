"""Pixels as the content of a picture file: PNG, with a palette for masks, and JPEG."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.errors import MachineError
from clothseg.types import UInt8Array

HEAD_LENGTH = 128
"""Bytes at a file's start by which `is_marked` decides."""

_PNG_START = b"\x89PNG\r\n\x1a\n"


def encode_png(array: UInt8Array, *, palette: UInt8Array | None = None) -> bytes:
    """Encode (H, W), (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG.

    Args:
        array: class ids or grey values if it has two dimensions.
        palette: (N, 3) uint8 RGB makes of (H, W) an indexed PNG; its pixel values stay what they are.
    """
    if array.ndim == 2:
        return _encode_index_png(array, palette)
    order = cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    return _encoded(".png", cv2.cvtColor(array, order), [cv2.IMWRITE_PNG_COMPRESSION, 2])


def encode_jpeg(array: UInt8Array, quality: int = 90) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG of `quality` 1 to 100."""
    return _encoded(".jpg", cv2.cvtColor(array, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])


def marked(content: bytes) -> bytes:
    """Return a PNG or JPEG that says it was made by clothseg, by which a later run tells it from a person's photo."""
    place, mark = _place_of_mark(content)
    return content[:place] + mark + content[place:]


def is_marked(head: bytes) -> bool:
    """Tell whether a file is one that `marked` returned, from its first `HEAD_LENGTH` bytes."""
    place, mark = _place_of_mark(head)
    return head[place : place + len(mark)] == mark


def _place_of_mark(content: bytes) -> tuple[int, bytes]:
    """Return where the mark stands, behind the first chunk of a PNG or the first segment of a JPEG, and the mark."""
    if content.startswith(_PNG_START):
        return len(_PNG_START) + 25, _chunk(b"tEXt", b"Software\0clothseg")
    segment = b"clothseg"  # a comment. Source: ITU-T T.81, section B.2.4.5
    return 4 + int.from_bytes(content[4:6], "big"), b"\xff\xfe" + struct.pack(">H", 2 + len(segment)) + segment


def _encoded(suffix: str, array: npt.NDArray[Any], options: list[int]) -> bytes:
    done, content = cv2.imencode(suffix, array, options)
    if not done:
        raise MachineError(f"OpenCV could not encode {array.shape} pixels as {suffix}. Report this with the photo")
    return content.tobytes()


def _encode_index_png(values: UInt8Array, palette: UInt8Array | None) -> bytes:
    """Write the PNG by hand: OpenCV writes no palettes, and label images pack best with one fixed row filter.

    Each row is stored as its difference to the row above (filter 2), which for masks is nearly all zeros.
    Source: PNG specification, third edition (W3C), sections 5, 9 and 11.
    """
    height, width = values.shape
    rows = np.empty((height, width + 1), dtype=np.uint8)
    rows[:, 0] = 2
    rows[:1, 1:] = values[:1]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    return png_from_rows(rows, palette=palette)


def png_from_rows(rows: UInt8Array, *, palette: UInt8Array | None = None) -> bytes:
    """Wrap rows that are filtered already as an 8-bit PNG, grey or with a palette.

    Args:
        rows: (H, 1 + W) uint8: the number of each row's filter, then its filtered values.
        palette: (N, 3) uint8 RGB, or None for grey.
    """
    height, width = rows.shape[0], rows.shape[1] - 1
    color_type = 0 if palette is None else 3
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0))]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", np.ascontiguousarray(palette).tobytes()))
    chunks += [_chunk(b"IDAT", _deflate(np.ascontiguousarray(rows).data)), _chunk(b"IEND", b"")]
    return _PNG_START + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _deflate(content: memoryview) -> bytes:
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        return zlib.compress(content, 1)
    return isal_zlib.compress(content, 1)
