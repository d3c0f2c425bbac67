"""Photos and masks as files: their sizes, and pairs decoded and checked that they match, alone or by index."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from clothseg.data.manifest import stem_of
from clothseg.errors import DataError, PictureError, check_input, command, one_line, read_input
from clothseg.labels import IGNORED_ID
from clothseg.pictures import MAX_PIXELS, read_mask, read_picture
from clothseg.types import UInt8Array

_PREPARE = f'Run "{command("prepare")}" again'

_ORIENTATION = 0x0112
_TURNED_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap height and width. Source: CIPA DC-008, Exif 2.32, tag Orientation."""


def read_pair(photo_path: Path, mask_path: Path, *, num_classes: int) -> tuple[UInt8Array, UInt8Array]:
    """Return a photo, (H, W, 3) uint8 RGB, and its mask, (H, W) uint8 class ids, `IGNORED_ID` where it is unknown.

    Raises:
        DataError: one of them cannot be read, they differ in size, or the mask holds another id from `num_classes` on.
            The message names the file.
        MissingInputError: one of them is not there.
    """
    photo, mask = (read_input(path, "Photo or mask", _PREPARE) for path in (photo_path, mask_path))
    return decode_pair(photo, mask, names=(str(photo_path), str(mask_path)), num_classes=num_classes)


def decode_pair(
    photo: bytes, mask: bytes, *, names: tuple[str, str], num_classes: int
) -> tuple[UInt8Array, UInt8Array]:
    """Return the same as `read_pair`, from the bytes of the two files; errors call them by `names`.

    Raises:
        DataError: as in `read_pair`.
    """
    photo_name, mask_name = names
    try:
        image = read_picture(photo, name=photo_name).pixels
    except PictureError as error:
        raise DataError(f"{one_line(error)}. Training needs every photo of the dataset") from error
    try:
        class_ids = read_mask(mask, name=mask_name)
    except DataError as error:
        raise DataError(f"{one_line(error)}. {_PREPARE}") from error
    if class_ids.shape != image.shape[:2]:
        raise DataError(
            f"Mask {mask_name} is {_size(class_ids)} pixels, its photo {photo_name} {_size(image)}. "
            f"They must be of one size. {_PREPARE}"
        )
    highest = int(class_ids.max(initial=0))
    if highest == IGNORED_ID:
        highest = int(class_ids.max(initial=0, where=class_ids != IGNORED_ID))
    if highest >= num_classes:
        raise DataError(
            f"Mask {mask_name} has class id {highest}; the dataset has the ids 0 to {num_classes - 1}. {_PREPARE}"
        )
    return image, class_ids


def _size(pixels: UInt8Array) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def read_photo_size(path: Path) -> tuple[int, int]:
    """Return (height, width) of the EXIF-oriented photo at `path`.

    A JPEG with an end marker counts as whole, and only its header is read; any other file is decoded. `clothseg verify`
    decodes every photo.

    Raises:
        MissingInputError: there is no such file.
        DataError: the system refuses it, or it is no regular file.
        PictureError: it is no photo, too large, broken or cut off.
    """
    check_input(path, "Photo", "Check the path")
    size = _whole_jpeg_size(path)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        height, width = read_picture(path).pixels.shape[:2]
        return height, width
    return size


def _whole_jpeg_size(path: Path) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG with an end marker, EXIF orientation applied, or None for anything else."""
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
            stream.seek(-2, os.SEEK_END)
            if start != b"\xff\xd8" or stream.read() != b"\xff\xd9":
                return None
            stream.seek(0)
            with Image.open(stream, formats=("JPEG",)) as image:
                width, height = image.size
                return (width, height) if image.getexif().get(_ORIENTATION) in _TURNED_SIDEWAYS else (height, width)
    except Exception:  # noqa: BLE001 - `read_picture` names what is wrong
        return None


class FilePairs:
    """Photos with their masks, (photo, mask) paths as `manifest.pairs` returns them, by index from 0.

    Names are relative to `folder`, that of the photos. Mask values from `num_classes` on are refused.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], folder: Path, *, num_classes: int) -> None:
        # Strings: workers copy what they touch, and tens of thousands of Path objects would be hundreds of megabytes.
        self._photos = [str(photo) for photo, _ in pairs]
        self._masks = [str(mask) for _, mask in pairs]
        self._folder = folder
        self._num_classes = num_classes

    def __len__(self) -> int:
        return len(self._photos)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[str, UInt8Array, UInt8Array]]:
        """Yield name, photo, (H, W, 3) uint8 RGB, and mask, (H, W) uint8, of each index.

        The name is the photo's path inside its folder, without the suffix.

        Raises:
            DataError: one of them cannot be read, or they do not fit together; the message names the file.
            MissingInputError: one of them does not exist.
        """
        for index in indices:
            photo = Path(self._photos[index])
            name = stem_of(photo.relative_to(self._folder).as_posix())
            yield name, *read_pair(photo, Path(self._masks[index]), num_classes=self._num_classes)
