import os
import signal

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from clothseg.model.checkpoint import load_checkpoint
from clothseg.training.averaging import moving_average
from clothseg.training.interruption import TrainingStopped


def test_the_average_follows_early_steps_fast_and_late_ones_slowly():
    layer = nn.Linear(1, 1, bias=False)
    average = AveragedModel(layer, avg_fn=moving_average(0.9))
    expected = None
    for step in range(200):
        layer.weight.data.fill_(float(step))
        average.update_parameters(layer)
        share = min(0.9, (1 + step) / (10 + step))
        expected = float(step) if expected is None else share * expected + (1 - share) * step
        assert average.module.weight.item() == pytest.approx(expected)
    assert 185 < expected < 195, "a mean over about ten steps"


def test_whole_numbers_are_taken_as_they_are():
    count = torch.tensor(7)
    assert moving_average(0.9)(torch.tensor(3), count, 5) is count


def test_what_is_saved_is_the_average_and_not_the_last_step(bench):
    result, averaged = bench.train(bench.named("averaged", averaging=0.9))
    _, last_step = bench.train(bench.named("plain", averaging=0.0))
    _, network = load_checkpoint(result.last_path)
    saved = network.state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in averaged.network.state_dict().items())
    differs = [not torch.equal(saved[name], tensor) for name, tensor in last_step.network.state_dict().items()]
    assert sum(differs) > len(differs) / 2, "steps are the same, with and without an average beside them"


@pytest.mark.parametrize("hook", ["train", "val"])
def test_a_training_stopped_anywhere_goes_on_with_average_and_weights(bench, finished, hook):
    _, _, result, weights, _ = finished
    settings = bench.named(hook, epochs=3)
    watcher = bench.watcher(hook, 1, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingStopped) as stopped:
        bench.train(settings, watcher=watcher)
    resumed, model = bench.train(settings, resume=stopped.value.last_path)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert resumed.scores == result.scores
