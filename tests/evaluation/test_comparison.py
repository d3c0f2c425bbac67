import math

from clothseg.evaluation.bootstrap import Estimate
from clothseg.evaluation.comparison import Difference


def test_a_difference_is_significant_if_its_interval_does_not_contain_0():
    expected = {
        Estimate(0.03, 0.01, 0.05): ("better", "better"),
        Estimate(-0.03, -0.05, -0.01): ("worse", "worse"),
        Estimate(0.03, -0.01, 0.07): ("unclear", "not significant"),
        Estimate(0.03, 0.0, 0.07): ("unclear", "not significant"),
        Estimate(0.5): ("unclear", "too few photos"),
        Estimate(math.nan): ("absent", "absent"),
    }
    differences = {change: Difference(0.5, 0.5 + change.value, change) for change in expected}
    assert {change: (one.verdict, one.verdict_text) for change, one in differences.items()} == expected
