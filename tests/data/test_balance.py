import numpy as np
import pytest

from clothseg.data.balance import HEAVIEST, balanced_weights

PIXELS = (813, 0, 53, 2, 13, 0, 1, 0, 1, 15, 48, 1, 54)


def test_without_balance_all_pixels_count_alike():
    assert balanced_weights(PIXELS, 0) == (1.0,) * len(PIXELS)


def test_with_full_balance_each_class_counts_alike():
    weights = np.array(balanced_weights([600, 300, 100], 1))
    assert weights * [600, 300, 100] == pytest.approx(1000 / 3)


def test_rarer_classes_count_more_but_not_without_end_and_the_average_pixel_counts_one():
    weights = np.array(balanced_weights(PIXELS, 0.5))
    present = np.array(PIXELS) > 0
    order = np.argsort(np.array(PIXELS)[present], kind="stable")
    assert (np.diff(weights[present][order]) <= 0).all()
    assert weights.max() <= HEAVIEST
    assert (weights[~present] == 1).all()
    mild = np.array(balanced_weights(PIXELS, 0.3))
    assert (mild * PIXELS).sum() / sum(PIXELS) == pytest.approx(1)


def test_no_pixels_at_all_count_alike():
    assert balanced_weights([0, 0], 0.5) == (1.0, 1.0)
