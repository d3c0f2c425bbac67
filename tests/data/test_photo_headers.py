"""The quick size of a photo is the size of the decoded photo, or the error of decoding it."""

import io

import numpy as np
import pytest
from PIL import Image

from clothseg.data.painting import read_photo_size
from clothseg.errors import InputError, PictureError
from clothseg.pictures import read_picture


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
        "narrow": encoded("JPEG", size=(1, 300)),
        "comment": encoded("JPEG", comment=b"x" * 60_000),
        "profile": encoded("JPEG", icc_profile=b"p" * 20_000),
        "resolution": encoded("JPEG", dpi=(300, 300)),
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


def test_a_broken_photo_is_named(tmp_path):
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


def test_a_photo_that_is_not_there_is_named(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_photo_size(path)


def test_a_size_beyond_the_limit_is_refused_from_the_header(tmp_path):
    content = bytearray(encoded("JPEG"))
    place = content.index(b"\xff\xc0")
    content[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "photo.jpg").write_bytes(content)

    with pytest.raises(PictureError, match="too large"):
        read_photo_size(tmp_path / "photo.jpg")
