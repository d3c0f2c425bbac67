import doctest
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clothseg.errors import ModelError, SettingError
from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.prediction import test_time_augmentation
from clothseg.prediction.predictor import Predictor, _is_finite, load
from clothseg.prediction.test_time_augmentation import (
    TestTimeAugmentation,
    _Axis,
    _bands,
    _rows,
    segment_pixels,
    whole_logits,
)
from clothseg.transforms import IMAGENET, Letterbox, resize_plane

DESCRIPTION = ModelDescription(
    classes=GROUPS, architecture="none", encoder_name="none", image_size=64, normalization=IMAGENET
)


class Recorder:
    """A network whose logits are the photo's pixels plus a slope to the right, and that records its inputs."""

    def __init__(self):
        self.seen = []

    def __call__(self, batch):
        assert len(batch) == 1
        self.seen.append(batch[0].copy())
        slope = np.linspace(0, 100, batch.shape[2], dtype=np.float32)
        return np.moveaxis(batch.astype(np.float32), -1, 1) + slope


def photo(height=80, width=50):
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(0, 256, (6, 4, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def test_examples_in_docstrings():
    assert doctest.testmod(test_time_augmentation).failed == 0


def test_one_forward_pass_gives_the_networks_own_logits():
    network = Recorder()
    logits = whole_logits(network, photo(), DESCRIPTION, TestTimeAugmentation())
    (seen,) = network.seen
    assert seen.shape == (64, 64, 3)
    assert logits.shape == (3, 64, 40)
    np.testing.assert_array_equal(logits, Recorder()(seen[None])[0][:, :, :40])


def test_logits_of_the_mirror_image_are_mirrored_back():
    network = Recorder()
    logits = whole_logits(network, photo(), DESCRIPTION, TestTimeAugmentation(flip=True))
    first, second = network.seen
    np.testing.assert_array_equal(second[:, :40], first[:, :40][:, ::-1])
    np.testing.assert_array_equal(second[:, 40:], first[:, 40:], "the padding stays at the right")
    slope = np.linspace(0, 100, 64, dtype=np.float32)[:40]
    expected = np.moveaxis(first[:, :40].astype(np.float32), -1, 0) + (slope + slope[::-1]) / 2
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_scales_are_averaged_at_the_models_own_size():
    network = Recorder()
    logits = whole_logits(
        network, photo(640, 400), DESCRIPTION, TestTimeAugmentation(scales=(0.5, 1.0, 2.0), flip=True)
    )
    assert [seen.shape[0] for seen in network.seen] == [32, 32, 64, 64, 128, 128]
    assert logits.shape == (3, *Letterbox.fit(640, 400, 64).scaled_size)
    alone = whole_logits(Recorder(), photo(640, 400), DESCRIPTION, TestTimeAugmentation())
    assert np.abs(logits - alone).mean() < 30


def test_masks_stay_the_same_where_all_forward_passes_agree(predictor, figure):
    looking_often = Predictor(
        predictor._runtime, model={}, augmentation=TestTimeAugmentation(flip=True, scales=(0.75, 1.0, 1.5))
    )
    assert (looking_often.predict(figure[0]).mask == figure[1]).mean() > 0.95


@pytest.mark.parametrize(
    "wrong", [{"tiles": 0}, {"tiles": 9}, {"scales": ()}, {"scales": (0.1,)}, {"scales": (1.0, 5.0)}]
)
def test_values_that_are_not_allowed(wrong):
    with pytest.raises(SettingError, match="Allowed"):
        TestTimeAugmentation(**wrong)


@pytest.mark.parametrize("values", [(np.nan,), (np.inf,), (-np.inf,), (np.inf, -np.inf)], ids=str)
@pytest.mark.parametrize("width", [9, 8], ids=["whole", "a view"])
def test_nan_and_infinity_are_not_finite_and_the_largest_numbers_are(values, width):
    logits = np.full((3, 7, 9), np.finfo(np.float32).max, np.float32)[:, :, :width]
    assert _is_finite(logits)
    logits[1, 2, : len(values)] = values
    assert not _is_finite(logits)


@pytest.mark.parametrize(
    "augmentation",
    [TestTimeAugmentation(flip=True), TestTimeAugmentation(scales=(0.5, 1.0)), TestTimeAugmentation(tiles=3)],
)
def test_logits_that_are_not_finite_are_noticed_in_any_forward_pass(predictor, monkeypatch, augmentation):
    runtime = predictor._runtime
    whole, calls = runtime.logits, []

    def broken(batch):
        calls.append(batch)
        logits = whole(batch)
        if len(calls) > 1:
            logits[0, 3, 5, 5] = np.nan
        return logits

    monkeypatch.setattr(runtime, "logits", broken)
    with pytest.raises(ModelError, match="gives NaN"):
        Predictor(runtime, model={}, augmentation=augmentation).predict(np.zeros((200, 150, 3), np.uint8))


@pytest.fixture(scope="module")
def finely(predictor):
    """Builds a predictor of the colour runtime with `tiles` as the tile factor."""
    return lambda tiles, **options: Predictor(
        predictor._runtime, model={}, augmentation=TestTimeAugmentation(tiles=tiles, **options)
    )


def blobs(height, width, seed=0):
    """A photo of large patches in the classes' colours, and its mask."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 13, (max(2, height // 90), max(2, width // 90)), np.uint8)
    mask = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)
    return GROUPS.palette[mask], mask


@settings(max_examples=60)
@given(st.integers(1, 3000), st.sampled_from([32, 64, 512]))
def test_tiles_cover_an_axis_and_count_once(length, image_size):
    axis = _Axis.of(length, image_size)
    total = np.zeros(length)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        assert 0 <= start <= length - axis.tile
        assert weights.min() > 0
        total[start : start + axis.tile] += weights
    np.testing.assert_allclose(total, 1, atol=1e-5)
    gaps = np.diff(axis.starts)
    assert axis.tile == min(length, image_size)
    assert (gaps <= 0.75 * image_size + 1).all(), "neighbours share a quarter"


@settings(max_examples=40)
@given(st.integers(2, 9), st.integers(9, 40), st.integers(1, 8))
def test_rows_of_an_enlarged_plane_are_opencvs(length, target, width):
    plane = np.random.default_rng(length * target).normal(size=(length, width)).astype(np.float32)
    expected = resize_plane(plane, (target, width * 2))
    middle = target // 2
    parts = [_rows(plane, 0, length, (target, width * 2), rows) for rows in (range(middle), range(middle, target))]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4)


def test_no_photo_is_enlarged():
    four = TestTimeAugmentation(tiles=4)
    assert [four.tile_factor(size, 64) for size in ((90, 60), (130, 60), (4000, 3000))] == [1, 2, 4]
    assert TestTimeAugmentation().tile_factor((4000, 3000), 64) == 1


@pytest.mark.parametrize("tiles", [2, 3, 5, 8])
def test_tiles_agree_with_the_photo_and_find_more_details(finely, tiles):
    photo, mask = blobs(533, 400)
    whole, fine = finely(1).predict(photo), finely(tiles).predict(photo)
    agreement = (fine.mask == mask).mean()
    assert agreement > 0.965
    assert agreement > (whole.mask == mask).mean() + 0.01
    assert fine.logits.shape == whole.logits.shape == (13, 64, 48)
    scores = {label.name: label.score for label in fine.labels if label.share > 0.03}
    others = {label.name: label.score for label in whole.labels if label.share > 0.03}
    assert scores == pytest.approx(others, abs=0.1)


@settings(max_examples=20)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(2, 8))
@example(4000, 3, 4)
@example(3, 4000, 4)
@example(1, 1, 8)
@example(128, 128, 2)
@example(129, 257, 2)
def test_any_photo_size_in_the_same_size_out(finely, height, width, tiles):
    photo = np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)
    segmentation = finely(tiles, flip=True).predict(photo)
    assert segmentation.mask.shape == (height, width)
    assert segmentation.mask.max() < GROUPS.num_classes
    assert np.isfinite(segmentation.logits).all()


def test_flat_logits_stay_flat_over_every_seam(predictor):
    description = predictor.description
    fine = np.zeros((256, 192, 3), np.uint8)
    rows = [tiles for _, tiles in _bands(predictor._logits, fine, description, flip=True, factor=4)]
    blended = np.concatenate(rows, axis=1)
    expected = predictor._logits(np.zeros((1, 64, 64, 3), np.uint8))[0, :, :1, :1]
    assert blended.shape == (13, 256, 192)
    np.testing.assert_allclose(blended, np.broadcast_to(expected, blended.shape), rtol=1e-4)


def test_a_real_network_shows_no_seams(checkpoint_path):
    """Where tiles begin and end, logits change no faster than elsewhere; without blending they jump."""
    predictor = load(checkpoint_path, device="cpu")
    rng = np.random.default_rng(0)
    photo = cv2.resize(rng.integers(0, 256, (20, 16, 3), np.uint8), (256, 320), interpolation=cv2.INTER_CUBIC)
    bands = list(_bands(predictor._logits, photo, predictor.description, flip=False, factor=5))
    blended = np.concatenate([tiles for _, tiles in bands], axis=1)
    axis = _Axis.of(320, 64)
    borders = np.array(sorted({*axis.starts[1:], *(start + 64 for start in axis.starts[:-1])}))
    change = np.abs(np.diff(blended, axis=1)).mean(axis=(0, 2))
    assert change[borders - 1].mean() < 1.15 * change.mean()

    abutting = np.concatenate([predictor._logits(photo[None, top : top + 64, :64])[0] for top in range(0, 320, 64)], 1)
    jumps = np.abs(np.diff(abutting, axis=1)).mean(axis=(0, 2))
    assert jumps[63::64].mean() > 1.5 * jumps.mean(), "the test would see a seam"


def test_the_logits_returned_are_the_mean_of_the_fine_ones(predictor):
    photo, _ = blobs(256, 192)
    _, logits = segment_pixels(predictor._logits, photo, predictor.description, TestTimeAugmentation(tiles=4))
    bands = list(_bands(predictor._logits, photo, predictor.description, flip=False, factor=4))
    fine = np.concatenate([tiles for _, tiles in bands], axis=1)
    whole = whole_logits(predictor._logits, photo, predictor.description, TestTimeAugmentation())
    whole = np.stack([resize_plane(plane, (256, 192)) for plane in whole])
    expected = ((fine + whole) / 2).reshape(13, 64, 4, 48, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(logits, expected, atol=1e-3)


def test_memory_per_pixel_stays_bounded_for_a_large_photo(finely):
    photo = np.zeros((2000, 1500, 3), np.uint8)
    photo[500:1500, 250:1250] = GROUPS.palette[2]
    peaks = {}
    for tiles in (1, 8):
        predictor = finely(tiles)
        tracemalloc.start()
        try:
            segmentation = predictor.predict(photo)
            _, peaks[tiles] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (segmentation.mask[550:1450, 300:1200] == 2).all()
        assert not segmentation.mask[:450].any()
    assert peaks[1] < 21 * photo[..., 0].size, "a mask, two planes of float32 and little more"
    assert peaks[8] < 13 * photo[..., 0].size, "bands take less than whole planes"
