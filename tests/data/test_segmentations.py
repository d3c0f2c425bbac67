"""Outlines as raw JSON become edges: equal to pycocotools where right, skipped with reason where not."""

import json

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from clothseg.data.painting import paint
from clothseg.data.report import RecordError
from clothseg.data.segmentations import read_outlines
from tests.data.reference_masks import annotation_to_mask, paint_reference
from tests.data.small_mirror import random_segmentation

HEIGHT, WIDTH = 30, 40
GOOD = [[5, 5, 20.5, 5, 20.5, 18.25, 5, 18]]

coordinates = st.floats(-10, 60, allow_nan=False).map(lambda value: round(value, 2))
polygons = st.lists(st.tuples(coordinates, coordinates), min_size=3, max_size=12).map(
    lambda points: [value for point in points for value in point]
)


def outline(segmentation, height=HEIGHT, width=WIDTH):
    return read_outlines([([json.dumps(segmentation).encode()], height, width)])[0][0]


def painted(regions, height=HEIGHT, width=WIDTH):
    return cv2.imdecode(np.frombuffer(paint(regions, height, width).to_png(), np.uint8), cv2.IMREAD_UNCHANGED)


@given(st.lists(polygons, min_size=1, max_size=3))
def test_any_polygons_equal_pycocotools(segmentation):
    found = outline(segmentation)

    mask = painted([(1, edges) for edges in found])

    assert (mask == annotation_to_mask(segmentation, HEIGHT, WIDTH)).all()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 50), st.integers(1, 6))
def test_any_mixture_of_outlines_equals_the_reference(seed, height, width, count):
    rng = np.random.default_rng(seed)
    annotations = [
        ({"segmentation": random_segmentation(rng, height, width), "area": float(rng.integers(1, 5))}, number + 1)
        for number in range(count)
    ]
    order = sorted(range(count), key=lambda number: -annotations[number][0]["area"])
    (found,) = read_outlines([([json.dumps(one["segmentation"]).encode() for one, _ in annotations], height, width)])

    mask = painted([(annotations[number][1], edges) for number in order for edges in found[number]], height, width)

    assert (mask == paint_reference(annotations, height, width)).all()


WRONG = {
    "segmentation missing": [
        b"",
        b"null",
        b"[]",
    ],
    "polygon": [
        b"5",
        b'"text"',
        b"true",
        b"[[]]",
        b"[[1, 2, 3, 4]]",
        b"[[1, 2, 3, 4, 5, 6, 7]]",
        b"[[1, 2, 3, 4, 5, 6], [1, 2, 3]]",
        b"[1, 2, 3, 4, 5, 6]",
    ],
    "coordinate": [
        b"[[1, 2, 3, 4, 5, null]]",
        b'[[1, 2, 3, 4, 5, "6"]]',
        b"[[1, 2, 3, 4, 5, 1e999]]",
        b"[[1, 2, 3, 4, 5, true]]",
        b"[[1, 2, 3, 4, 5, 1e30]]",
        b"[[1, 2, 3, 4, 5, -1e300]]",
        json.dumps([[0, 0, 600, 600] * 20_000]).encode(),
    ],
    "run lengths": [
        b"{}",
        b'{"counts": [1200]}',
        b'{"size": [30, 40]}',
        b'{"counts": [1200], "size": [40, 30]}',
        b'{"counts": [1200], "size": [200000, 200000]}',
        b'{"counts": [1200], "size": [30, 40, 1]}',
        b'{"counts": [1200], "size": null}',
        b'{"counts": null, "size": [30, 40]}',
        b'{"counts": [600, 599], "size": [30, 40]}',
        b'{"counts": [600, 601], "size": [30, 40]}',
        b'{"counts": [601, -1, 600], "size": [30, 40]}',
        b'{"counts": [1.5, 1198.5], "size": [30, 40]}',
        b'{"counts": "1", "size": [30, 40]}',
        b'{"counts": "", "size": [30, 40]}',
        b'{"counts": "\\u0000\\u0001", "size": [30, 40]}',
        b'{"counts": "ooooo", "size": [30, 40]}',
    ],
}


def test_a_wrong_outline_is_named_and_costs_no_other():
    good = json.dumps(GOOD).encode()
    cases = [(reason, raw) for reason, raws in WRONG.items() for raw in raws]
    expected = annotation_to_mask(GOOD, HEIGHT, WIDTH)
    kept = []
    unnamed = []

    found = read_outlines([([good, raw, good], HEIGHT, WIDTH) for _, raw in cases])

    for (reason, raw), (before, wrong, after) in zip(cases, found, strict=True):
        kept += [before, after]
        if not isinstance(wrong, RecordError) or wrong.reason != reason:
            unnamed.append((reason, raw[:60], wrong))
    assert not unnamed, unnamed
    for edges in kept:
        assert [one.tolist() for one in edges] == [one.tolist() for one in kept[0]]
    assert (painted([(1, kept[0][0])]) == expected).all()


def test_a_polygon_of_two_points_beside_a_proper_one_encloses_nothing():
    found = outline([[1, 1, 9, 9], *GOOD])

    assert (painted([(1, edges) for edges in found]) == annotation_to_mask(GOOD, HEIGHT, WIDTH)).all()


def test_run_lengths_written_as_whole_valued_floats_are_those_numbers():
    """Programs that know one kind of number only write 64.0; the count of all pixels is checked as for whole ones."""
    plain = outline({"counts": [300, 64, 836], "size": [HEIGHT, WIDTH]})
    floats = outline({"counts": [300.0, 64.0, 836.0], "size": [30.0, 40.0]})
    mixed = outline({"counts": [3e2, 64, 8.36e2], "size": [30, 40.0]})

    assert [one.tolist() for one in plain] == [[300, 364]]
    assert [one.tolist() for one in floats] == [one.tolist() for one in mixed] == [[300, 364]]
    for counts, reason in (
        ([300.0, 64.5, 835.5], "whole number"),
        ([300.0, 64.0, 835.0], "too short"),
        ([300.0, 1e300, 0.0], "longer than the photo"),
    ):
        wrong = outline({"counts": counts, "size": [HEIGHT, WIDTH]})
        assert isinstance(wrong, RecordError)
        assert reason in wrong.detail


def test_points_somewhat_outside_the_photo_are_painted_as_pycocotools_does():
    segmentation = [[-50, -60, 200, 10, 90.5, 300, -20, 100]]
    found = outline(segmentation)

    assert (painted([(1, found[0])]) == annotation_to_mask(segmentation, HEIGHT, WIDTH)).all()


def test_only_wrong_outlines_give_only_reasons():
    assert all(isinstance(one, RecordError) for one in read_outlines([([b"null", b"[]"], HEIGHT, WIDTH)])[0])
    assert read_outlines([([], HEIGHT, WIDTH)]) == [[]]
    assert read_outlines([]) == []
