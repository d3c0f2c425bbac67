import threading
import time

import pytest

from clothseg.prediction.predictor import in_order
from tests.conftest import HANG_SECONDS


def test_results_come_in_the_order_of_the_items():
    def work(number):
        time.sleep(0.003 * (number % 3))
        return number * 10

    assert list(in_order(work, range(30), workers=4)) == [10 * number for number in range(30)]
    assert list(in_order(work, [], workers=4)) == []


def test_a_slow_reader_holds_the_workers_back():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    results = in_order(lambda number: number, items(), workers=2)
    for number in range(5):
        assert next(results) == number
        assert len(taken) <= number + 4
    results.close()
    assert len(taken) <= 8


def test_workers_work_at_the_same_time():
    meeting = threading.Barrier(3, timeout=HANG_SECONDS)  # broken unless three are there at once
    assert len(list(in_order(lambda _: meeting.wait(), range(6), workers=3))) == 6


@pytest.mark.parametrize("culprit", ["work", "items"])
def test_an_error_comes_at_its_place_and_ends_the_threads(culprit):
    def items():
        yield from (1, 2)
        if culprit == "items":
            raise KeyError("the caller's")
        yield 3

    def work(number):
        if number == 3:
            raise KeyError("the work's")
        return number

    results, done = in_order(work, items(), workers=1), []
    with pytest.raises(KeyError):
        done.extend(results)
    assert done in ([1, 2], [])  # items are taken ahead, so theirs may come early
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clothseg-photo")]
