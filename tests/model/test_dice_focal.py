import pytest
import segmentation_models_pytorch as smp
import torch
from torch import Tensor

import clothseg.model.dice_focal as loss_module
from clothseg.labels import IGNORED_ID
from clothseg.model.dice_focal import DiceFocalLoss


def smp_loss(logits: Tensor, target: Tensor) -> Tensor:
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=IGNORED_ID)
    focal = smp.losses.FocalLoss(mode="multiclass", ignore_index=IGNORED_ID)
    return torch.as_tensor(0.5 * dice(logits, target) + 0.5 * focal(logits, target))


def batch(
    num_classes: int, *, present: int | None = None, ignored: float = 0.3, scale: float = 2.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_classes)
    logits = scale * torch.randn(3, num_classes, 24, 40, generator=generator)
    target = torch.randint(0, present or num_classes, (3, 24, 40), generator=generator, dtype=torch.uint8)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORED_ID
    return logits, target


@pytest.mark.parametrize(
    ("num_classes", "present", "ignored", "scale"),
    [
        (13, 13, 0.3, 2.0),
        (13, 13, 0.0, 2.0),
        (13, 4, 0.5, 2.0),
        (2, 1, 0.3, 2.0),
        (47, 30, 0.9, 2.0),
        (13, 13, 0.3, 30),
    ],
    ids=["ignored", "all counted", "classes absent", "background alone", "many classes", "sure of itself"],
)
def test_value_and_gradient_are_smps(num_classes: int, present: int, ignored: float, scale: float) -> None:
    logits, target = batch(num_classes, present=present, ignored=ignored, scale=scale)
    ours, theirs = logits.clone().requires_grad_(), logits.double().requires_grad_()
    value, expected = DiceFocalLoss()(ours, target), smp_loss(theirs, target.long())
    value.backward()
    expected.backward()
    assert ours.grad is not None
    assert theirs.grad is not None
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-3, atol=1e-9)


def test_bytes_and_whole_numbers_give_the_same() -> None:
    logits, target = batch(13)
    assert DiceFocalLoss()(logits, target) == DiceFocalLoss()(logits, target.long())


def test_it_does_not_matter_how_the_batch_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    values, gradients = [], []
    for limit in (1, 13 * 40 * 5, 13 * 24 * 40, 2 * 13 * 24 * 40, 1 << 26):
        monkeypatch.setitem(loss_module._PIECE, "cpu", limit)
        logits, target = batch(13)
        logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
        value = DiceFocalLoss()(logits, target)
        value.backward()
        values.append(value)
        gradients.append(logits.grad)
    for value, gradient in zip(values[1:], gradients[1:], strict=True):
        torch.testing.assert_close(value, values[0], rtol=1e-6, atol=0)
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-10)


def test_bfloat16_logits_get_a_bfloat16_gradient() -> None:
    logits, target = batch(13)
    coarse = logits.bfloat16().requires_grad_()
    value = DiceFocalLoss()(coarse, target)
    value.backward()
    assert value == DiceFocalLoss()(coarse.detach().float(), target)
    assert coarse.grad is not None
    assert coarse.grad.dtype == torch.bfloat16


def test_a_batch_of_padding_teaches_nothing() -> None:
    logits, target = batch(5, ignored=1.1)
    logits.requires_grad_()
    loss = DiceFocalLoss()(logits, target)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_padding_counts_nowhere() -> None:
    logits, target = batch(5)
    elsewhere = logits.clone()
    elsewhere[(target == IGNORED_ID).unsqueeze(1).expand_as(logits)] += 100
    torch.testing.assert_close(DiceFocalLoss()(logits, target), DiceFocalLoss()(elsewhere, target))


def test_autocast_does_not_coarsen_it() -> None:
    logits, target = batch(13)
    with torch.autocast("cpu", torch.bfloat16):
        loss = DiceFocalLoss()(logits, target)
    assert loss.dtype == torch.float32
    assert loss == DiceFocalLoss()(logits, target)


def test_a_right_answer_costs_nothing() -> None:
    _, target = batch(5, ignored=0)
    logits = 40 * torch.nn.functional.one_hot(target.long(), 5).permute(0, 3, 1, 2) - 20.0
    assert DiceFocalLoss()(logits, target) < 1e-6
