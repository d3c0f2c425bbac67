"""A photo and its mask: decoded, and checked that they match."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clothseg.encoding import decode_index_png
from clothseg.errors import DataError, PictureError, check_input, one_line, path_problem
from clothseg.labels import IGNORED_ID
from clothseg.pictures import MAX_PIXELS, read_mask, read_picture
from clothseg.types import UInt8Array

_PREPARE = 'Run "uv run data_prep.py" again'


@dataclass(frozen=True)
class Encoded:
    """The bytes of a picture file, and its name in errors."""

    content: bytes
    name: str


def read_pair(photo_path: Path, mask_path: Path, *, num_classes: int) -> tuple[UInt8Array, UInt8Array]:
    """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8 class ids, `IGNORED_ID` where it is unknown.

    Raises:
        DataError: one of them cannot be read, they differ in size, or the mask holds another id from `num_classes` on.
            The message names the file.
        MissingInputError: one of them is not there.
    """
    photo, mask = (Encoded(read_file(path), str(path)) for path in (photo_path, mask_path))
    return decode_pair(photo, mask, num_classes=num_classes)


def decode_pair(photo: Encoded, mask: Encoded, *, num_classes: int) -> tuple[UInt8Array, UInt8Array]:
    """Return the same as `read_pair`, from bytes that have been read.

    Raises:
        DataError: as in `read_pair`.
    """
    try:
        image = read_picture(photo.content, name=photo.name).pixels
    except PictureError as error:
        raise DataError(f"{one_line(error)}. Training needs every photo of the dataset") from error
    class_ids = decode_class_ids(mask)
    if class_ids.shape != image.shape[:2]:
        raise DataError(
            f"Mask {mask.name} is {_size(class_ids)} pixels, its photo {photo.name} {_size(image)}. "
            f"They must be of one size. {_PREPARE}"
        )
    highest = int(class_ids.max(initial=0))
    if highest == IGNORED_ID:
        highest = int(class_ids.max(initial=0, where=class_ids != IGNORED_ID))
    if highest >= num_classes:
        raise DataError(
            f"Mask {mask.name} holds class id {highest}; the dataset has the ids 0 to {num_classes - 1}. {_PREPARE}"
        )
    return image, class_ids


def _size(pixels: UInt8Array) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def read_class_ids(path: Path) -> UInt8Array:
    """Return an index mask, (H, W) uint8, as `pictures.read_mask` does, but masks that clothseg wrote faster.

    Raises:
        DataError: the mask cannot be read; the message names it.
        MissingInputError: it is not there.
    """
    return decode_class_ids(Encoded(read_file(path), str(path)))


def decode_class_ids(mask: Encoded) -> UInt8Array:
    """Return the same as `read_class_ids`, from bytes that have been read.

    Raises:
        DataError: the mask cannot be decoded; the message names it.
    """
    try:
        class_ids = decode_index_png(mask.content, max_pixels=MAX_PIXELS)
    except ValueError as error:
        raise DataError(f"Mask {mask.name} is broken: {error}. {_PREPARE}") from error
    return read_mask(mask.content, name=mask.name) if class_ids is None else class_ids


def read_file(path: Path) -> bytes:
    """Return the bytes of a photo or mask.

    Raises:
        DataError: the system refuses it, or it is no regular file.
        MissingInputError: it is not there.
    """
    check_input(path, "Photo or mask", _PREPARE)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({path_problem(error)}). {_PREPARE}") from error
