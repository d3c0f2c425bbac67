import threading
import time

import pytest

from clothseg.prediction.predictor import Predictor
from tests.conftest import HANG_SECONDS
from tests.prediction.conftest import ColorRuntime


class Streams(ColorRuntime):
    """Computes as its base does and records how many calls run at a time; a call waits for one on each stream."""

    def __init__(self, streams):
        super().__init__(64)
        self.streams = streams
        self.most_at_a_time = 0
        self._now = 0
        self._all_streams = threading.Barrier(streams, timeout=HANG_SECONDS)
        self._lock = threading.Lock()

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


@pytest.mark.parametrize("streams", [1, 3])
def test_the_network_computes_as_many_photos_at_a_time_as_the_runtime_has_streams(figure, streams):
    runtime = Streams(streams)
    found = list(Predictor(runtime, model={}).predict_many([figure[0]] * 4 * streams))
    assert runtime.most_at_a_time == streams
    assert all((one.mask == found[0].mask).all() for one in found)
