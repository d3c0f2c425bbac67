import doctest

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as pycocotools_mask

import clothseg.rle
from clothseg.rle import RunLengthError, edges_from_counts, edges_from_text, edges_from_trusted, encode_regions

# pycocotools 2.0.11 warns with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

masks = arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 0, 0, 1, 2, 12, 200, 255])
)


def assert_equals_pycocotools(mask):
    regions = {region.class_id: region for region in encode_regions(mask)}
    assert set(regions) == set(np.unique(mask).tolist()) - {0, 255}
    rebuilt = np.zeros_like(mask)
    for class_id, region in regions.items():
        plain = np.asfortranarray(mask == class_id, dtype=np.uint8)
        code = pycocotools_mask.encode(plain)
        assert region.counts == code["counts"].decode()
        assert region.rle["size"] == code["size"]
        assert region.area == pycocotools_mask.area(code)
        assert list(region.bbox) == pycocotools_mask.toBbox(code).tolist()
        decoded = pycocotools_mask.decode(region.rle)
        np.testing.assert_array_equal(decoded, plain)
        rebuilt[decoded == 1] = class_id
    np.testing.assert_array_equal(rebuilt, np.where(mask == 255, 0, mask), "the regions describe the whole mask")


def test_examples_in_docstrings():
    assert doctest.testmod(clothseg.rle).failed == 0


@settings(max_examples=120)
@given(masks)
def test_every_class_equals_pycocotools(mask):
    assert_equals_pycocotools(mask)


def test_masks_of_one_class():
    for shape in ((1, 1), (1, 300), (300, 1), (4000, 3), (3, 4000)):
        for value in (0, 7):
            assert_equals_pycocotools(np.full(shape, value, np.uint8))


def test_a_checkerboard_of_all_classes():
    assert_equals_pycocotools((np.arange(97 * 101) % 13).astype(np.uint8).reshape(97, 101))


def test_runs_of_millions_of_pixels():
    mask = np.zeros((3000, 3000), np.uint8)
    mask[:, 1000:] = 2
    mask[5, 2500] = 3
    assert_equals_pycocotools(mask)


def test_a_mask_of_smooth_regions():
    rng = np.random.default_rng(0)
    blobs = cv2.resize(rng.integers(0, 13, (20, 14), np.uint8), (550, 830), interpolation=cv2.INTER_NEAREST)
    assert_equals_pycocotools(cv2.medianBlur(blobs, 31))


def test_views_and_read_only_masks():
    mask = np.tile(np.array([[0, 1], [2, 2]], np.uint8), (20, 20))[::-1, ::2]
    mask.flags.writeable = False
    assert_equals_pycocotools(mask)


def test_empty_masks_have_no_regions():
    for shape in ((0, 0), (0, 5), (5, 0)):
        assert encode_regions(np.zeros(shape, np.uint8)) == ()


@given(arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_strings_decode_as_pycocotools_meant_them(region):
    code = pycocotools_mask.encode(np.asfortranarray(region, dtype=np.uint8))["counts"]
    runs = np.flatnonzero(np.diff(region.ravel("F").astype(int), prepend=0, append=0))

    assert edges_from_text(code.decode(), region.size).tolist() == runs.tolist()
    assert [edges.tolist() for edges in edges_from_trusted([code, code])] == [runs.tolist()] * 2


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
