"""Scores in words, the same in every report: percentages, intervals, and absent where there is nothing to score."""

from __future__ import annotations

from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.metrics import Consistency, Estimate

ABSENT = "absent"
CONSISTENCY_HEAD = ("Large garments", "Photos", "Torn", "Majority class wrong")


def number(value: float) -> str:
    """Return a score with three decimals.

    >>> number(0.51249)
    '0.512'
    """
    return f"{value:.3f}"


def value_of(one: Estimate) -> str:
    """Return a score without its interval, or that it is absent."""
    return ABSENT if one.is_absent else number(one.value)


def bounds_of(one: Estimate) -> str:
    """Return the interval of a score, or nothing where it has none.

    >>> bounds_of(Estimate(0.5, 0.45, 0.551)), bounds_of(Estimate(0.5))
    ('0.450–0.551', '')
    """
    return f"{number(one.low)}–{number(one.high)}" if one.has_interval else ""


def estimate(one: Estimate) -> str:
    """Return a score with its interval.

    >>> estimate(Estimate(0.5, 0.45, 0.551))
    '0.500 (0.450–0.551)'
    """
    return f"{value_of(one)} ({bounds_of(one)})" if one.has_interval else value_of(one)


def consistency(one: Consistency) -> list[str]:
    """Return the cells below `CONSISTENCY_HEAD`."""
    return [f"{one.garments:,}", f"{one.photos:,}", estimate(one.torn), estimate(one.wrong)]


def title(evaluation: Evaluation) -> str:
    """Return what was scored on what."""
    return f"{evaluation.predictions['name']} on {evaluation.data_name}, {evaluation.split}"


def photos(count: int) -> str:
    """Return a number of photos in words.

    >>> photos(1), photos(1158)
    ('1 photo', '1,158 photos')
    """
    return f"{count:,} photo{'s' * (count != 1)}"
