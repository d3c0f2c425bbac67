import pytest
import torch

from clothseg.model.precision import preferred_precision
from clothseg.settings import PRECISIONS


def test_is_a_setting() -> None:
    assert preferred_precision() in PRECISIONS
    assert preferred_precision("cpu") in PRECISIONS
    assert preferred_precision("mps") == "32-true"


@pytest.mark.parametrize(("major", "expected"), [(6, "32-true"), (7, "16-mixed"), (8, "bf16-mixed"), (9, "bf16-mixed")])
def test_follows_the_generation_of_the_gpu(major: int, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (major, 5))
    assert preferred_precision("auto") == preferred_precision("gpu") == expected


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, "bf16-mixed"),
        ({"amx_bf16": True}, "bf16-mixed"),
        ({"avx2": True, "avx512_bf16": False}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_follows_the_features_of_the_cpu(
    features: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert preferred_precision("cpu") == expected


def test_a_torch_that_cannot_tell_gives_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert preferred_precision("cpu") == "32-true"
