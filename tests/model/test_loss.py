"""Both losses: their value and gradient by definition, at the limits, and over several processes."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clothseg.labels import IGNORED_ID
from clothseg.model.loss import DiceCrossEntropyLoss, DiceFocalLoss, num_sharing, sum_over_processes
from tests.conftest import HANG_SECONDS

NUM_PROCESSES = 2
LAYOUTS = [torch.contiguous_format, torch.channels_last]


def plain_dice_ce(logits: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
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


def smp_dice_focal(logits: Tensor, target: Tensor) -> Tensor:
    dice = smp.losses.DiceLoss(mode="multiclass", ignore_index=IGNORED_ID)
    focal = smp.losses.FocalLoss(mode="multiclass", ignore_index=IGNORED_ID)
    return torch.as_tensor(0.5 * dice(logits, target.long()) + 0.5 * focal(logits, target.long()))


def random_batch(
    seed: int, classes: int, *, present: int | None = None, ignored: float = 0.2, scale: float = 4.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, classes, 9, 14, generator=generator)
    target = torch.randint(0, present or max(1, classes - 1), (2, 9, 14), generator=generator, dtype=torch.uint8)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORED_ID
    return logits, target


def value_and_gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    own = logits.detach().clone().requires_grad_()
    value = loss(own, target)
    (3 * value).backward()
    assert own.grad is not None
    return value.detach(), own.grad


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), classes=st.integers(2, 6), layout=st.sampled_from(LAYOUTS), is_weighted=st.booleans()
)
def test_dice_and_cross_entropy_are_those_of_the_definition(seed, classes, layout, is_weighted):
    logits, target = random_batch(seed, classes)
    weights = torch.rand(classes, generator=torch.Generator().manual_seed(seed)) + 0.1 if is_weighted else None
    loss = DiceCrossEntropyLoss(None if weights is None else weights.tolist())
    value, gradient = value_and_gradient(loss, logits.contiguous(memory_format=layout), target)
    expected = logits.double().requires_grad_()
    expected_value = plain_dice_ce(expected, target, None if weights is None else weights.double())
    (3 * expected_value).backward()
    torch.testing.assert_close(value.double(), expected_value.detach(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(gradient.double(), expected.grad, atol=1e-7, rtol=1e-4)


def test_dice_and_focal_are_those_of_smp():
    for case in (
        {"classes": 13, "present": 13, "ignored": 0.3, "scale": 2.0},
        {"classes": 13, "present": 13, "ignored": 0.0, "scale": 2.0},
        {"classes": 13, "present": 4, "ignored": 0.5, "scale": 2.0},  # absent classes
        {"classes": 2, "present": 1, "ignored": 0.3, "scale": 2.0},  # background alone
        {"classes": 47, "present": 30, "ignored": 0.9, "scale": 2.0},
        {"classes": 13, "present": 13, "ignored": 0.3, "scale": 30.0},  # sure of itself
    ):
        logits, target = random_batch(0, **case)
        value, gradient = value_and_gradient(DiceFocalLoss(), logits, target)
        expected = logits.double().requires_grad_()
        expected_value = smp_dice_focal(expected, target)
        (3 * expected_value).backward()
        torch.testing.assert_close(value.double(), expected_value.detach(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(gradient.double(), expected.grad, rtol=1e-3, atol=1e-8)


def losses() -> dict[str, nn.Module]:
    return {"dice-ce": DiceCrossEntropyLoss((1.0, 0.5, 2.0, 3.0, 1.0)), "dice-focal": DiceFocalLoss()}


@pytest.mark.parametrize("name", ["dice-ce", "dice-focal"])
def test_limits(name):
    loss = losses()[name]
    logits, target = random_batch(3, 5)

    padding = value_and_gradient(loss, logits, torch.full_like(target, IGNORED_ID))
    assert padding[0] == 0, "a batch without a pixel to learn from"
    assert not padding[1].any()

    elsewhere = logits.clone()
    elsewhere[(target == IGNORED_ID).unsqueeze(1).expand_as(logits)] += 100
    torch.testing.assert_close(loss(logits, target), loss(elsewhere, target), msg="padding counts")
    assert loss(logits, target) == loss(logits, target.long())

    huge = value_and_gradient(loss, 1e4 * logits.sign(), target)
    assert all(bool(part.isfinite().all()) for part in huge)

    coarse = logits.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(loss, coarse, target)
    assert (value.dtype, gradient.dtype) == (torch.float32, torch.bfloat16)
    assert value == loss(coarse.float(), target)

    right = torch.where(target == IGNORED_ID, 0, target).long()
    perfect = 80 * F.one_hot(right, 5).permute(0, 3, 1, 2) - 40.0
    assert loss(perfect, target) < 1e-6


def test_a_rare_class_may_count_more():
    target = torch.zeros(1, 8, 8, dtype=torch.uint8)
    target[0, :2, :2] = 1
    missed = torch.zeros(1, 2, 8, 8)
    missed[:, 0] = 2
    assert DiceCrossEntropyLoss([1.0, 5.0])(missed, target) > DiceCrossEntropyLoss([1.0, 1.0])(missed, target) + 0.1


def uneven_batch() -> tuple[Tensor, Tensor]:
    """Four photos whose halves differ: classes 3 and 4 are in one half only, and most of the other is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 12, 16, generator=generator)
    target = torch.randint(0, 3, (4, 12, 16), generator=generator, dtype=torch.uint8)
    target[0, :4], target[1, 5:8] = 3, 4
    target[2:, 2:] = IGNORED_ID
    return logits, target


@pytest.fixture
def group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group with this process alone, in which a sum over processes is the part of this one."""
    where = f"file://{tmp_path}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_a_gradient_of_several_processes_is_what_their_mean_needs(monkeypatch):
    parts = (torch.tensor([1.5, 2.5]), torch.tensor([[3], [2**40]]), torch.tensor(0.25))
    for found, part in zip(sum_over_processes(parts, 2), parts, strict=True):
        assert torch.equal(found, part.double())
    logits, target = uneven_batch()
    for loss in losses().values():
        found = []
        for number in (1, 3):
            monkeypatch.setattr(torch.distributed, "get_world_size", lambda number=number: number)
            assert (num_sharing(is_training=True), num_sharing(is_training=False)) == (number, 1)
            found.append(value_and_gradient(loss, logits, target))
        torch.testing.assert_close(found[1][0], found[0][0])
        torch.testing.assert_close(found[1][1], 3 * found[0][1])


def _compute_own_half(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=timedelta(seconds=HANG_SECONDS),
    )
    logits, target = (part.chunk(NUM_PROCESSES)[rank] for part in uneven_batch())
    results = {}
    for name, loss in losses().items():
        value, gradient = value_and_gradient(loss, logits, target)
        # A process that scores one more batch than the others must not wait for them.
        alone = loss.eval()(logits, target) if rank == 0 else None
        results[name] = {"value": value, "gradient": gradient, "alone": alone}
    torch.save(results, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.processes
def test_halves_learn_as_the_whole_batch_and_validate_by_themselves(tmp_path):
    # Fresh processes: a fork of one in which OpenMP has run hangs in its first parallel loop.
    torch.multiprocessing.start_processes(
        _compute_own_half, args=(str(tmp_path),), nprocs=NUM_PROCESSES, start_method="spawn"
    )
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(NUM_PROCESSES)]
    logits, target = uneven_batch()
    for name, loss in losses().items():
        value, whole = value_and_gradient(loss, logits, target)
        for result in found:
            torch.testing.assert_close(result[name]["value"], value, atol=1e-7, rtol=1e-6)
        # What reaches the weights is the mean over the processes, so each half carries twice its part of the gradient.
        gradient = torch.cat([result[name]["gradient"] for result in found]) / NUM_PROCESSES
        torch.testing.assert_close(gradient, whole, atol=1e-9, rtol=1e-5)
        first = (part.chunk(NUM_PROCESSES)[0] for part in (logits, target))
        assert torch.equal(found[0][name]["alone"], loss.eval()(*first))
        assert not torch.isclose(found[0][name]["alone"], found[0][name]["value"])
