from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clothseg.scores import (
    Scores,
    boundary,
    boundary_counts,
    boundary_width,
    confusion_matrix,
    mean_over_present,
)


def random_pair(seed, classes=4, size=(40, 30)):
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, size).astype(np.uint8)
    target[rng.random(size) < 0.2] = 255
    prediction = np.where(rng.random(size) < 0.6, target, rng.integers(0, 4, size))
    return np.where(prediction == 255, 0, prediction).astype(np.uint8), target


def test_scores_equal_their_definitions_on_sets_of_pixels():
    """`tests/model/test_module.py` compares the same scores with torchmetrics."""
    prediction, target = random_pair(0)
    matrix = confusion_matrix(prediction, target, 4)
    scores = Scores.from_confusion(matrix)
    pixels = {place for place in np.ndindex(target.shape) if target[place] != 255}
    for one in range(4):
        truth = {place for place in pixels if target[place] == one}
        found = {place for place in pixels if prediction[place] == one}
        assert scores.iou[one] == pytest.approx(len(truth & found) / len(truth | found))
        assert scores.precision[one] == pytest.approx(len(truth & found) / len(found))
        assert scores.recall[one] == pytest.approx(len(truth & found) / len(truth))
        assert scores.f1[one] == pytest.approx(2 * len(truth & found) / (len(truth) + len(found)))
        assert matrix[one].tolist() == [len([p for p in truth if prediction[p] == other]) for other in range(4)]
    assert scores.accuracy == pytest.approx(len([p for p in pixels if prediction[p] == target[p]]) / len(pixels))


def test_an_absent_class_is_absent_not_zero():
    target = np.array([[0, 0, 1, 1]], dtype=np.uint8)
    prediction = np.array([[0, 2, 1, 1]], dtype=np.uint8)
    scores = Scores.from_confusion(confusion_matrix(prediction, target, 4))
    np.testing.assert_array_equal(scores.iou, [0.5, 1.0, np.nan, np.nan])
    assert scores.mean_iou == 0.75
    assert mean_over_present(scores.iou, background=False) == 1.0
    assert scores.truth.tolist() == [2, 2, 0, 0]


def test_a_class_never_predicted_has_precision_0():
    target = np.array([0, 1], dtype=np.uint8)
    scores = Scores.from_confusion(confusion_matrix(np.zeros(2, np.uint8), target, 2))
    assert scores.precision.tolist() == [0.5, 0.0]


def test_nothing_counted_has_no_score():
    scores = Scores.from_confusion(np.zeros((4, 4)))
    assert np.isnan([scores.mean_iou, scores.mean_f1, scores.accuracy]).all()


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_matrices_of_parts_add_up(seed):
    prediction, target = random_pair(seed)
    whole = confusion_matrix(prediction, target, 4)
    parts = confusion_matrix(prediction[:7], target[:7], 4) + confusion_matrix(prediction[7:], target[7:], 4)
    np.testing.assert_array_equal(whole, parts)
    assert whole.sum() == (target != 255).sum()


def slow_boundary(mask):
    """The paper's own way, written plainly: the mask minus its erosion by 3 x 3, `width` times, zeros around it."""
    height, width = mask.shape
    inner = mask.copy()
    for _ in range(boundary_width(mask.shape)):
        framed = np.pad(inner, 1)
        inner = np.min(
            [framed[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)],
            axis=0,
        )
    return mask & ~inner


def slow_boundary_counts(prediction, target, num_classes):
    rows = []
    for class_id in range(num_classes):
        true, predicted = slow_boundary(target == class_id), slow_boundary((prediction == class_id) & (target != 255))
        rows.append([(true & predicted).sum(), (true | predicted).sum()])
    return np.array(rows).T


def blobs(rng, size, num_classes):
    """Smooth regions of class ids, as masks have them."""
    coarse = rng.integers(0, num_classes, (rng.integers(1, 9), rng.integers(1, 9))).astype(np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)


def test_boundary_counts_equal_the_plain_way():
    for seed, size in product(range(6), [(90, 60), (200, 301), (1, 1), (1, 40), (3, 7), (31, 2)]):
        rng = np.random.default_rng([seed, *size])
        target, prediction = blobs(rng, size, 5), blobs(rng, size, 5)
        prediction[rng.random(size) < 0.02] = 3
        if seed % 2:
            target[rng.random(size) < 0.05] = 255
        expected = slow_boundary_counts(prediction, target, 5)
        np.testing.assert_array_equal(boundary_counts(prediction, target, 5), expected, err_msg=f"{seed} {size}")


def test_the_boundary_of_a_shifted_square_is_the_one_counted_by_hand():
    target, prediction = np.zeros((2, 100, 100), np.uint8)  # the diagonal is 141, so a boundary is 3 pixels wide
    target[20:40, 20:40] = 1
    prediction[20:40, 22:42] = 1
    assert boundary_width(target.shape) == 3
    # A ring of 20² - 14² = 204 pixels each. They share 18 columns of the top and bottom bars, 3 rows each, and one
    # column of 14 rows of the upright bars on either side: 2·3·18 + 2·14 = 136.
    np.testing.assert_array_equal(boundary_counts(prediction, target, 2)[:, 1], [136, 2 * 204 - 136])


def test_a_mask_at_the_edge_of_the_photo_has_its_boundary_there():
    assert boundary(np.ones((100, 100), np.uint8)).sum() == 100**2 - 94**2


def test_counts_with_leading_axes_score_each_of_them():
    pairs = [random_pair(seed) for seed in range(3)]
    scores = [Scores.from_confusion(confusion_matrix(*pair, 4)) for pair in pairs]
    together = Scores(*(np.stack([getattr(one, name) for one in scores]) for name in ("hits", "truth", "predicted")))
    for name in ("iou", "f1", "precision", "recall", "accuracy"):
        np.testing.assert_array_equal(getattr(together, name), [getattr(one, name) for one in scores])
    np.testing.assert_allclose(mean_over_present(together.iou), [one.mean_iou for one in scores])


def test_the_mean_of_nothing_present_is_nothing():
    assert np.isnan(mean_over_present(np.array([0.5, np.nan]), background=False))
