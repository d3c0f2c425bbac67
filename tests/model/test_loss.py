import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import clothseg.model.loss as loss_module
from clothseg.labels import IGNORED_ID
from clothseg.model.loss import DiceCrossEntropyLoss


def plain_loss(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Return the loss as its docstring defines it, by torch's own functions."""
    counted = target != IGNORED_ID
    classes = torch.where(counted, target, 0).long()
    entropy = F.cross_entropy(logits, torch.where(counted, classes, -100), weight=weights)
    probability = logits.softmax(dim=1) * counted[:, None]
    truth = F.one_hot(classes, logits.shape[1]).permute(0, 3, 1, 2) * counted[:, None]
    overlap = (probability * truth).sum((0, 2, 3))
    total = probability.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    present = truth.sum((0, 2, 3)) > 0
    return 0.5 * (1 - 2 * overlap / total)[present].mean() + 0.5 * entropy


def batch(seed: int, classes: int, layout: torch.memory_format) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(2, classes, 9, 14, generator=generator)
    target = torch.randint(0, max(1, classes - 1), (2, 9, 14), generator=generator).to(torch.uint8)
    target[torch.rand(2, 9, 14, generator=generator) < 0.2] = IGNORED_ID
    return logits.contiguous(memory_format=layout), target


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 6),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    piece=st.sampled_from([1, 90, 1 << 17]),
    is_weighted=st.booleans(),
)
def test_value_and_gradient_are_those_of_the_definition(seed, classes, layout, piece, is_weighted):
    logits, target = batch(seed, classes, layout)
    weights = torch.rand(classes, generator=torch.Generator().manual_seed(seed)) + 0.1 if is_weighted else None
    ours, theirs = logits.clone().requires_grad_(), logits.clone().double().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loss_module._PIECE, "cpu", piece)
        value = DiceCrossEntropyLoss(None if weights is None else weights.tolist())(ours, target)
        (3 * value).backward()
    expected = plain_loss(theirs, target, None if weights is None else weights.double())
    (3 * expected).backward()
    torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.grad.double(), theirs.grad, atol=1e-7, rtol=1e-4)


def test_a_batch_without_a_pixel_to_learn_from_gives_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    value = DiceCrossEntropyLoss()(logits, torch.full((1, 4, 4), IGNORED_ID, dtype=torch.uint8))
    value.backward()
    assert value.item() == 0
    assert not logits.grad.any()


def test_huge_logits_stay_numbers():
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1).repeat(1, 1, 2, 2).requires_grad_()
    value = DiceCrossEntropyLoss()(logits, torch.tensor([[[0, 1], [2, 0]]], dtype=torch.uint8))
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


def test_bfloat16_is_summed_in_float32():
    logits, target = batch(3, 5, torch.channels_last)
    coarse = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = DiceCrossEntropyLoss()(coarse, target)
    assert value == DiceCrossEntropyLoss()(coarse.float(), target)


def test_a_perfect_answer_costs_next_to_nothing_and_a_rare_class_may_count_more():
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    target[0, :2, :2] = 1
    perfect = 40 * F.one_hot(target.long(), 2).permute(0, 3, 1, 2).float()
    assert DiceCrossEntropyLoss()(perfect, target) < 1e-6
    missed = torch.zeros(1, 2, 8, 8)
    missed[:, 0] = 2
    assert DiceCrossEntropyLoss([1.0, 5.0])(missed, target) > DiceCrossEntropyLoss([1.0, 1.0])(missed, target) + 0.1
