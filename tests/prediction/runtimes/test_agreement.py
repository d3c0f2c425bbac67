"""The three runtimes give the same masks: what people see must not depend on what computed it."""

import numpy as np
import pytest

from clothseg.prediction.predictor import Predictor
from clothseg.prediction.runtimes import open_runtime
from tests.export.small_model import photo_of

LOGIT_TOLERANCE = 1e-3
"""The largest logits are about 4; measured differences are about 1e-5."""

SHARE_TOLERANCE = 1e-3
"""Pixels where two classes are so close that rounding decides; measured: at most 1e-5."""


@pytest.fixture(scope="module")
def runtimes(portable_path, small_checkpoint_path):
    return {
        "torch": open_runtime(small_checkpoint_path, device="cpu"),
        "openvino": open_runtime(portable_path, precision="fp32"),
        "onnxruntime": open_runtime(portable_path, runtime="onnxruntime"),
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (31, 33), (830, 550), (64, 64), (200, 355)])
def test_masks_are_the_same_for_any_photo_size(runtimes, size):
    photo = photo_of(*size)
    masks = {name: Predictor(one, model={}).predict(photo).mask for name, one in runtimes.items()}
    assert masks["torch"].shape == size
    for name in ("openvino", "onnxruntime"):
        assert masks[name].shape == size
        assert (masks[name] != masks["torch"]).mean() <= SHARE_TOLERANCE, name


def test_the_masks_of_a_photo_show_many_classes(runtimes):
    assert len(np.unique(Predictor(runtimes["torch"], model={}).predict(photo_of(830, 550)).mask)) > 3


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
def test_logits_are_the_same_for_any_batch(runtimes, count, size):
    batch = np.stack([photo_of(*size) ^ (17 * number) for number in range(count)])
    expected = runtimes["torch"].logits(batch)
    for name in ("openvino", "onnxruntime"):
        found = runtimes[name].logits(batch)
        assert found.dtype == np.float32
        assert found.shape == (count, 13, *size)
        np.testing.assert_allclose(found, expected, atol=LOGIT_TOLERANCE, err_msg=name)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_a_batch_may_be_a_view_or_read_only(runtimes, name):
    photos = np.stack([photo_of(64, 64), photo_of(65, 64)[1:]])
    expected = runtimes[name].logits(photos)
    photos.setflags(write=False)
    np.testing.assert_array_equal(runtimes[name].logits(photos), expected)
    np.testing.assert_allclose(
        runtimes[name].logits(photos[:, :, ::-1]),
        runtimes["torch"].logits(photos[:, :, ::-1].copy()),
        atol=LOGIT_TOLERANCE,
    )
