import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clothseg.prediction.predictor import Predictor
from clothseg.prediction.runtimes import Streaming
from clothseg.prediction.turns import Turns
from tests.conftest import HANG_SECONDS
from tests.prediction.conftest import ColorRuntime

STREAMS = 3


class Streams(ColorRuntime):
    """Computes as its base does and records how many calls run at a time; a call waits for one on each stream."""

    sha256 = "ab"

    def __init__(self, streams=1):
        super().__init__(64)
        self.streams = streams
        self.many = None
        self.most_at_a_time = 0
        self._now = 0
        self._all_streams = threading.Barrier(streams, timeout=HANG_SECONDS)
        self._lock = threading.Lock()

    def for_many(self):
        assert self.many is None, "asked once"
        self.many = Streams(STREAMS)
        return self.many

    def logits(self, batch):
        with self._lock:
            self._now += 1
            self.most_at_a_time = max(self.most_at_a_time, self._now)
        self._all_streams.wait()
        time.sleep(0.01)  # one call too many at a time would come in it
        found = super().logits(batch)
        with self._lock:
            self._now -= 1
        return found


@pytest.fixture
def runtime():
    made = Streams()
    assert isinstance(made, Streaming)
    return made


def test_single_photos_run_one_at_a_time_and_many_run_on_all_streams(runtime):
    turns, batch = Turns(runtime), np.zeros((1, 32, 32, 3), np.uint8)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(turns.logits, [batch] * 10))
        assert runtime.most_at_a_time == 1
        assert runtime.many is None, "nothing is compiled that nobody needs"
        with turns.of_many() as streams:
            assert streams == STREAMS
            list(pool.map(turns.logits, [batch] * 7 * STREAMS))
        assert runtime.many.most_at_a_time == STREAMS
        many = runtime.many
        with turns.of_many(), turns.of_many():
            pass
        assert runtime.many is many
        many.most_at_a_time = 0
        turns.logits(batch)
        assert many.most_at_a_time == 0, "afterwards a single photo has all cores again"


def test_one_photo_uses_all_cores_and_several_use_streams(runtime, figure):
    predictor = Predictor(runtime, model={})
    expected = predictor.predict(figure[0]).mask
    list(predictor.predict_many([figure[0]]))
    assert runtime.many is None
    found = list(predictor.predict_many([figure[0]] * 4 * STREAMS))
    assert runtime.many.most_at_a_time == STREAMS
    assert all((one.mask == expected).all() for one in found)


def test_a_runtime_without_streams_runs_one_at_a_time(predictor):
    turns = Turns(predictor._runtime)
    with turns.of_many() as streams:
        assert streams == 1
