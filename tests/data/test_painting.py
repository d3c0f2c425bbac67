"""Regions become a mask of exactly the class ids."""

import io
import json
import sys

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy
from PIL import Image
from pycocotools import mask as coco_mask

from clothseg.data.painting import paint, paint_group
from clothseg.data.records import Instance, PhotoTask
from clothseg.encoding import encode_jpeg
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


def test_a_mask_has_its_photos_name_and_equal_areas_in_the_order_of_the_file(tmp_path):
    (tmp_path / "look.2.jpg").write_bytes(encode_jpeg(np.zeros((4, 6, 3), np.uint8)))
    regions = (9, 8, [0, 0, 4, 0, 4, 2, 0, 2]), (3, 8, [2, 0, 6, 0, 6, 2, 2, 2]), (5, 24, [0, 0, 6, 0, 6, 4, 0, 4])
    instances = tuple(
        Instance(number, class_id, area, msgspec.Raw(json.dumps([polygon]).encode()))
        for number, (class_id, area, polygon) in enumerate(regions)
    )

    paint_group(tmp_path, tmp_path, 13, [PhotoTask(1, "look.2.jpg", 4, 6, instances, num_skipped=0)])

    upper, lower = [9, 9, 3, 3, 3, 3], [5] * 6
    assert read_png((tmp_path / "look.2.png").read_bytes()).tolist() == [upper, upper, lower, lower]
