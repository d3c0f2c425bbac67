"""Encoded pictures: PNG, JPEG and WebP written and index masks and JPEG read, EXIF orientation, colour profiles."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms

from clothseg.errors import InputError, MachineError, PictureError
from clothseg.types import UInt8Array

try:
    import simplejpeg
except ModuleNotFoundError:  # Pillow reads the same pixels
    simplejpeg = None

MAX_JPEG_SIDE = 64_000
"""Longest side of a JPEG in pixels. Source: libjpeg's JPEG_MAX_DIMENSION; a little is left for an overlay's legend."""

MAX_WEBP_SIDE = 16_383
"""Longest side in pixels. Source: RFC 9649, section 2.6."""

HEAD_LENGTH = 128
"""Bytes at a file's start that `is_marked` reads."""

# Source: PNG specification, third edition (W3C), sections 5, 9 and 11.
_PNG_START = b"\x89PNG\r\n\x1a\n"
_EIGHT_BIT_INDICES = ((8, 0, 0, 0, 0), (8, 3, 0, 0, 0))
"""Bit depth, colour type (grey, palette), compression, filter method, no interlacing."""
_UNFILTERED, _UP_FILTER = 0, 2
_BLOCK = 32

_JPEG_COLORS = ("YCbCr", "RGB", "Gray")
"""Colours that libjpeg-turbo turns into RGB; Pillow reads CMYK."""

# Source: EXIF 2.32, tag 0x0112. Whether rows and columns swap, and what is then mirrored, as in `cv2.flip`.
_ORIENTATIONS = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}

_MODES_BY_SPACE = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""The colour space that a profile names, and Pillow's mode for it; others fit no image that comes here."""

_LARGEST_CHANGE_OF_SRGB = 2
"""A profile that moves no colour by more than this, of 255, is sRGB under another name."""


def encode_png(array: UInt8Array, *, palette: UInt8Array | None = None) -> bytes:
    """Encode (H, W), (H, W, 3) RGB or (H, W, 4) RGBA uint8 as PNG.

    Each row is stored as its difference to the row above: masks become nearly all zeros, and photos shrink as much as
    with OpenCV's filters, in a fifth of its time or less.

    Args:
        array: class ids or grey values if it has two dimensions.
        palette: (N, 3) uint8 RGB makes of (H, W) an indexed PNG; its pixel values stay what they are.
    """
    lines = array.reshape(len(array), -1)
    rows = np.empty((len(lines), lines.shape[1] + 1), dtype=np.uint8)
    rows[:, 0] = _UP_FILTER
    rows[:1, 1:] = lines[:1]
    np.subtract(lines[1:], lines[:-1], out=rows[1:, 1:])
    return png_from_rows(rows, channels=1 if array.ndim == 2 else array.shape[2], palette=palette)


def encode_jpeg(array: UInt8Array, quality: int = 90) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG of `quality` 1 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, content = cv2.imencode(".jpg", cv2.cvtColor(array, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise MachineError(f"OpenCV could not encode {array.shape} pixels as JPEG. Report this with the photo")
    return content.tobytes()


def encode_webp(array: UInt8Array, quality: int = 90) -> bytes:
    """Encode (H, W, 3) RGB or (H, W, 4) RGBA uint8 as WebP of `quality` 1 to 100.

    Raises:
        InputError: a side is longer than the format allows.
    """
    if max(array.shape[:2]) > MAX_WEBP_SIDE:
        height, width = array.shape[:2]
        raise InputError(
            f"{width} x {height} pixels are too many for WebP: a side has at most {MAX_WEBP_SIDE:,}. Take PNG"
        )
    stream = io.BytesIO()
    software = Image.Exif()
    software[ExifTags.Base.Software] = "clothseg"  # with EXIF, the file begins with the header that `marked` needs
    Image.fromarray(array).save(stream, "WEBP", quality=quality, method=2, exif=software)
    return stream.getvalue()


def marked(content: bytes) -> bytes:
    """Return a PNG, JPEG or WebP with a mark that clothseg made it, so that a later run does not use it as a photo."""
    offset, mark = _mark_of(content)
    if content.startswith(b"RIFF"):
        content = content[:4] + struct.pack("<I", len(content) - 8 + len(mark)) + content[8:]
    return content[:offset] + mark + content[offset:]


def is_marked(head: bytes) -> bool:
    """Return whether a file is one that `marked` returned, from its first `HEAD_LENGTH` bytes."""
    offset, mark = _mark_of(head)
    return head[offset : offset + len(mark)] == mark


def _mark_of(content: bytes) -> tuple[int, bytes]:
    """Return the mark's offset, after the first chunk of a PNG or the first segment of a JPEG, and the mark."""
    if content.startswith(_PNG_START):
        return len(_PNG_START) + 25, _chunk(b"tEXt", b"Software\0clothseg")
    if content.startswith(b"RIFF"):  # an unknown chunk, which readers skip. Source: RFC 9649, section 2.7.1.6
        return 30, b"clsg" + struct.pack("<I", 8) + b"clothseg"
    segment = b"clothseg"  # a comment. Source: ITU-T T.81, section B.2.4.5
    return 4 + int.from_bytes(content[4:6], "big"), b"\xff\xfe" + struct.pack(">H", 2 + len(segment)) + segment


def png_from_rows(rows: UInt8Array, *, channels: int = 1, palette: UInt8Array | None = None) -> bytes:
    """Wrap rows that are filtered already as an 8-bit PNG.

    Args:
        rows: (H, 1 + W * channels) uint8: the number of each row's filter, then its filtered values.
        channels: 1 for grey or ids of the palette, 3 for RGB, 4 for RGBA.
        palette: (N, 3) uint8 RGB.
    """
    color_type = {1: 0, 3: 2, 4: 6}[channels] if palette is None else 3
    width = (rows.shape[1] - 1) // channels
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, color_type, 0, 0, 0))]
    if palette is not None:
        chunks.append(_chunk(b"PLTE", np.ascontiguousarray(palette).tobytes()))
    chunks += [_chunk(b"IDAT", zlib_module().compress(np.ascontiguousarray(rows).data, 1)), _chunk(b"IEND", b"")]
    return _PNG_START + b"".join(chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def zlib_module() -> Any:
    """Return isal's zlib, several times as fast, or Python's, which reads and writes the same format."""
    try:
        from isal import isal_zlib
    except ModuleNotFoundError:
        return zlib
    return isal_zlib


def decode_index_png(content: bytes, *, max_pixels: int) -> UInt8Array | None:
    """Return the pixel values of an 8-bit grey or palette PNG, (H, W) uint8.

    Index masks are best stored with one row filter throughout, as `encode_png` does: each row minus the row above, or
    rows as they are.

    Returns:
        The pixels, or None for any other kind of PNG, one with more than `max_pixels`, or a file that is none: they are
        left to a general decoder.

    Raises:
        ValueError: such a PNG, but cut off, or a checksum does not match.
    """
    if not content.startswith(_PNG_START) or len(content) < 33:
        return None
    width, height, *kind = struct.unpack_from(">IIBBBBB", content, 16)
    if tuple(kind) not in _EIGHT_BIT_INDICES or not 0 < width * height <= max_pixels:
        return None
    chunks = list(_chunks(content))
    if any(name == b"eXIf" for name, _ in chunks):  # it may contain an orientation
        return None
    packed = b"".join(data for name, data in chunks if name == b"IDAT")
    rows = np.frombuffer(_inflate(packed, height * (width + 1)), dtype=np.uint8).reshape(height, width + 1)
    filters = set(rows[:, 0].tolist())
    if filters == {_UNFILTERED}:
        return np.ascontiguousarray(rows[:, 1:])
    return _sum_down(rows[:, 1:]) if filters == {_UP_FILTER} else None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset, name = len(_PNG_START), b""
    while name != b"IEND":
        if offset + 12 > len(content):
            raise ValueError("it is cut off")
        length, name = struct.unpack_from(">I4s", content, offset)
        end = offset + 12 + length
        data = content[offset + 8 : end - 4]
        if _chunk(name, data) != content[offset:end]:
            raise ValueError(f"it is cut off, or the checksum of its {name.decode('latin-1')} chunk does not match")
        yield name, data
        offset = end


def _inflate(packed: bytes, size: int) -> bytes:
    """Return the `size` bytes that `packed` contains; ask for one more, so that the checksum after them is read."""
    fast_zlib = zlib_module()
    try:
        stream = fast_zlib.decompressobj()
        unpacked = stream.decompress(packed, size + 1)
    except fast_zlib.error as error:
        raise ValueError(f"its pixels cannot be unpacked ({error})") from error
    if not stream.eof or len(unpacked) != size:
        raise ValueError("it has another number of pixels than its header says")
    return bytes(unpacked)


def _sum_down(differences: UInt8Array) -> UInt8Array:
    """Return the sums of each column from the top, modulo 256: as `np.cumsum`, but in blocks, 5 times as fast."""
    height, width = differences.shape
    blocks = np.zeros((-(-height // _BLOCK), _BLOCK, width), dtype=np.uint8)
    blocks.reshape(-1, width)[:height] = differences
    for row in range(1, _BLOCK):
        blocks[:, row] += blocks[:, row - 1]
    for number in range(1, len(blocks)):
        blocks[number] += blocks[number - 1, -1]
    return blocks.reshape(-1, width)[:height]


def decode_jpeg(content: bytes) -> UInt8Array | None:
    """Return the pixels of a JPEG as they are stored, (H, W, 3) uint8 RGB, equal to Pillow's.

    About three times as fast: Pillow keeps four bytes a pixel and copies them twice on the way to an array.

    The caller has checked from its header that it is not too large.

    Returns:
        None for CMYK and for a broken file: Pillow then reads it, or says what is wrong.
    """
    if simplejpeg is None:
        return None
    try:
        if simplejpeg.decode_jpeg_header(content)[2] not in _JPEG_COLORS:
            return None
        return np.asarray(simplejpeg.decode_jpeg(content), dtype=np.uint8)
    except ValueError:
        return None


def orient(pixels: UInt8Array, orientation: int) -> UInt8Array:
    """Return stored pixels, (H, W, 3) or (H, W), EXIF-oriented; `orientation` is EXIF's number, 1 to 8."""
    if orientation not in _ORIENTATIONS:
        return pixels
    swaps, mirrored = _ORIENTATIONS[orientation]
    if swaps:
        pixels = np.asarray(cv2.transpose(pixels), dtype=np.uint8)
    return pixels if mirrored is None else np.asarray(cv2.flip(pixels, mirrored), dtype=np.uint8)


def is_transparent(image: Image.Image) -> bool:
    """Return whether some pixels of an image are not opaque."""
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return image.getextrema()[-1][0] < 255  # type: ignore[index]
    return "transparency" in image.info


def to_8_bits(image: Image.Image, name: str) -> Image.Image:
    """Return an image of mode RGB, L or CMYK, the alpha channel left out."""
    if image.mode.startswith("I"):  # Pillow's own convert clips 16-bit grey at 255 instead of scaling it
        values = np.asarray(image).astype(np.int64)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise PictureError(f"Photo has grey values beyond 16 bits: {name}. Save it with 8 or 16")
        return Image.fromarray((values / 257).round().astype(np.uint8))
    if image.mode == "F":
        raise PictureError(f"Photo has floating-point pixels: {name}. Save it with 8 or 16 bits")
    if image.mode in ("RGB", "L", "CMYK"):
        return image
    return image.convert("L" if image.mode in ("LA", "La", "1") else "RGB")


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
    return ImageCms.applyTransform(image, transform) or image, ""


def _as_rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


@functools.lru_cache(16)
def _transform(profile: bytes) -> tuple[str, Any]:
    """Return the mode of a profile, and its transform into sRGB, or None where it changes almost nothing."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = opened.profile.xcolor_space
    mode = _MODES_BY_SPACE.get(space)
    if mode is None:
        return space.strip(), None
    transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    if mode == "CMYK":
        return mode, transform
    colors = levels[None, :] if mode == "L" else np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    before = Image.fromarray(np.ascontiguousarray(colors))
    after = ImageCms.applyTransform(before, transform)
    change = np.asarray(after, np.int16) - np.asarray(before.convert("RGB"), np.int16)
    return mode, None if np.abs(change).max() <= _LARGEST_CHANGE_OF_SRGB else transform
