import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from clothseg.model.checkpoint import load_checkpoint
from clothseg.training.callbacks import moving_average


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


def test_what_is_saved_is_the_average_and_beside_it_the_weights_of_the_last_step(finished):
    _, last_step = finished.bench.train(finished.bench.named("plain", epochs=3, averaging=0.0))
    _, network = load_checkpoint(finished.result.last_path)
    saved = network.state_dict()
    assert all(torch.equal(tensor, finished.weights[f"network.{name}"]) for name, tensor in saved.items())
    differs = [not torch.equal(saved[name], tensor) for name, tensor in last_step.network.state_dict().items()]
    assert sum(differs) > len(differs) / 2
    beside = finished.last["current_model_state"]
    wrong = [name for name, tensor in last_step.state_dict().items() if not torch.equal(beside[name], tensor)]
    assert not wrong, "steps are the same, with and without an average beside them"
