import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from clothseg.labels import IGNORED_ID
from clothseg.model.metrics import ConfusionMatrix, predicted_classes
from clothseg.scores import Scores, confusion_matrix


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
    return Scores.from_confusion(metric.compute().numpy())


@pytest.mark.parametrize("num_classes", [2, 13, 47])
def test_scores_are_those_of_torchmetrics(num_classes: int) -> None:
    options = {"num_classes": num_classes, "ignore_index": IGNORED_ID, "validate_args": False}
    kinds = {
        "iou": MulticlassJaccardIndex,
        "f1": MulticlassF1Score,
        "precision": MulticlassPrecision,
        "recall": MulticlassRecall,
    }
    theirs = {name: kind(average="none", **options) for name, kind in kinds.items()}
    theirs["accuracy"] = MulticlassAccuracy(average="micro", **options)
    ours, by_numpy = ConfusionMatrix(num_classes), 0
    for logits, target in batches(num_classes):
        ours.update(logits, target)
        by_numpy += confusion_matrix(logits.argmax(1).numpy(), target.numpy(), num_classes)
        for metric in theirs.values():
            metric.update(logits, target.long())
    np.testing.assert_array_equal(ours.compute().numpy(), by_numpy)
    scores = scores_of(ours)
    for name, metric in theirs.items():
        np.testing.assert_allclose(getattr(scores, name), metric.compute().numpy(), rtol=1e-6, err_msg=name)
    assert scores.mean_iou == pytest.approx(float(theirs["iou"].compute().mean()), rel=1e-6)


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


def test_matrices_of_processes_are_summed() -> None:
    alone, first, rest = (ConfusionMatrix(13) for _ in range(3))
    for number, (logits, target) in enumerate(batches(13)):
        for metric in (alone, rest if number else first):
            metric.update(logits, target)
    first.merge_state(rest)
    assert torch.equal(first.compute(), alone.compute())
