import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clothseg.errors import SettingError
from clothseg.labels import GROUPS
from clothseg.prediction.postprocess import drop_specks, feather, fill_holes, grow, keep, merge, shrink
from clothseg.prediction.segmentation import Segmentation

UPPERBODY, LOWERBODY, BELT = GROUPS.id_of("upperbody"), GROUPS.id_of("lowerbody"), GROUPS.id_of("waist")
masks = arrays(
    np.uint8,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, UPPERBODY, UPPERBODY, UPPERBODY, LOWERBODY]),
)
radii = st.floats(0, 5)


def segmentation_of(mask):
    mask = np.asarray(mask, dtype=np.uint8)
    return Segmentation(mask, np.zeros((*mask.shape, 3), np.uint8), GROUPS, np.zeros((13, 1, 1), np.float32))


def distances(mask, class_id):
    """Distance of each pixel to the nearest of a class, the long way."""
    rows, columns = np.nonzero(mask == class_id)
    here = np.indices(mask.shape)
    if not len(rows):
        return np.full(mask.shape, np.inf)
    return np.sqrt(np.min((here[0][..., None] - rows) ** 2 + (here[1][..., None] - columns) ** 2, axis=-1))


def pieces(inside, diagonal):
    """Connected pieces, the long way: a list of sets of (row, column)."""
    left = set(zip(*map(list, np.nonzero(inside)), strict=True))
    steps = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a or b) and (diagonal or not (a and b))]
    found = []
    while left:
        piece, edge = set(), [left.pop()]
        while edge:
            row, column = edge.pop()
            piece.add((row, column))
            for step in steps:
                neighbor = (row + step[0], column + step[1])
                if neighbor in left:
                    left.remove(neighbor)
                    edge.append(neighbor)
        found.append(piece)
    return found


def test_keep_and_merge():
    start = segmentation_of([[0, UPPERBODY, LOWERBODY, BELT]])
    assert keep(start, "upperbody", "waist").mask.tolist() == [[0, UPPERBODY, 0, BELT]]
    assert merge(start, ["waist", "upperbody"], into="lowerbody").mask.tolist() == [[0] + 3 * [LOWERBODY]]
    assert start.mask.tolist() == [[0, UPPERBODY, LOWERBODY, BELT]], "the first stays as it was"
    assert [label.name for label in keep(start, "waist").labels] == ["waist"], "what is worked out fits the new mask"


@settings(max_examples=70)
@given(masks, radii)
def test_growing_reaches_as_far_as_said(mask, radius):
    near = distances(mask, UPPERBODY)
    if np.any(np.abs(near - radius) < 1e-3):  # float32 may fall on either side
        return
    expected = np.where((near <= radius) & (mask == 0), UPPERBODY, mask)
    np.testing.assert_array_equal(grow(segmentation_of(mask), "upperbody", radius).mask, expected)
    over_all = grow(segmentation_of(mask), "upperbody", radius, over=["background", "lowerbody"]).mask
    np.testing.assert_array_equal(over_all == UPPERBODY, near <= radius)


def test_growing_and_shrinking_include_the_exact_distance():
    mask = np.zeros((7, 9), np.uint8)
    mask[3, 4] = UPPERBODY
    grown = grow(segmentation_of(mask), "upperbody", 3)
    np.testing.assert_array_equal(grown.mask == UPPERBODY, distances(mask, UPPERBODY) <= 3)
    np.testing.assert_array_equal(shrink(grown, "upperbody", 1).mask == UPPERBODY, distances(grown.mask, 0) > 1)


@settings(max_examples=70)
@given(masks, radii)
def test_shrinking_takes_off_as_much_as_said(mask, radius):
    inside = (mask == UPPERBODY).astype(np.uint8)
    near = distances(inside, 0)
    if np.any(np.abs(near - radius) < 1e-3):
        return
    expected = np.where((near <= radius) & (mask == UPPERBODY), 0, mask)
    np.testing.assert_array_equal(shrink(segmentation_of(mask), "upperbody", radius).mask, expected)


@settings(max_examples=70)
@given(masks)
def test_holes_are_filled_with_what_surrounds_them(mask):
    expected = mask.copy()
    for piece in pieces(mask != UPPERBODY, diagonal=False):
        touches_edge = any(row in (0, mask.shape[0] - 1) or column in (0, mask.shape[1] - 1) for row, column in piece)
        for place in piece:
            if not touches_edge and mask[place] == 0:
                expected[place] = UPPERBODY
    np.testing.assert_array_equal(fill_holes(segmentation_of(mask), "upperbody").mask, expected)


@settings(max_examples=70)
@given(masks, st.integers(0, 12))
def test_specks_are_dropped(mask, min_area):
    expected = mask.copy()
    for class_id in (UPPERBODY, LOWERBODY):
        for piece in pieces(mask == class_id, diagonal=True):
            if len(piece) < min_area:
                for place in piece:
                    expected[place] = 0
    np.testing.assert_array_equal(drop_specks(segmentation_of(mask), min_area).mask, expected)
    only = drop_specks(segmentation_of(mask), min_area, names=["lowerbody"]).mask
    np.testing.assert_array_equal(only, np.where(mask == LOWERBODY, expected, mask))


def test_feathering_falls_in_a_straight_line_over_the_edge():
    mask = np.zeros((3, 12), np.uint8)
    mask[:, :6] = UPPERBODY
    alpha = feather(segmentation_of(mask), "upperbody", 2)
    expected = [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0, 0, 0]
    np.testing.assert_allclose(alpha, [expected] * 3, atol=1e-6)
    assert alpha.dtype == np.float32


@settings(max_examples=50)
@given(masks, radii)
def test_feathering_keeps_the_edge_at_a_half(mask, radius):
    alpha = feather(segmentation_of(mask), "upperbody", radius)
    assert alpha.shape == mask.shape
    np.testing.assert_array_equal(alpha > 0.5, mask == UPPERBODY)
    if radius == 0:
        np.testing.assert_array_equal(alpha, mask == UPPERBODY)


@pytest.mark.parametrize(
    "shape", [lambda one: grow(one, "upperbody", -1), lambda one: shrink(one, "upperbody", float("nan"))]
)
def test_distances_below_zero_are_refused(shape):
    with pytest.raises(SettingError, match="Allowed: a number from 0 up"):
        shape(segmentation_of([[0]]))


def test_unknown_classes_are_refused():
    with pytest.raises(SettingError, match="upperbody"):
        keep(segmentation_of([[0]]), "uperbody")
