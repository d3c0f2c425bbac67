import doctest
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as pycocotools_mask

from clothseg.prediction import polygons
from clothseg.prediction.polygons import outline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

masks = arrays(np.bool_, st.tuples(st.integers(1, 14), st.integers(1, 14)))


def painted(found, shape):
    """How often pycocotools paints each pixel."""
    times = np.zeros(shape, int)
    for polygon in found:
        times += pycocotools_mask.decode(pycocotools_mask.frPyObjects([polygon.ravel().tolist()], *shape))[..., 0]
    return times


def area(polygon):
    x, y = polygon[:, 0].astype(float), polygon[:, 1].astype(float)
    return abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def test_examples_in_docstrings():
    assert doctest.testmod(polygons).failed == 0


@settings(max_examples=120)
@given(masks)
def test_exact_outlines_are_the_mask_as_pycocotools_paints_it(mask):
    np.testing.assert_array_equal(painted(outline(mask, tolerance=0), mask.shape), mask)


@settings(max_examples=50)
@given(masks)
def test_a_polygons_area_is_its_pieces(mask):
    count, _, figures, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    found = outline(mask, tolerance=0)
    assert len(found) == count - 1
    assert [area(polygon) for polygon in found] == figures[1:, cv2.CC_STAT_AREA].tolist()


def test_holes_and_islands_in_them():
    mask = np.zeros((40, 40), bool)
    mask[2:38, 2:38] = True
    mask[5:20, 5:35] = False
    mask[8:15, 10:30] = True
    mask[10, 12:20] = False
    mask[25:30, 5:9] = False
    found = outline(mask, tolerance=0)
    assert len(found) == 2
    np.testing.assert_array_equal(painted(found, mask.shape), mask)


def test_fewer_corners_stray_less_than_the_tolerance():
    y, x = np.mgrid[:200, :300]
    disc = np.hypot(x - 150, y - 100) < 80
    exact, rough = outline(disc, tolerance=0)[0], outline(disc)[0]
    assert len(rough) < len(exact) / 5
    wrong = painted([rough], disc.shape) != disc
    assert wrong.sum() < 2 * math.pi * 80, "less than a pixel along the edge"
    edge = cv2.distanceTransform(disc.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert edge[wrong & disc].max() < 2.1


def test_single_pixels_are_polygons_at_any_tolerance():
    mask = np.eye(5, dtype=bool)
    found = outline(mask, tolerance=3)
    assert all(len(polygon) >= 4 for polygon in found)
    np.testing.assert_array_equal(painted(found, mask.shape), mask)


def test_empty_and_full_masks():
    assert outline(np.zeros((5, 6), bool)) == []
    (frame,) = outline(np.ones((5, 6), np.uint8))
    assert sorted(frame.tolist()) == [[0, 0], [0, 5], [6, 0], [6, 5]]
