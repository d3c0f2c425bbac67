from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor, nn

from clothseg.labels import IGNORED_ID
from clothseg.model.batch_sums import num_sharing, over_processes
from clothseg.model.dice_focal import DiceFocalLoss
from clothseg.model.loss import DiceCrossEntropyLoss
from tests.conftest import HANG_SECONDS

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
        timeout=timedelta(seconds=HANG_SECONDS),
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


@pytest.fixture
def group_of_one(tmp_path: Path) -> Iterator[None]:
    """A process group with this process alone, in which a sum over processes is the own part."""
    where = f"file://{tmp_path}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=where, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("group_of_one")
def test_sums_keep_their_shapes_and_types() -> None:
    sums = (torch.tensor([1.5, 2.5], dtype=torch.float64), torch.tensor([[3], [2**40]]), torch.tensor(0.25))
    for one, before in zip(over_processes(sums, num_processes=2), sums, strict=True):
        assert one.dtype == before.dtype
        assert torch.equal(one, before)


@pytest.mark.usefixtures("group_of_one")
@pytest.mark.parametrize("name", ["dice-ce", "dice-focal"])
def test_a_gradient_of_several_processes_is_what_their_mean_needs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, target = batch()
    found = []
    for number in (1, 3):
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda number=number: number)
        assert num_sharing(is_training=True) == number
        assert num_sharing(is_training=False) == 1
        own = logits.clone().requires_grad_()
        value = losses()[name](own, target)
        value.backward()
        found.append((value.detach(), own.grad))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], 3 * found[0][1])


@pytest.mark.processes
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


@pytest.mark.processes
@pytest.mark.parametrize("name", ["dice-ce", "dice-focal"])
def test_validation_is_of_the_own_batch(name: str, of_processes: list[dict[str, dict[str, Tensor]]]) -> None:
    logits, target = (part.chunk(NUM_PROCESSES)[0] for part in batch())
    assert torch.equal(of_processes[0][name]["alone"], losses()[name](logits, target))
    assert not torch.isclose(of_processes[0][name]["alone"], of_processes[0][name]["value"])
