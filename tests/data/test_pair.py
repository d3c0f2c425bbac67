"""A photo and its mask are decoded exactly, or refused by name; sizes are those of the decoded photos."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.data.pair import read_pair, read_photo_size
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import DataError, InputError, MissingInputError, PictureError
from clothseg.labels import IGNORED_ID
from clothseg.pictures import read_mask, read_picture


@pytest.fixture
def photo() -> np.ndarray:
    """(60, 90, 3) uint8 RGB with a gradient in each direction."""
    y, x = np.mgrid[:60, :90]
    return np.dstack((x * 2, y * 4, 255 - x)).astype(np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    """(60, 90) uint8 class ids."""
    ids = np.zeros((60, 90), dtype=np.uint8)
    ids[10:40, 20:50] = 2
    ids[30:50, 40:80] = 12
    return ids


def read_photo(path: Path) -> np.ndarray:
    """Read a photo of 90 x 60 pixels with a mask beside it."""
    (path.parent / "mask of it.png").write_bytes(encode_png(np.zeros((60, 90), dtype=np.uint8)))
    return read_pair(path, path.parent / "mask of it.png", num_classes=13)[0]


def test_files_cut_off_anywhere_are_refused_by_name(tmp_path: Path, photo: np.ndarray, mask: np.ndarray) -> None:
    whole = {"photo": encode_jpeg(photo), "mask": encode_png(mask)}
    for part, content in whole.items():
        for share in (0.2, 0.5, 0.9, 0.995):
            for name, written in (whole | {part: content[: int(len(content) * share)]}).items():
                (tmp_path / f"{name}.bin").write_bytes(written)
            with pytest.raises(DataError, match=f"{part}.bin"):
                read_pair(tmp_path / "photo.bin", tmp_path / "mask.bin", num_classes=13)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"not found: .*gone\.png.*data_prep\.py"):
        read_photo(tmp_path / "gone.png")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_photo(tmp_path)


def test_what_would_be_waited_for_without_end_is_refused(tmp_path: Path, photo: np.ndarray) -> None:
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(photo))
    os.mkfifo(tmp_path / "a.png")
    for photo_name, mask_name in (("a.jpg", "a.png"), ("a.png", "a.jpg")):
        with pytest.raises(DataError, match=r"is a pipe, socket or device, not a file: .*a\.png"):
            read_pair(tmp_path / photo_name, tmp_path / mask_name, num_classes=13)


def test_a_pair_that_does_not_fit_is_refused(tmp_path: Path, photo: np.ndarray, mask: np.ndarray) -> None:
    photo_path, mask_path = tmp_path / "a.jpg", tmp_path / "a.png"
    photo_path.write_bytes(encode_jpeg(photo))
    mask_path.write_bytes(encode_png(mask[:-1]))
    with pytest.raises(DataError, match=r"a\.png is 90 x 59 pixels, its photo .*a\.jpg 90 x 60"):
        read_pair(photo_path, mask_path, num_classes=13)
    mask_path.write_bytes(encode_png(mask))
    with pytest.raises(DataError, match=r"a\.png has class id 12; the dataset has the ids 0 to 11"):
        read_pair(photo_path, mask_path, num_classes=12)
    mask[0] = IGNORED_ID
    mask_path.write_bytes(encode_png(mask))
    with pytest.raises(DataError, match=r"a\.png has class id 12; the dataset has the ids 0 to 11"):
        read_pair(photo_path, mask_path, num_classes=12)
    image, ids = read_pair(photo_path, mask_path, num_classes=13)
    assert np.array_equal(ids, read_mask(mask_path))
    assert np.abs(image.astype(int) - photo).mean() < 4


def encoded(kind, mode="RGB", size=(31, 17), **options):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, kind, **options)
    return content.getvalue()


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def frame_last(content):
    """Return a JPEG with its frame header behind all of its tables, where most have it before the Huffman tables."""
    segments, place = [], 2
    while content[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        segments.append(content[place:end])
        place = end
    segments.sort(key=lambda segment: segment[1] == 0xC0)
    return content[:2] + b"".join(segments) + content[place:]


def test_the_size_is_that_of_the_decoded_photo(tmp_path):
    path = tmp_path / "photo.jpg"
    photos = {
        "RGB": encoded("JPEG"),
        "grey": encoded("JPEG", "L"),
        "CMYK": encoded("JPEG", "CMYK"),
        "progressive": encoded("JPEG", progressive=True),
        "comment": encoded("JPEG", comment=b"x" * 60_000),
        "profile": encoded("JPEG", icc_profile=b"p" * 20_000),
        "frame header last": frame_last(encoded("JPEG")),
        "bytes behind the end": encoded("JPEG") + b"\0" * 10,
        **{f"orientation {number}": encoded("JPEG", exif=turned(number)) for number in range(1, 9)},
        **{f"{kind}, orientation 6": encoded(kind, exif=turned(6)) for kind in ("PNG", "WEBP")},
        "PNG with a palette": encoded("PNG", "P"),
        "BMP": encoded("BMP"),
        "GIF": encoded("GIF", "P"),
        "MPO": encoded("MPO", save_all=True, append_images=[Image.new("RGB", (5, 5))]),
    }
    wrong = []
    for name, content in photos.items():
        path.write_bytes(content)
        found, expected = read_photo_size(path), read_picture(path).pixels.shape[:2]
        if found != expected:
            wrong.append((name, found, expected))
    assert not wrong, wrong


def test_a_photo_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "photo.jpg"
    for content in (
        b"",
        b"\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff\xe0\x00\x00" * 1000 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x00\xff\xd9",
        b"text",
        encoded("JPEG")[:-100],
        encoded("JPEG")[:50],
        encoded("PNG")[:-100],
    ):
        path.write_bytes(content)
        with pytest.raises(PictureError, match=r"photo\.jpg"):
            read_photo_size(path)
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_photo_size(path)


def test_a_size_beyond_the_limit_is_refused_from_the_header(tmp_path):
    content = bytearray(encoded("JPEG"))
    place = content.index(b"\xff\xc0")
    for side in (9440, 65535):  # beyond our limit alone, and beyond Pillow's
        content[place + 5 : place + 9] = side.to_bytes(2, "big") * 2
        (tmp_path / "photo.jpg").write_bytes(content)

        with pytest.raises(PictureError, match="too large"):
            read_photo_size(tmp_path / "photo.jpg")
