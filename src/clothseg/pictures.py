"""Reading photos and index masks as pixels, and writing files atomically."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from clothseg.encoding import decode_index_png, decode_jpeg, is_transparent, orient, to_8_bits, to_srgb
from clothseg.errors import (
    ClothsegError,
    DataError,
    LargePictureError,
    PictureError,
    check_input,
    disk_errors,
    install,
    one_line,
    path_problem,
)
from clothseg.types import UInt8Array

PhotoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | UInt8Array
"""A path, an encoded photo, an open binary file with one, a Pillow image, or (H, W, 3) uint8 RGB pixels."""

PHOTO_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif", ".ppm", ".jfif")
)
"""Lower-case endings by which folders are searched for photos; the format of a file is read from its content."""

MAX_PIXELS = 89_000_000
"""Largest photo that is decoded, read from the header first; about 270 MB of RGB. Pillow warns from 89.5 million on."""

# Only plain raster formats: Pillow would start Ghostscript for an EPS file.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "PPM")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")

_DECODER_ERRORS = (
    *(OSError, ValueError, TypeError, SyntaxError, RuntimeError, EOFError, LookupError, ArithmeticError),
    *(struct.error, zlib.error),
)
"""What Pillow and pi_heif raise on broken files; not what a fault of ours or a lack of memory raises."""

_LARGE_TEXT = 64 << 20
"""Bytes of text or profile in a PNG that are read where Pillow's own limit of 1 MB is not enough."""
_large_text_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded photo, EXIF-oriented and in sRGB."""

    pixels: UInt8Array
    """(H, W, 3) uint8 RGB."""
    notes: tuple[str, ...] = ()
    """What was left out or changed, in words: only the first frame, transparency on white."""


def read_picture(source: PhotoSource, *, max_pixels: int = MAX_PIXELS, name: str = "") -> Picture:
    """Decode a photo.

    Args:
        source: path, encoded bytes, an open binary file, which is read from its current position, a Pillow image, or
            (H, W, 3) uint8 RGB pixels, which are used as they are.
        max_pixels: larger photos are refused from their header, before anything is decoded.
        name: what errors call encoded bytes, such as the address they came from.

    Raises:
        MissingInputError: there is no such file.
        LargePictureError: it has more pixels than `max_pixels`.
        PictureError: a folder, empty, broken, cut off, in a format that is not read, or no photo source at all.
    """
    if isinstance(source, np.ndarray):
        return Picture(_checked_pixels(source))
    if isinstance(source, Image.Image):
        return _converted(source, "the Pillow image", *_load(source, "the Pillow image", max_pixels))
    if isinstance(source, str | os.PathLike):
        name = str(source)
        opened: BinaryIO = _open(Path(source))
    else:
        name = name or name_of(source) or "the bytes given"
        opened = io.BytesIO(_content(source))
    with opened as stream:
        head = stream.read(64)
        stream.seek(0)
        if not head:
            raise PictureError(f"Photo is empty (0 bytes): {name}. Pass a photo")
        with _named_failures(name):
            try:
                image = _open_image(stream, head, name, max_pixels)
                loaded = _load(image, name, max_pixels, stream)
            except ValueError as error:
                if isinstance(error, ClothsegError) or not head.startswith(b"\x89PNG"):
                    raise
                stream.seek(0)
                with _large_png_text():
                    image = Image.open(stream, formats=("PNG",))
                    loaded = _load(image, name, max_pixels)
        return _converted(image, name, *loaded)


def name_of(source: PhotoSource) -> str:
    """Return the path of a photo source with slashes, or an empty text where it has none."""
    name = source
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "filename" if isinstance(source, Image.Image) else "name", "")
    return Path(name).as_posix() if isinstance(name, str | os.PathLike) and str(name) else ""


def _content(source: Any) -> bytes:
    if hasattr(source, "read") and not isinstance(source, io.TextIOBase):
        try:
            source = source.read()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise PictureError(f"Photo cannot be read: {name_of(source) or source} ({one_line(error)})") from error
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    raise PictureError(
        f"Not a photo: {type(source).__name__}. Pass a path, the bytes of a photo, a file opened with mode 'rb', "
        "a Pillow image, or (H, W, 3) uint8 RGB pixels"
    )


@contextlib.contextmanager
def _large_png_text() -> Iterator[None]:
    """Let Pillow read a PNG with more text or a larger profile than it allows, as editors write them."""
    with _large_text_lock:
        before = PngImagePlugin.MAX_TEXT_CHUNK
        PngImagePlugin.MAX_TEXT_CHUNK = _LARGE_TEXT
        try:
            yield
        finally:
            PngImagePlugin.MAX_TEXT_CHUNK = before


def _checked_pixels(pixels: npt.NDArray[Any]) -> UInt8Array:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise PictureError(f"Photo array is {pixels.dtype} of shape {pixels.shape}. Pass (H, W, 3) uint8 in RGB order")
    return np.ascontiguousarray(pixels)


def _open(path: Path, what: str = "Photo") -> io.BufferedReader:
    check_input(path, what, "Check the path", error=PictureError)
    try:
        return path.open("rb")
    except OSError as error:
        raise PictureError(f"{what} cannot be opened: {path} ({path_problem(error)}). Check its permissions") from error


@contextlib.contextmanager
def _named_failures(name: str, what: str = "Photo", formats: tuple[str, ...] = (*_FORMATS, "HEIC")) -> Iterator[None]:
    """Turn an error of a decoder on a broken file into one that names the file and what it is meant to be."""
    try:
        yield
    except ClothsegError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Pillow's own message names its limit, which is twice ours.
        raise LargePictureError(
            f"{what} is too large: {name} has more than {MAX_PIXELS:,} pixels. Make it smaller first"
        ) from error
    except UnidentifiedImageError as error:
        raise PictureError(f"Not a {what.lower()} that can be read: {name}. Formats: {', '.join(formats)}") from error
    except _DECODER_ERRORS as error:
        raise PictureError(f"{what} is broken or cut off: {name} ({one_line(error)}). Save it again") from error


def _open_image(stream: Any, head: bytes, name: str, max_pixels: int) -> Image.Image:
    brands = {head[start : start + 4] for start in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIC_BRANDS or not brands.isdisjoint(_AVIF_BRANDS):
        return Image.open(stream, formats=_FORMATS)
    try:
        import pi_heif
    except ModuleNotFoundError as error:
        raise PictureError(f"HEIC photo: {name}. Install its decoder: {install('heic')}") from error
    heif = pi_heif.open_heif(stream, convert_hdr_to_8bit=True)  # oriented as the file says
    _check_size(heif.size, name, max_pixels)  # before `data`, which decodes
    image = Image.frombytes(heif.mode, heif.size, bytes(heif.data), "raw", heif.mode, heif.stride)
    image.info["icc_profile"] = heif.info.get("icc_profile")
    return image


def _load(
    image: Image.Image, name: str, max_pixels: int, stream: BinaryIO | None = None
) -> tuple[UInt8Array | None, list[str]]:
    """Return the pixels and notes of an image, or None for the pixels where they are in the image now."""
    _check_size(image.size, name, max_pixels)
    notes = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a depth map or a second view behind it
        image.seek(0)
        notes.append(f"only the first of {frames} frames is used")
    pixels = None
    if stream is not None and image.format in ("JPEG", "MPO"):
        stream.seek(0)
        pixels = decode_jpeg(stream.read())
    if pixels is None:
        image.load()
    return pixels, notes


def _converted(image: Image.Image, name: str, pixels: UInt8Array | None, notes: list[str]) -> Picture:
    """Return what was loaded as EXIF-oriented pixels in sRGB."""
    try:
        orientation = _orientation(image)
    except Exception as error:  # noqa: BLE001 - a photo with a broken EXIF block is still used
        orientation = 1
        notes.append(f"its EXIF block is broken, so its orientation is unknown ({one_line(error)})")
    profile = image.info.get("icc_profile")
    if pixels is None:
        alpha = None
        if is_transparent(image):
            image = image.convert("RGBA")
            alpha = image.getchannel("A")
        image, note = to_srgb(to_8_bits(image, name), profile)
        if alpha is not None:
            canvas = Image.new("RGB", image.size, (255, 255, 255))
            canvas.paste(image, mask=alpha)
            image = canvas
            notes.append("its transparent parts are shown on white")
        pixels = np.array(image, dtype=np.uint8)
    elif profile:
        image, note = to_srgb(Image.fromarray(pixels), profile)
        pixels = np.array(image, dtype=np.uint8)
    else:
        note = ""
    return Picture(orient(pixels, orientation), (*notes, *filter(None, (note,))))


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 needs no change."""
    number: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    return number


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise LargePictureError(
            f"Photo is too large: {name} has {width} x {height} pixels, at most {max_pixels:,} are read"
        )


_HEADER = 30
"""Bytes of a PNG or BMP up to its bits per pixel and colour type."""


def _factor_of_values(mode: str, header: bytes, name: str) -> int:
    """Return the number by which Pillow has multiplied the values of an index mask.

    Pillow multiplies those of a grey PNG of 2 or 4 bits, so that white is 255, and reads a BMP of several bits with a
    palette of black and white as one of 1 bit.
    Source: PNG specification, third edition, 11.2.1; BITMAPINFOHEADER in Microsoft's documentation.
    """
    if header.startswith(b"\x89PNG") and header[25] == 0:
        return {2: 85, 4: 17}.get(header[24], 1)
    if header.startswith(b"BM") and mode != "P" and header[28] != {"1": 1, "L": 8}[mode]:
        raise DataError(f"Mask is a BMP of {header[28]} bits with a grey palette: {name}. Save it as PNG")
    return 1


def read_mask(source: Path | bytes, *, name: str | None = None) -> UInt8Array:
    """Read an index mask.

    Args:
        source: path or encoded bytes.
        name: how errors call encoded bytes.

    Returns:
        (H, W) uint8: the values in the file, palette or grey, EXIF-oriented as the photo is.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no single-channel 8-bit image, or broken.
    """
    name = (name or "the bytes given") if isinstance(source, bytes) else str(source)
    formats = ("PNG", "BMP", "GIF")
    try:
        opened = io.BytesIO(source) if isinstance(source, bytes) else _open(source, "Mask")
        with opened as stream, _named_failures(name, "Mask", formats):
            header = stream.read(_HEADER)
            is_png = header.startswith(b"\x89PNG")
            quickly = decode_index_png(header + stream.read(), max_pixels=MAX_PIXELS) if is_png else None
            if quickly is not None:
                return quickly
            stream.seek(0)
            with Image.open(stream, formats=formats) as image:
                if image.mode not in ("L", "P", "1"):
                    raise DataError(f"Mask has mode {image.mode}: {name}. Allowed: one 8-bit channel of class ids")
                factor = _factor_of_values(image.mode, header, name)
                values = np.array(image, dtype=np.uint8) // np.uint8(factor)
                return orient(values, _orientation(image))
    except PictureError as error:
        raise DataError(one_line(error)) from error


@contextlib.contextmanager
def whole_file(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a path to write to, and rename it to `path` once the block has ended without an error.

    The path is beside the target, so that the rename is atomic, and is always the same for a target, so that a run
    after a kill leaves nothing behind.

    Args:
        path: where the file is to be; its folder is made if needed.
        sync: wait until the disk has it, so that it survives a power cut.

    Raises:
        MachineError: the folder cannot be written, or the disk is full. Nothing is left behind.
    """
    temporary = path.with_name(_temporary_name(path.name))
    try:
        with disk_errors(f"Cannot write {path}", "Free some space, or choose another folder"):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if sync:
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
            temporary.replace(path)
            if sync:
                _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _temporary_name(name: str) -> str:
    if len(os.fsencode(name)) > 200:  # most file systems end names at 255 bytes
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return f".{name}.part"


def _sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`: a file's own sync does not make its new name survive a power cut.

    Windows cannot open folders, and some network file systems cannot sync them; the name exists anyway.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:  # the disk is failing
            raise


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write `content` to `path`: either all of it is there afterwards, or nothing has changed.

    Raises:
        MachineError: the folder cannot be written, or the disk is full.
    """
    with whole_file(path, sync=sync) as temporary:
        temporary.write_bytes(content)
