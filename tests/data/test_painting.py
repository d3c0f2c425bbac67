"""Regions become a mask of exactly the class ids, and the size of a photo is that of the decoded photo."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from PIL import Image
from pycocotools import mask as coco_mask

from clothseg.data.painting import paint, read_photo_size
from clothseg.errors import InputError, PictureError
from clothseg.pictures import read_picture
from clothseg.rle import edges_from_counts, edges_from_text

SIZES = st.tuples(st.integers(1, 24), st.integers(1, 24))


def read_png(content):
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "L"
        return np.array(image)


def layers(height, width):
    regions = hypothesis_numpy.arrays(np.bool_, (height, width))
    return st.lists(st.tuples(st.integers(1, 46), regions), max_size=5)


@given(st.data(), SIZES)
def test_painted_regions_equal_boolean_painting(data, size):
    drawn = data.draw(layers(*size))
    expected = np.zeros(size, dtype=np.uint8)
    regions = []
    for class_id, region in drawn:
        expected[region] = class_id
        code = coco_mask.encode(np.asfortranarray(region, dtype=np.uint8))["counts"]
        regions.append((class_id, edges_from_text(code.decode(), region.size)))

    mask = paint(regions, *size)

    assert (read_png(mask.to_png()) == expected).all()
    assert mask.pixels_per_class(47).tolist() == np.bincount(expected.ravel(), minlength=47).tolist()


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_uncompressed_runs_of_any_length_zero_included(counts, height):
    width = -(-sum(counts) // height) or 1
    counts = [*counts, height * width - sum(counts)]
    values = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T

    mask = paint([(1, edges_from_counts(counts, height * width))], height, width)

    assert (read_png(mask.to_png()) == values).all()


def test_runs_of_thousands_of_pixels():
    region = np.zeros((3000, 2000), dtype=np.uint8, order="F")
    region[:, 700:1300] = 1
    region[17, 3] = 1
    code = coco_mask.encode(region)["counts"].decode()

    mask = paint([(3, edges_from_text(code, region.size))], *region.shape)

    assert (read_png(mask.to_png()) == region * 3).all()


def test_without_isal_the_png_decodes_to_the_same(monkeypatch):
    edges = edges_from_counts([5, 20, 100, 30, 45], 200)
    fast = paint([(9, edges)], 10, 20)
    with_isal = fast.to_png()
    monkeypatch.setitem(sys.modules, "isal", None)

    without_isal = fast.to_png()

    assert with_isal != without_isal, "isal did not compress the first"
    assert (read_png(with_isal) == read_png(without_isal)).all()


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
    content[place + 5 : place + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "photo.jpg").write_bytes(content)

    with pytest.raises(PictureError, match="too large"):
        read_photo_size(tmp_path / "photo.jpg")
