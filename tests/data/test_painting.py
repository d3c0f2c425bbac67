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


def painted_group(folder, regions, *, height=4, width=6, num_skipped=0):
    """Paint one photo, look.2.jpg, from (class id, stated area, polygons) and return the counts."""
    (folder / "look.2.jpg").write_bytes(encode_jpeg(np.zeros((height, width, 3), np.uint8)))
    instances = tuple(
        Instance(number, class_id, area, msgspec.Raw(json.dumps(polygons).encode()))
        for number, (class_id, area, polygons) in enumerate(regions)
    )
    task = PhotoTask(1, "look.2.jpg", height, width, instances, num_skipped)
    return paint_group(folder, folder, 13, [task])


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def test_a_mask_has_its_photos_name_and_equal_areas_in_the_order_of_the_file(tmp_path):
    painted_group(tmp_path, [(9, 8, [box(0, 0, 4, 2)]), (3, 8, [box(2, 0, 6, 2)]), (5, 24, [box(0, 0, 6, 4)])])
    upper, lower = [9, 9, 3, 3, 3, 3], [5] * 6
    assert read_png((tmp_path / "look.2.png").read_bytes()).tolist() == [upper, upper, lower, lower]


def test_where_no_area_is_stated_parts_that_overlap_count_once(tmp_path):
    twice = [box(0, 0, 4, 4), box(0, 0, 4, 4)]  # 16 pixels, not 32
    painted_group(tmp_path, [(9, 20, [box(0, 0, 5, 4)]), (3, None, twice)])
    assert read_png((tmp_path / "look.2.png").read_bytes()).tolist() == [[3, 3, 3, 3, 9, 0]] * 4


def test_a_stated_area_is_wrong_only_if_it_is_off_by_100_pixels_and_ten_times(tmp_path):
    for area, covered, is_wrong in ((1, 100, False), (800, 400, False), (39, 400, True), (4001, 400, True)):
        counts = painted_group(tmp_path, [(9, area, [box(0, 0, covered // 10, 10)])], height=10, width=40)
        assert ("area" in [one.reason for one in counts.problems]) == is_wrong, (area, covered)


def test_a_photo_whose_annotations_are_all_skipped_gets_no_mask(tmp_path):
    assert painted_group(tmp_path, [], num_skipped=1).problems[0].reason == "no annotation left"
    assert not list(tmp_path.glob("*.png"))
    assert painted_group(tmp_path, []).num_masks == 1, "a photo without annotations shows no clothes"
