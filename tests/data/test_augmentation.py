import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clothseg.data.augmentation import LUMA, Strength, augment, draw_augmentation
from clothseg.labels import GROUPS, IGNORED_ID
from clothseg.settings import CropSize
from clothseg.transforms import IMAGENET

PLACE_ONLY = Strength(brightness=0, contrast=0, saturation=0, hue=0, gray=0)
COLOR_ONLY = Strength(zoom=(1, 1), aspect=0, flip=0, rotation=0, shift=0, shear=0)
SIDES = st.integers(40, 400)


def blobs(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Return a mask, (H, W) uint8, whose classes lie in large smooth blobs."""
    noise = np.random.default_rng(seed).random((3, 3)).astype(np.float32)
    smooth = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.array([2, 10, 0, 12], dtype=np.uint8)[np.clip(smooth * 4, 0, 3).astype(int)]


@settings(max_examples=60, deadline=None)
@given(height=SIDES, width=SIDES, seed=st.integers(0, 10_000))
def test_photo_and_mask_move_together(height: int, width: int, seed: int) -> None:
    mask = blobs((height, width), seed)
    image = GROUPS.palette[mask]
    augmentation = draw_augmentation(np.random.default_rng(seed), mask.shape, 128, PLACE_ONLY)
    warped, target = augment(image, mask, augmentation)
    assert warped.shape == (128, 128, 3)
    assert target.shape == (128, 128)
    assert warped.dtype == target.dtype == np.uint8

    palette = np.full((256, 3), IMAGENET.fill, dtype=np.uint8)
    palette[: len(GROUPS)] = GROUPS.palette
    differs = np.abs(palette[target].astype(int) - warped).max(axis=2) > 2
    # Linear and nearest interpolation differ where two classes, or photo and padding, meet, or would meet outside.
    reach = math.ceil(max(1, *np.abs(augmentation.matrix[:, :2]).sum(axis=1))) + 1
    framed = np.pad(target, reach, constant_values=254)
    borders = cv2.morphologyEx(framed, cv2.MORPH_GRADIENT, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    inside = ~borders[reach:-reach, reach:-reach]
    assert (differs & inside).mean() < 0.002, "but for slivers thinner than a pixel of the sample"
    assert inside.mean() > 0.1


@pytest.mark.parametrize("size", [(1000, 640), (300, 300), (97, 1201)])
def test_a_position_in_the_photo_moves_as_the_matrix_says(size: tuple[int, int]) -> None:
    height, width = size
    for seed in range(12):
        augmentation = draw_augmentation(np.random.default_rng(seed), size, 160, PLACE_ONLY)
        x, y = np.linalg.solve(augmentation.matrix[:, :2], (80.5, 80.5) - augmentation.matrix[:, 2])
        if not (30 < x < width - 30 and 30 < y < height - 30):
            continue
        image = np.zeros((height, width, 3), dtype=np.uint8)
        yy, xx = np.mgrid[:height, :width] + 0.5
        disc = np.hypot(xx - x, yy - y) < 25
        image[disc] = 255
        warped, target = augment(image, disc.astype(np.uint8), augmentation)
        covered = np.argwhere(target == 1) + 0.5
        assert np.allclose(covered.mean(axis=0), 80.5, atol=0.5)
        weights = np.maximum(warped[..., 0], 130) - 130.0  # brighter than the padding
        center = [np.average(np.arange(160) + 0.5, weights=weights.sum(axis=axis)) for axis in (0, 1)]
        assert np.allclose(center, 80.5, atol=0.25), "the photo, averaged down or not, lies under its mask"


def test_strength_zero_is_the_letterboxed_photo_elsewhere_in_the_square() -> None:
    still = Strength((1, 1), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    image = GROUPS.palette[blobs((128, 128))]
    warped, target = augment(
        image, blobs((128, 128)), draw_augmentation(np.random.default_rng(0), (128, 128), 128, still)
    )
    assert np.abs(warped.astype(int) - image).max() <= 1
    assert np.array_equal(target, blobs((128, 128)))
    mirrored = draw_augmentation(np.random.default_rng(0), (128, 128), 128, replace(still, flip=1))
    warped, target = augment(image, blobs((128, 128)), mirrored)
    assert np.abs(warped.astype(int) - image[:, ::-1]).max() <= 1
    assert np.array_equal(target, blobs((128, 128))[:, ::-1])


def test_equal_generators_give_equal_variants_and_others_do_not() -> None:
    mask = blobs((200, 150))
    image = GROUPS.palette[mask]

    def variant(seed: list[int]) -> bytes:
        augmentation = draw_augmentation(np.random.default_rng(seed), mask.shape, 96, Strength())
        return b"".join(part.tobytes() for part in augment(image, mask, augmentation))

    assert variant([42, 0, 7]) == variant([42, 0, 7])
    assert len({variant([42, epoch, index]) for epoch in range(3) for index in range(3)}) == 9


@given(
    height=SIDES,
    width=SIDES,
    seed=st.integers(0, 10_000),
    crop=st.sampled_from([None, 320, 512, (448, 320), (256, 384)]),
)
def test_photos_are_hardly_squashed_and_about_as_large_as_in_validation(
    height: int, width: int, seed: int, crop: CropSize | None
) -> None:
    still = Strength(rotation=0, shift=0, shear=0, flip=0)
    augmentation = draw_augmentation(np.random.default_rng(seed), (height, width), 512, still, crop)
    size = crop if isinstance(crop, tuple) else (crop or 512, crop or 512)
    assert augmentation.size == size
    image = np.zeros((height, width, 3), np.uint8)
    warped, target = augment(image, image[..., 0], augmentation)
    assert (warped.shape, target.shape) == ((*size, 3), size)
    across, down = augmentation.matrix[0, 0], augmentation.matrix[1, 1]
    assert 1 / 1.1 - 1e-9 <= across / down <= 1.1 + 1e-9
    zoom = math.sqrt(across * down) * max(height, width) / 512
    assert still.zoom[0] - 1e-9 <= zoom <= still.zoom[1] + 1e-9
    photo, scales, starts = (height, width), (down, across), augmentation.matrix[::-1, 2]
    for room, side, scale, start in zip(size, photo, scales, starts, strict=True):
        slack = room - side * scale
        assert min(0, slack) - 1e-9 <= start <= max(0, slack) + 1e-9, "no more is cut off than must be"


def test_full_strength_reaches_its_ranges_and_stays_within() -> None:
    strength = Strength()
    turns, mirrored = [], 0
    for seed in range(400):
        matrix = draw_augmentation(np.random.default_rng(seed), (800, 550), 512, PLACE_ONLY).matrix[:, :2]
        if np.linalg.det(matrix) < 0:
            mirrored += 1
            matrix = matrix @ np.diag([-1, 1])
        turns.append(math.degrees(math.atan2(matrix[1, 0] - matrix[0, 1], matrix[0, 0] + matrix[1, 1])))
    most = strength.rotation + strength.shear
    assert strength.rotation * 0.9 < max(turns) < most
    assert -most < min(turns) < -strength.rotation * 0.9
    assert 150 < mirrored < 250


def test_fine_stripes_do_not_become_coarse_when_a_large_photo_shrinks() -> None:
    image = np.zeros((2048, 2048, 3), dtype=np.uint8)
    image[:, ::2] = 255
    still = Strength(zoom=(1, 1), flip=0, rotation=0.5, shift=0, shear=0, aspect=0, brightness=0, contrast=0, hue=0)
    mask = np.zeros((2048, 2048), dtype=np.uint8)
    for seed in range(5):
        warped, target = augment(image, mask, draw_augmentation(np.random.default_rng(seed), mask.shape, 128, still))
        inside = cv2.erode(np.pad((target == 0).astype(np.uint8), 1), np.ones((5, 5)))[1:-1, 1:-1] > 0
        assert inside.mean() > 0.8
        assert np.abs(warped[inside].astype(int) - 128).max() <= 3


def test_padding_keeps_its_color_under_any_change_of_color() -> None:
    mask = blobs((300, 90))
    image = GROUPS.palette[mask]
    seen_padding = 0
    for seed in range(20):
        augmentation = draw_augmentation(np.random.default_rng(seed), mask.shape, 96, Strength())
        warped, target = augment(image, mask, augmentation)
        padding = cv2.erode((target == IGNORED_ID).astype(np.uint8), np.ones((5, 5))) > 0
        seen_padding += padding.sum()
        assert (warped[padding] == IMAGENET.fill).all()
    assert seen_padding > 1000


def test_contrast_leaves_the_mean_color_as_brightness_makes_it() -> None:
    mean = float(LUMA @ IMAGENET.fill)
    strength = replace(COLOR_ONLY, brightness=0.2, contrast=1)
    for seed in range(100):
        color = draw_augmentation(np.random.default_rng(seed), (64, 64), 64, strength).color
        assert (np.abs(color @ (mean, mean, mean, 1) / mean - 1) < 0.21).all()


def test_color_changes_within_its_ranges_and_gray_takes_all_color() -> None:
    gray = np.array([120.0, 120.0, 120.0, 1.0])
    colorless = 0
    for seed in range(300):
        color = draw_augmentation(np.random.default_rng(seed), (64, 64), 64, COLOR_ONLY).color
        changed = color @ gray
        assert np.ptp(changed) < 0.3, "grey stays grey under a change of hue and saturation"
        assert 120 * 0.8 - 3 < changed[0] < 120 * 1.2 + 3
        pure = color @ (255, 0, 0, 1)
        if np.ptp(pure) < 0.5:
            colorless += 1
            assert changed[0] == pytest.approx(float(LUMA @ color[:, :3] @ (120, 120, 120)) + color[0, 3], abs=0.5)
    assert 15 < colorless < 50
