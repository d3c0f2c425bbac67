"""Photos of iPhones; the two files were drawn and encoded once, since the decoder that clothseg takes has no encoder.

Both show four colours, 48 pixels high and 32 wide: red, green, blue, white. In `turned.heic` the pixels lie on their
side and the file says to turn them, as a phone held upright writes it (`irot`, made with orientation 6 by pillow-heif).
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from clothseg.errors import PictureError
from clothseg.pictures import read_picture

FOLDER = Path(__file__).parent / "heic"
COLORS = [(220, 40, 40), (40, 200, 60), (50, 60, 210), (240, 240, 240)]


def needs_decoder():
    pytest.importorskip("pi_heif", reason="no HEIC decoder; it comes with: uv sync --extra heic")


def test_a_heic_photo_is_read_upright():
    needs_decoder()
    for path in (FOLDER / "upright.heic", FOLDER / "turned.heic"):
        for source in (path, path.read_bytes()):
            picture = read_picture(source)
            assert picture.pixels.shape == (48, 32, 3)
            assert picture.notes == ()
            corners = [picture.pixels[row, column] for row in (5, -5) for column in (5, -5)]
            np.testing.assert_allclose(corners, COLORS, atol=3)


def test_a_heic_photo_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch):
    needs_decoder()
    import pi_heif

    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(pi_heif.HeifFile, "data", property(decode))
    with pytest.raises(PictureError, match=r"too large: .*turned\.heic has 32 x 48 pixels, at most 1,000 are read"):
        read_picture(FOLDER / "turned.heic", max_pixels=1000)


def test_a_heic_photo_that_is_cut_off_is_named(tmp_path):
    needs_decoder()
    for length in (40, 200, 400, 600, 700):
        (tmp_path / "half.heic").write_bytes((FOLDER / "turned.heic").read_bytes()[:length])
        with pytest.raises(PictureError, match=r"broken or cut off: .*half\.heic"):
            read_picture(tmp_path / "half.heic")


def test_without_the_decoder_the_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PictureError, match=r"turned\.heic\. Install its decoder: uv sync --extra heic"):
        read_picture(FOLDER / "turned.heic")
