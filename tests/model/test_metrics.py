from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from clothseg.labels import IGNORED_ID
from clothseg.model.metrics import ConfusionMatrix, predicted_classes
from clothseg.scores import Scores


def batches(num_classes: int, *, count: int = 3, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for size in range(1, count + 1):
        logits = torch.randn(size, num_classes, 16, 24, generator=generator)
        target = torch.randint(0, num_classes, (size, 16, 24), generator=generator, dtype=torch.uint8)
        target[torch.rand(target.shape, generator=generator) < 0.25] = IGNORED_ID
        made.append((logits, target))
    return made


def scores_of(metric: ConfusionMatrix) -> Scores:
    return Scores.from_confusion(metric.compute().numpy(), [str(one) for one in range(metric.num_classes)])


@pytest.mark.parametrize("num_classes", [2, 13, 47])
def test_scores_are_those_of_torchmetrics(num_classes: int) -> None:
    options = {"num_classes": num_classes, "ignore_index": IGNORED_ID, "validate_args": False}
    ours = ConfusionMatrix(num_classes)
    iou, f1 = (kind(average="none", **options) for kind in (MulticlassJaccardIndex, MulticlassF1Score))
    accuracy = MulticlassAccuracy(average="micro", **options)
    for logits, target in batches(num_classes):
        ours.update(logits, target)
        for theirs in (iou, f1, accuracy):
            theirs.update(logits, target.long())
    scores = scores_of(ours)
    np.testing.assert_allclose(scores.iou, iou.compute().numpy(), rtol=1e-6)
    np.testing.assert_allclose(scores.f1, f1.compute().numpy(), rtol=1e-6)
    assert scores.accuracy == pytest.approx(float(accuracy.compute()), rel=1e-6)
    assert scores.mean_iou == pytest.approx(float(iou.compute().mean()), rel=1e-6)


def test_logits_and_class_ids_give_the_same() -> None:
    ((logits, target),) = batches(13, count=1)
    from_logits, from_ids = ConfusionMatrix(13), ConfusionMatrix(13)
    from_logits.update(logits, target)
    from_ids.update(logits.argmax(dim=1).to(torch.uint8), target.long())
    assert torch.equal(from_logits.compute(), from_ids.compute())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_of_equal_logits_the_lowest_class_wins(memory_format: torch.memory_format) -> None:
    logits = torch.randint(0, 3, (2, 13, 40, 40)).float().contiguous(memory_format=memory_format)
    expected = torch.from_numpy(np.argmax(logits.numpy(), axis=1))
    assert torch.equal(predicted_classes(logits), expected)


def test_padding_is_not_counted() -> None:
    metric = ConfusionMatrix(3)
    target = torch.tensor([[[0, 1, IGNORED_ID, IGNORED_ID]]], dtype=torch.uint8)
    metric.update(torch.tensor([[[0, 2, 2, 0]]]), target)
    assert metric.compute().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_counts_beyond_float32_stay_exact() -> None:
    metric = ConfusionMatrix(2)
    metric.matrix += 2**24
    metric.update(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert metric.compute()[0, 0] == 2**24 + 1


def _count_own_share(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    metric = ConfusionMatrix(13)
    for logits, target in batches(13, count=3)[rank::2]:
        metric.update(logits, target)
    torch.save(metric.compute(), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    # Fresh processes: a fork of one in which OpenMP has run hangs in its first parallel loop.
    torch.multiprocessing.start_processes(_count_own_share, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    alone = ConfusionMatrix(13)
    for logits, target in batches(13, count=3):
        alone.update(logits, target)
    for rank in range(2):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt"), alone.compute())
