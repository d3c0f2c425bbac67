import math

import pytest

from clothseg.evaluation.compare import Difference
from clothseg.evaluation.metrics import Estimate
from clothseg.evaluation.report.comparison_words import verdict


@pytest.mark.parametrize(
    ("change", "expected", "in_words"),
    [
        (Estimate(0.03, 0.01, 0.05), "better", "better"),
        (Estimate(-0.03, -0.05, -0.01), "worse", "worse"),
        (Estimate(0.03, -0.01, 0.07), "unclear", "within chance"),
        (Estimate(0.03, 0.0, 0.07), "unclear", "within chance"),
        (Estimate(0.5), "unclear", "too few photos"),
        (Estimate(math.nan), "absent", "absent"),
    ],
)
def test_a_difference_is_beyond_chance_where_its_interval_leaves_out_0(change, expected, in_words):
    difference = Difference(0.5, 0.5 + change.value, change)
    assert difference.verdict == expected
    assert verdict(difference) == in_words
