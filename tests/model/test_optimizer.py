import pytest
import torch

from clothseg.model.network import build_network
from clothseg.model.optimizer import learning_rate_factor, parameter_groups, preferred_precision
from clothseg.settings import PRECISIONS


def test_norms_and_biases_do_not_decay_and_an_encoder_may_learn_slower():
    network = build_network("unet", "tu-mobilenetv3_small_050", encoder_weights=None, num_classes=3, decoder_width=0.25)
    frozen = next(network.parameters()).requires_grad_(False)
    groups = parameter_groups(network, learning_rate=0.01, encoder_rate=0.1, weight_decay=0.03)
    encoder = {id(one) for one in network.network.get_submodule("encoder").parameters()}
    for group in groups:
        assert {one.ndim > 1 for one in group["params"]} == {group["weight_decay"] == 0.03}
        assert {id(one) in encoder for one in group["params"]} == {group["lr"] == 0.01 * 0.1}
    found = [id(one) for group in groups for one in group["params"]]
    assert sorted(found) == sorted(id(one) for one in network.parameters() if one is not frozen)


def test_the_rate_rises_once_then_falls_to_nothing():
    for warmup in (0.0, 0.05, 0.5, 0.99):
        for num_steps in (1, 2, 7, 1000):
            factors = [learning_rate_factor(step, num_steps, warmup) for step in range(num_steps + 1)]
            top = factors.index(max(factors))
            assert factors[: top + 1] == sorted(factors[: top + 1])
            assert factors[top:] == sorted(factors[top:], reverse=True)
            assert max(factors) == 1
            assert all(factor > 0 for factor in factors[:-1])
            # A warm-up that takes all the steps leaves none to fall in.
            assert factors[-1] == pytest.approx(0) or warmup * num_steps > num_steps - 1
    assert [learning_rate_factor(step, 100, 0.05) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert learning_rate_factor(50, 100, 0.0) == pytest.approx(0.5)
    assert learning_rate_factor(120, 100, 0.05) == pytest.approx(0), "steps beyond the last learn nothing"


def test_the_precision_follows_the_hardware(monkeypatch):
    assert {preferred_precision(), preferred_precision("cpu")} <= set(PRECISIONS)
    assert preferred_precision("mps") == "32-true"
    for features, expected in (
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx2": True, "avx512_bf16": False}, "32-true"),
        ({}, "32-true"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert preferred_precision("cpu") == expected, features
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert preferred_precision("cpu") == "32-true", "a torch that cannot tell"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for major, expected in ((6, "32-true"), (7, "16-mixed"), (8, "bf16-mixed"), (9, "bf16-mixed")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda major=major: (major, 5))
        assert preferred_precision("auto") == preferred_precision("gpu") == expected, major
