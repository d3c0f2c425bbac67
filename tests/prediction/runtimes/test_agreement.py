"""The three runtimes give the same masks: what people see must not depend on what computed it."""

from copy import copy
from dataclasses import replace

import cv2
import numpy as np
import pytest

from clothseg.labels import CATEGORIES
from clothseg.prediction.predictor import Predictor, load, open_runtime
from clothseg.prediction.runtimes import ABSENT, class_logits
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
def test_the_second_output_gives_categories_and_leaves_the_first_as_it_is(portable_path, two_outputs_path, name):
    batch = np.stack([photo_of(64, 96), photo_of(65, 96)[1:]])
    groups = open_runtime(two_outputs_path, runtime=name)
    np.testing.assert_array_equal(groups.logits(batch), open_runtime(portable_path, runtime=name).logits(batch))
    fine = open_runtime(two_outputs_path, runtime=name, classes="categories")
    found = fine.logits(batch)
    assert fine.description.classes == CATEGORIES
    assert found.shape == (2, 47, 64, 96)
    pooled = groups.logits(batch).reshape(2, 13, 32, 2, 48, 2).mean(axis=(3, 5))
    for number, category in enumerate(fine.description.categories):
        planes = found[:, CATEGORIES.id_of(category)]
        for photo in range(2):
            expected = cv2.resize(pooled[photo, number], (96, 64), interpolation=cv2.INTER_LINEAR)
            np.testing.assert_allclose(planes[photo], expected, atol=LOGIT_TOLERANCE)
    quarter = pooled[:, :, ::2, ::2]
    enlarged = class_logits(quarter, fine.description, (64, 96))  # as older files have them
    first = CATEGORIES.id_of(fine.description.categories[0])
    np.testing.assert_array_equal(enlarged[0, first], cv2.resize(quarter[0, 0], (96, 64)))
    absent = [CATEGORIES.id_of(one) for one in CATEGORIES.names if one not in fine.description.categories]
    assert (found[:, absent] == ABSENT).all()


@pytest.mark.parametrize("name", ["torch", "openvino", "onnxruntime"])
def test_merged_classes_have_the_sum_of_their_probabilities(runtimes, name):
    runtime, batch = copy(runtimes[name]), np.stack([photo_of(64, 96)])
    own = np.exp(runtime.logits(batch).astype(np.float64))
    merged = tuple(min(number, 4) for number in range(13))
    object.__setattr__(runtime, "description", replace(runtime.description, merged=merged))
    found = np.exp(runtime.logits(batch).astype(np.float64))
    np.testing.assert_allclose(found[:, :4], own[:, :4], rtol=1e-5)
    np.testing.assert_allclose(found[:, 4], own[:, 4:].sum(axis=1), rtol=1e-5)
    assert found[:, 5:].max() < 1e-9 * own.max()


def test_a_result_says_that_its_classes_are_categories(two_outputs_path):
    fine_predictor = load(two_outputs_path, classes="categories")
    both = fine_predictor.model.keys() & fine_predictor.description.to_dict().keys()
    assert both == {"version"}, "the server puts both into one table"
    fine, plain = (
        load(two_outputs_path, classes=classes).predict(photo_of(90, 60)) for classes in ("categories", None)
    )
    assert fine.to_coco()["model"] == {**plain.to_coco()["model"], "class_list": "categories"}
    assert {label.name for label in fine.labels} <= set(CATEGORIES.names[5:26])


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
