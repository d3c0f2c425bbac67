import numpy as np
import pytest

from clothseg.evaluation import bootstrap
from clothseg.evaluation.bootstrap import Estimate, interval, resampled_sums


def test_resampled_sums_equal_photos_drawn_one_by_one():
    rows = np.random.default_rng(0).integers(0, 1000, (7, 2, 3))
    sums = resampled_sums(rows, resamples=50, seed=3)
    drawn = np.random.default_rng(3).integers(7, size=(50, 7))
    for number in range(50):
        np.testing.assert_array_equal(sums[number], rows[drawn[number]].sum(axis=0))


def test_sums_do_not_depend_on_how_many_are_made_at_a_time(monkeypatch):
    rows = np.random.default_rng(0).integers(0, 1000, (5, 3))
    whole = resampled_sums(rows, resamples=100)
    monkeypatch.setattr(bootstrap, "_CHUNK", 11)
    np.testing.assert_array_equal(resampled_sums(rows, resamples=100), whole)


def test_few_photos_have_no_interval():
    values = np.linspace(0, 1, 100)
    assert [Estimate.of(0.5, values, num_photos=count).has_interval for count in (4, 5)] == [False, True]


def test_counts_beyond_32_bits_stay_exact():
    rows = np.full((4, 1), 2**50, np.int64)
    assert (resampled_sums(rows, resamples=10) == 2**52).all()


def test_the_interval_of_a_mean_is_the_one_of_statistics():
    """The bootstrap's interval of a mean comes near mean ± 1.96 standard errors."""
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = interval(resampled_sums(values[:, None])[:, 0] / 400)
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.25 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.25 * error)


def test_resamples_without_a_value_do_not_count():
    assert interval(np.array([0.0, 1.0, np.nan]), level=1) == (0, 1)
    assert np.isnan(interval(np.array([np.nan, np.nan]), level=1)).all()
