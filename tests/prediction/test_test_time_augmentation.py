import doctest

import cv2
import numpy as np
import pytest

from clothseg.errors import ModelError, SettingError
from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.prediction import test_time_augmentation
from clothseg.prediction.predictor import Predictor, _is_finite
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation, whole_logits
from clothseg.transforms import IMAGENET, Letterbox

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
