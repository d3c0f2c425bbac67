"""Pixels as the content of a picture file, read back with Pillow."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from clothseg.encoding import encode_png
from clothseg.labels import GROUPS


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
