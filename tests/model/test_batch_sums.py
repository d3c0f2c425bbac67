from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn

from clothseg.labels import IGNORED_ID
from clothseg.model.dice_cross_entropy import DiceCrossEntropyLoss
from clothseg.model.dice_focal import DiceFocalLoss

NUM_PROCESSES = 2


def losses() -> dict[str, nn.Module]:
    return {"dice-ce": DiceCrossEntropyLoss((1.0, 0.5, 2.0, 3.0, 1.0)), "dice-focal": DiceFocalLoss()}


def batch() -> tuple[Tensor, Tensor]:
    """Four photos whose halves differ: classes 3 and 4 are in one half only, and most of the other is ignored."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 5, 12, 16, generator=generator)
    target = torch.randint(0, 3, (4, 12, 16), generator=generator, dtype=torch.uint8)
    target[0, :4], target[1, 5:8] = 3, 4
    target[2:, 2:] = IGNORED_ID
    return logits, target


def _compute_own_half(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=NUM_PROCESSES,
        timeout=timedelta(seconds=60),
    )
    logits, target = (part.chunk(NUM_PROCESSES)[rank] for part in batch())
    results = {}
    for name, loss in losses().items():
        own = logits.clone().requires_grad_()
        value = loss(own, target)
        value.backward()
        # A process that scores one more batch than the others must not wait for them.
        alone = loss.eval()(logits, target) if rank == 0 else None
        results[name] = {"value": value.detach(), "gradient": own.grad, "alone": alone}
    torch.save(results, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("processes")
    # Fresh processes: a fork of one in which OpenMP has run hangs in its first parallel loop.
    torch.multiprocessing.start_processes(
        _compute_own_half, args=(str(folder),), nprocs=NUM_PROCESSES, start_method="spawn"
    )
    return [torch.load(folder / f"{rank}.pt") for rank in range(NUM_PROCESSES)]


@pytest.mark.parametrize("name", ["dice-ce", "dice-focal"])
def test_halves_learn_as_the_whole_batch(name: str, of_processes: list[dict[str, dict[str, Tensor]]]) -> None:
    logits, target = batch()
    whole = logits.clone().requires_grad_()
    value = losses()[name](whole, target)
    value.backward()
    for result in of_processes:
        torch.testing.assert_close(result[name]["value"], value.detach(), atol=1e-7, rtol=1e-6)
    # What reaches the weights is the mean over the processes, so each half carries twice its part of the gradient.
    gradient = torch.cat([result[name]["gradient"] for result in of_processes]) / NUM_PROCESSES
    torch.testing.assert_close(gradient, whole.grad, atol=1e-9, rtol=1e-5)


@pytest.mark.parametrize("name", ["dice-ce", "dice-focal"])
def test_validation_is_of_the_own_batch(name: str, of_processes: list[dict[str, dict[str, Tensor]]]) -> None:
    logits, target = (part.chunk(NUM_PROCESSES)[0] for part in batch())
    assert torch.equal(of_processes[0][name]["alone"], losses()[name](logits, target))
    assert not torch.isclose(of_processes[0][name]["alone"], of_processes[0][name]["value"])
