import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from clothseg.scores import Scores, confusion_matrix

NAMES = ("background", "dress", "shoe", "hat")


def random_pair(seed, classes=4, size=(40, 30)):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, size).astype(np.uint8)
    target[rng.random(size) < 0.2] = 255
    prediction = np.where(rng.random(size) < 0.6, target, rng.integers(0, 4, size))
    return np.where(prediction == 255, 0, prediction).astype(np.uint8), target


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_torchmetrics(seed):
    prediction, target = random_pair(seed)
    scores = Scores.from_confusion(confusion_matrix(prediction, target, 4), NAMES)
    tensors = torch.from_numpy(prediction).long(), torch.from_numpy(target).long()
    for name, metric in (
        ("iou", MulticlassJaccardIndex),
        ("f1", MulticlassF1Score),
        ("precision", MulticlassPrecision),
        ("recall", MulticlassRecall),
    ):
        theirs = metric(num_classes=4, average=None, ignore_index=255)(*tensors)
        np.testing.assert_allclose(getattr(scores, name), theirs.numpy(), rtol=1e-6)
    micro = MulticlassAccuracy(num_classes=4, average="micro", ignore_index=255)(*tensors)
    assert scores.accuracy == pytest.approx(float(micro))


def test_an_absent_class_is_absent_not_zero():
    target = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    prediction = np.array([[0, 2, 1, 1]], dtype=np.uint8)
    scores = Scores.from_confusion(confusion_matrix(prediction, target, 4), NAMES)
    assert scores.present.tolist() == [True, True, False, False]
    np.testing.assert_array_equal(scores.iou, [0.5, 1.0, np.nan, np.nan])
    assert scores.mean_iou == 0.75
    assert scores.mean("iou", background=False) == 1.0
    assert scores.support.tolist() == [2, 2, 0, 0]


def test_a_class_never_predicted_has_precision_0():
    target = np.array([0, 1], dtype=np.uint8)
    scores = Scores.from_confusion(confusion_matrix(np.zeros(2, np.uint8), target, 2), NAMES[:2])
    assert scores.precision.tolist() == [0.5, 0.0]


def test_nothing_counted_has_no_score():
    scores = Scores.from_confusion(np.zeros((4, 4)), NAMES)
    assert np.isnan([scores.mean_iou, scores.mean_f1, scores.accuracy]).all()


@given(st.integers(0, 2**32 - 1))
def test_matrices_of_parts_add_up(seed):
    prediction, target = random_pair(seed)
    whole = confusion_matrix(prediction, target, 4)
    parts = confusion_matrix(prediction[:7], target[:7], 4) + confusion_matrix(prediction[7:], target[7:], 4)
    np.testing.assert_array_equal(whole, parts)
    assert whole.sum() == (target != 255).sum()
