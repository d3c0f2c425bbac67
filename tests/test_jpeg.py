"""JPEG straight to RGB: the pixels that Pillow gives, whichever way they lie, and nothing of what is not plain."""

import io
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clothseg import encoding
from clothseg.encoding import decode_jpeg, encode_jpeg, orient
from clothseg.errors import PictureError
from clothseg.pictures import read_picture


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


def test_a_photo_is_turned_as_pillow_turns_it(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_no_number_of_exif_turns_nothing(photo: np.ndarray) -> None:
    for orientation in (0, 9, "6", b"6", (6,), None):
        assert orient(photo, orientation) is photo  # type: ignore[arg-type]


def test_a_photo_turned_by_xmp_is_orient(photo: np.ndarray) -> None:
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
