"""Pixels as the content of a picture file, read back with Pillow and, for index masks, with our own decoder."""

import io
import struct
import sys
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image, ImageOps

from clothseg import encoding
from clothseg.encoding import decode_index_png, decode_jpeg, encode_jpeg, encode_png, orient
from clothseg.errors import PictureError
from clothseg.labels import GROUPS
from clothseg.pictures import read_picture


@settings(max_examples=40)
@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 12)))
def test_a_mask_survives_being_written_and_read(mask):
    for palette in (None, GROUPS.palette):
        content = encode_png(mask, palette=palette)
        with Image.open(io.BytesIO(content)) as image:
            assert image.mode == ("L" if palette is None else "P")
            np.testing.assert_array_equal(np.array(image), mask)
            if palette is not None:
                assert image.getpalette()[: palette.size] == palette.ravel().tolist()


def test_a_mask_is_the_same_without_isal(monkeypatch):
    mask = np.random.default_rng(0).integers(0, 13, (50, 60), np.uint8)
    monkeypatch.setitem(sys.modules, "isal", None)
    with Image.open(io.BytesIO(encode_png(mask))) as image:
        np.testing.assert_array_equal(np.array(image), mask)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_pngs_keep_their_channel_order(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, channels), np.uint8)
    with Image.open(io.BytesIO(encode_png(pixels))) as image:
        np.testing.assert_array_equal(np.array(image), pixels)


def decode(content):
    return decode_index_png(content, max_pixels=1_000_000)


@given(
    mask=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=90)),
    has_palette=st.booleans(),
    has_isal=st.booleans(),
)
def test_what_was_written_is_decoded(mask: np.ndarray, has_palette: bool, has_isal: bool) -> None:
    content = encode_png(mask, palette=np.zeros((256, 3), dtype=np.uint8) if has_palette else None)
    with pytest.MonkeyPatch.context() as patch:
        if not has_isal:
            patch.setitem(sys.modules, "isal", None)
        assert np.array_equal(decode(content), mask)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(mask: np.ndarray, *, row_filter: int, parts: int = 1, rows: int | None = None) -> bytes:
    """Return a PNG whose rows claim one filter, and whose pixels lie in several parts."""
    height, width = mask.shape
    lines = np.column_stack((np.full(height, row_filter, dtype=np.uint8), mask))
    packed = zlib.compress(lines[:rows].tobytes())
    step = -(-len(packed) // parts)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            chunk(b"tEXt", b"Comment\0drawn for a test"),
            *(chunk(b"IDAT", packed[start : start + step]) for start in range(0, len(packed), step)),
            chunk(b"IEND", b""),
        )
    )


def test_unfiltered_rows_and_pixels_in_parts_are_decoded() -> None:
    mask = np.random.default_rng(0).integers(0, 13, size=(40, 30), dtype=np.uint8)
    assert np.array_equal(decode(png(mask, row_filter=0, parts=5)), mask)


def test_other_files_are_left_to_a_general_decoder() -> None:
    black = np.zeros((4, 4), dtype=np.uint8)
    too_large = bytearray(png(black, row_filter=0))
    too_large[16:24] = struct.pack(">II", 60_000, 60_000)
    others = {"filter": png(black, row_filter=4), "size": bytes(too_large), "nothing": b"", "GIF": b"GIF89a"}
    for mode in ("RGB", "1", "LA", "I;16"):
        Image.new(mode, (5, 4)).save(stream := io.BytesIO(), format="PNG")
        others[mode] = stream.getvalue()
    assert not [name for name, content in others.items() if decode(content) is not None]


@pytest.mark.parametrize("has_isal", [True, False])
def test_every_cut_and_every_flipped_byte_is_noticed(has_isal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_isal:
        monkeypatch.setitem(sys.modules, "isal", None)
    mask = np.zeros((60, 90), dtype=np.uint8)
    mask[10:40, 20:50] = 2
    content = encode_png(mask)
    for end in range(33, len(content)):
        with pytest.raises(ValueError, match="cut off"):
            decode(content[:end])
    for place in range(33, len(content)):
        broken = bytearray(content)
        broken[place] ^= 0x55
        with pytest.raises(ValueError, match="it"):
            decode(bytes(broken))


@pytest.mark.parametrize("rows", [3, 5])
def test_pixels_that_are_fewer_or_more_than_the_header_says_are_noticed(rows: int) -> None:
    content = bytearray(png(np.zeros((5, 4), dtype=np.uint8), row_filter=0, rows=rows))
    header = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    content[8:33] = chunk(b"IHDR", header)
    with pytest.raises(ValueError, match="another number of pixels"):
        decode(bytes(content))


@pytest.fixture
def photo() -> np.ndarray:
    """(61, 93, 3) uint8 RGB, odd sides, a gradient each way and noise: every block of 8 x 8 is another."""
    y, x = np.mgrid[:61, :93]
    gradients = np.dstack((x * 2, y * 4, 255 - x))
    return (gradients + np.random.default_rng(0).integers(-20, 20, gradients.shape)).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=90, **options)
    return stream.getvalue()


def by_pillow(content: bytes) -> np.ndarray:
    return np.array(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))


def test_the_pixels_are_those_of_pillow(photo: np.ndarray) -> None:
    for mode, subsampling, is_progressive in product(("RGB", "L"), ("4:4:4", "4:2:2", "4:2:0"), (False, True)):
        image = Image.fromarray(photo).convert(mode)
        content = encoded(image, progressive=is_progressive, subsampling=subsampling)
        decoded = decode_jpeg(content)
        assert decoded is not None
        assert np.array_equal(decoded, by_pillow(content)), (mode, subsampling, is_progressive)


def test_a_photo_is_rotated_as_pillow_rotates_it(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    with_orientation = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        with_orientation.append(encoded(Image.fromarray(photo), exif=exif))
    for decoder in (encoding.simplejpeg, None):
        monkeypatch.setattr(encoding, "simplejpeg", decoder)
        for content in with_orientation:
            assert (decode_jpeg(content) is None) == (decoder is None)
            assert np.array_equal(read_picture(content).pixels, by_pillow(content))


def test_an_unknown_orientation_rotates_nothing(photo: np.ndarray) -> None:
    for orientation in (0, 9, "6", b"6", (6,), None):
        assert orient(photo, orientation) is photo  # type: ignore[arg-type]


def test_a_photo_rotated_by_xmp_is_orient(photo: np.ndarray) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    content = encoded(Image.fromarray(photo), xmp=xmp)
    assert read_picture(content).pixels.shape == (93, 61, 3)
    assert np.array_equal(read_picture(content).pixels, by_pillow(content))


# Pillow warns before `read_picture` notes it.
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_broken_exif_block_costs_no_photo(photo: np.ndarray) -> None:
    content = encode_jpeg(photo)
    block = b"Exif\0\0II*\0\xff\xff\xff\x7f broken"
    broken = content[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + content[2:]
    assert np.array_equal(read_picture(broken).pixels, by_pillow(content))


def test_what_is_not_plain_is_left_to_pillow(photo: np.ndarray) -> None:
    for_print = encoded(Image.fromarray(photo).convert("CMYK"))
    assert decode_jpeg(for_print) is None
    assert np.array_equal(read_picture(for_print).pixels, by_pillow(for_print))
    assert decode_jpeg(b"\xff\xd8 no photo") is None
    assert decode_jpeg(b"") is None


def test_a_photo_cut_off_is_an_error_and_not_half_grey(photo: np.ndarray) -> None:
    content = encoded(Image.fromarray(photo))
    for length in (len(content) // 3, len(content) // 2, len(content) - 40):
        assert decode_jpeg(content[:length]) is None
        with pytest.raises(PictureError, match="broken or cut off"):
            read_picture(content[:length])


def test_bytes_behind_the_end_do_no_harm(photo: np.ndarray) -> None:
    content = encoded(Image.fromarray(photo))
    assert np.array_equal(read_picture(content + bytes(1000)).pixels, by_pillow(content))


def test_the_files_of_a_phone_with_two_views(photo: np.ndarray, tmp_path: Path) -> None:
    first, second = Image.fromarray(photo), Image.fromarray(photo[::-1])
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second], quality=90)
    picture = read_picture(tmp_path / "a.jpg")
    assert np.array_equal(picture.pixels, by_pillow((tmp_path / "a.jpg").read_bytes()))
    assert picture.notes == ()
