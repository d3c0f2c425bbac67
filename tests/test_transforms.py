import doctest

import cv2
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from torch.nn import functional as F

import clothseg.transforms
from clothseg.labels import IGNORED_ID
from clothseg.transforms import IMAGENET, Letterbox, logits_to_mask, resize_mask

SIDES = st.integers(1, 300)


def test_examples_in_docstrings():
    assert doctest.testmod(clothseg.transforms).failed == 0


@given(SIDES, SIDES, st.sampled_from([32, 64, 96]), st.booleans())
def test_a_photo_of_any_size_fits_and_keeps_its_shape(height, width, size, square):
    box = Letterbox.fit(height, width, size, square=square)
    assert max(box.scaled_size) == size
    assert all(side % 32 == 0 for side in box.input_size)
    assert box.input_size == (size, size) or not square
    scale = size / max(height, width)
    assert abs(box.scaled_size[0] - max(1, height * scale)) <= 0.5
    assert abs(box.scaled_size[1] - max(1, width * scale)) <= 0.5
    assert box.input_size[0] >= box.scaled_size[0]
    assert box.input_size[1] >= box.scaled_size[1]


@settings(max_examples=30)
@given(SIDES, SIDES)
def test_image_and_mask_cover_the_same_pixels_and_only_padding_is_ignored(height, width):
    box = Letterbox.fit(height, width, 64, square=True)
    image = box.image(np.zeros((height, width, 3), np.uint8))
    mask = box.mask(np.zeros((height, width), np.uint8))
    assert image.shape == (64, 64, 3)
    assert mask.shape == (64, 64)
    np.testing.assert_array_equal(mask == IGNORED_ID, image[..., 0] == IMAGENET.fill[0])
    assert not box.crop(mask).any()


def test_the_padding_normalises_to_nearly_zero():
    padding = np.full((4, 4, 3), IMAGENET.fill, np.uint8)
    assert np.abs(IMAGENET.apply(padding)).max() < 0.01


def test_normalising_equals_the_formula_of_torchvision():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    expected = (image / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    np.testing.assert_allclose(IMAGENET.apply(image), expected, atol=1e-5)


def test_a_mask_resizes_to_the_nearest_centre():
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    torch_way = F.interpolate(torch.from_numpy(mask)[None, None].float(), (6, 9), mode="nearest-exact")[0, 0]
    np.testing.assert_array_equal(resize_mask(mask, (6, 9)), torch_way.numpy().astype(np.uint8))


def test_logits_to_mask_equals_resizing_everything_and_argmax():
    logits = np.random.default_rng(1).normal(size=(5, 16, 16)).astype(np.float32)
    for size in ((20, 30), (53, 41), (7, 90), (16, 16)):
        planes = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in logits])
        np.testing.assert_array_equal(logits_to_mask(logits, size), planes.argmax(0))


@settings(max_examples=60)
@given(
    arrays_of.arrays(
        np.float32, st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(-3, 3)
    ),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_resizing_only_the_borders_gives_the_highest_class_everywhere(logits, size):
    planes = np.stack([cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR) for plane in logits])
    chosen = np.take_along_axis(planes, logits_to_mask(logits, size)[None].astype(int), axis=0)[0]
    # Whole numbers tie often, and OpenCV rounds each plane by itself: of equal classes either may be a bit higher.
    np.testing.assert_allclose(chosen, planes.max(axis=0), atol=1e-5, rtol=0)


def test_a_class_that_wins_only_between_two_pixels_is_found():
    logits = np.array([[[10, 0]], [[0, 10]], [[6, 6]], [[4, 4]]], np.float32)
    assert set(np.unique(logits_to_mask(logits, (1, 16)))) == {0, 1, 2}


def test_logits_to_mask_agrees_with_torch():
    logits = np.random.default_rng(2).normal(size=(5, 16, 16)).astype(np.float32)
    theirs = F.interpolate(torch.from_numpy(logits)[None], (53, 41), mode="bilinear", align_corners=False)[0].argmax(0)
    assert (logits_to_mask(logits, (53, 41)) == theirs.numpy()).mean() > 0.999


def test_of_equal_logits_the_lowest_class_wins():
    assert not logits_to_mask(np.zeros((3, 8, 8), np.float32), (20, 20)).any()
