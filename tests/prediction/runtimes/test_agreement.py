"""The three runtimes give the same masks: what people see must not depend on what computed it."""

import numpy as np
import pytest

from clothseg.prediction.predictor import Predictor, open_runtime
from tests.export.small_model import photo_of

LOGIT_TOLERANCE = 1e-3
"""The largest logits are about 4; measured differences are about 1e-5."""

SHARE_TOLERANCE = 1e-3
"""Pixels where two classes are so close that rounding decides; measured: at most 1e-5."""


@pytest.fixture(scope="module")
def runtimes(portable_path, checkpoint_path):
    return {
        "torch": open_runtime(checkpoint_path, device="cpu"),
        "openvino": open_runtime(portable_path, precision="fp32"),
        "onnxruntime": open_runtime(portable_path, runtime="onnxruntime"),
    }


def test_masks_are_the_same_for_any_photo_size(runtimes):
    wrong = []
    for size in ((1, 1), (1, 300), (300, 1), (31, 33), (830, 550), (64, 64), (200, 355)):
        photo = photo_of(*size)
        masks = {name: Predictor(one, model={}).predict(photo).mask for name, one in runtimes.items()}
        assert masks["torch"].shape == size
        assert size != (830, 550) or len(np.unique(masks["torch"])) > 3, "many classes take part"
        wrong += [
            (name, size)
            for name in ("openvino", "onnxruntime")
            if masks[name].shape != size or (masks[name] != masks["torch"]).mean() > SHARE_TOLERANCE
        ]
    assert not wrong, wrong


def test_logits_are_the_same_for_any_batch(runtimes):
    for size in ((32, 32), (64, 96), (160, 32)):
        for count in (1, 2, 3):
            batch = np.stack([photo_of(*size) ^ (17 * number) for number in range(count)])
            expected = runtimes["torch"].logits(batch)
            for name in ("openvino", "onnxruntime"):
                found = runtimes[name].logits(batch)
                assert found.dtype == np.float32
                assert found.shape == (count, 13, *size)
                np.testing.assert_allclose(found, expected, atol=LOGIT_TOLERANCE, err_msg=f"{name} {size} {count}")


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
