"""Runs become masks: equal to pycocotools on any outline, and the PNG holds exactly the class ids."""

import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from PIL import Image
from pycocotools import mask as coco_mask

from clothseg.data.painting import paint
from clothseg.rle import RunLengthError, edges_from_counts, edges_from_text, edges_from_trusted

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

    assert (mask.to_array() == expected).all()
    assert (read_png(mask.to_png()) == expected).all()
    assert mask.pixels_per_class(47).tolist() == np.bincount(expected.ravel(), minlength=47).tolist()


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(1, 7))
def test_uncompressed_runs_of_any_length_zero_included(counts, height):
    width = -(-sum(counts) // height) or 1
    counts = [*counts, height * width - sum(counts)]
    values = np.repeat(np.arange(len(counts)) % 2, counts).reshape(width, height).T

    mask = paint([(1, edges_from_counts(counts, height * width))], height, width)

    assert (mask.to_array() == values).all()


@given(hypothesis_numpy.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_strings_decode_as_pycocotools_meant_them(region):
    code = coco_mask.encode(np.asfortranarray(region, dtype=np.uint8))["counts"]
    runs = np.flatnonzero(np.diff(region.ravel("F").astype(int), prepend=0, append=0))

    assert edges_from_text(code.decode(), region.size).tolist() == runs.tolist()
    assert [edges.tolist() for edges in edges_from_trusted([code, code])] == [runs.tolist()] * 2


def test_runs_of_thousands_of_pixels():
    region = np.zeros((3000, 2000), dtype=np.uint8, order="F")
    region[:, 700:1300] = 1
    region[17, 3] = 1
    code = coco_mask.encode(region)["counts"].decode()

    mask = paint([(3, edges_from_text(code, region.size))], *region.shape)

    assert (mask.to_array() == region * 3).all()
    assert (read_png(mask.to_png()) == region * 3).all()


def test_wrong_strings_and_lists_are_refused():
    strings = ["", "\x00", "é", "5", "oooooooo0", "04L", "0" * 7, "PPPPPPPPPPP0", "a", "1 2", "\ud800"]
    lists = [[], [5], [7], [3, -1, 4], [-6], [2**62, 2**62], [2**70], [6, 2**63 - 1]]
    for decode, wrong in ((edges_from_text, strings), (edges_from_counts, lists)):
        for counts in wrong:
            with pytest.raises(RunLengthError, match="run"):
                decode(counts, 6)


@given(st.text(alphabet=[chr(code) for code in range(48, 112)], max_size=60), st.integers(0, 2000))
def test_no_string_gets_past_the_check_with_edges_outside_the_photo(counts, num_pixels):
    try:
        edges = edges_from_text(counts, num_pixels)
    except RunLengthError:
        return
    assert len(edges) % 2 == 0
    assert (np.diff(edges, prepend=0, append=num_pixels) >= 0).all()


def test_without_isal_the_png_decodes_to_the_same(monkeypatch):
    edges = edges_from_counts([5, 20, 100, 30, 45], 200)
    fast = paint([(9, edges)], 10, 20)
    with_isal = fast.to_png()
    monkeypatch.setitem(sys.modules, "isal", None)

    without_isal = fast.to_png()

    assert with_isal != without_isal, "isal did not compress the first"
    assert (read_png(with_isal) == read_png(without_isal)).all()
