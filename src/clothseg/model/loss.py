"""Half Dice, half cross-entropy: each pixel's classes compete, and rare classes may count more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from clothseg.labels import IGNORED_ID
from clothseg.model.batch_sums import num_sharing, over_processes

_SMALLEST = 1e-7
"""Keeps the Dice of a class that is nowhere from dividing by zero."""

_PIECE = {"cpu": 1 << 17, "other": 1 << 26}
"""Logits looked at in one go: half a megabyte stays in a core's cache; a GPU wants much at once, but not all."""


class DiceCrossEntropyLoss(nn.Module):
    """Half Dice, half cross-entropy over the pixels that are not ignored.

    The Dice part is the mean of 1 - 2 |A ∩ B| / (|A| + |B|) over the classes that the batch shows, each taken over the
    whole batch; the other part is the weighted mean of minus the logarithm of the true class's probability.
    A batch without a pixel to learn from gives 0.

    In a training on several processes the batch is that of all of them together: each returns its loss, and a gradient
    whose mean over the processes, which is what Lightning's strategies take, is its gradient.

    Nothing of the logits' size is kept for the backward pass: the gradient follows from the logits and a few sums per
    class.

    Args:
        weights: (C,) how much a pixel of each class counts in the cross-entropy; None counts all alike.
    """

    weights: Tensor | None

    def __init__(self, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        values = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("weights", values, persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a float32 scalar.

        Args:
            logits: (B, C, H, W), any floating type; computed in float32 even under autocast, as bfloat16 cannot sum
                this many pixels.
            target: (B, H, W) uint8 or int64, class ids; `IGNORED_ID` is left out.
        """
        weights = torch.ones(logits.shape[1], device=logits.device) if self.weights is None else self.weights
        with torch.autocast(logits.device.type, enabled=False):
            loss: Tensor = _DiceCrossEntropy.apply(logits, target, weights, num_sharing(is_training=self.training))
        return loss


class _DiceCrossEntropy(torch.autograd.Function):
    """The loss and its gradient, over pieces of a photo as (C, n): a plane for each class, its pixels in a row."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, weights: Tensor, num_processes: int) -> Tensor:
        num_classes = logits.shape[1]
        # float64 and int64, as a float32 stops counting at 16 million pixels.
        overlap = torch.zeros(num_classes, dtype=torch.float64, device=logits.device)
        predicted, entropy = torch.zeros_like(overlap), torch.zeros_like(overlap[0])
        present = torch.zeros(num_classes, dtype=torch.int64, device=logits.device)
        for photo, rows in _pieces(logits):
            is_counted, true_class = _truth(target[photo, rows])
            probability = _planes(logits[photo, :, rows]).log_softmax(dim=0)
            at_truth = probability.gather(0, true_class.unsqueeze(0)).squeeze(0)
            entropy -= (at_truth * weights[true_class]).mul_(is_counted).sum()
            # A matrix product sums the planes, and leaves out what is not counted.
            predicted += probability.exp_() @ is_counted.float()
            overlap += torch.bincount(true_class, at_truth.exp_().mul_(is_counted), minlength=num_classes)
            present += torch.bincount(true_class[is_counted], minlength=num_classes)
        sums = (overlap, predicted, present, entropy)
        overlap, predicted, present, entropy = over_processes(sums, num_processes=num_processes)
        ctx.num_processes = num_processes
        weight = (present * weights).sum().clamp_min(_SMALLEST)
        total = (predicted + present).clamp_min(_SMALLEST)
        ctx.save_for_backward(logits, target, weights, overlap, total, present > 0, weight)
        dice_loss = ((1 - 2 * overlap / total) * (present > 0)).sum() / (present > 0).sum().clamp_min(1)
        return (0.5 * dice_loss + 0.5 * entropy / weight).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        logits, target, weights, overlap, total, is_present, weight = ctx.saved_tensors
        upstream = upstream * ctx.num_processes  # the mean over processes is then the sum of their parts
        share = 0.5 * upstream * is_present / is_present.sum().clamp_min(1)
        # How the Dice part moves with the probability of a pixel's wrong classes, and of its true one beyond that.
        by_wrong = (2 * overlap / total.square() * share).float()
        by_true = -(2 / total * share).float()
        entropy_share = (0.5 * upstream / weight).float() * weights
        gradient = torch.empty_like(logits)
        for photo, rows in _pieces(logits):
            is_counted, true_class = _truth(target[photo, rows])
            probability = _planes(logits[photo, :, rows]).softmax(dim=0)
            at_truth = probability.gather(0, true_class.unsqueeze(0)).squeeze(0)
            true_gain = by_true[true_class] * at_truth
            pull = entropy_share[true_class]
            # d/dz_c of Dice is p_c (d_c - sum over k of p_k d_k); of cross-entropy, p_c - [c is the true class].
            drift = pull - by_wrong @ probability - true_gain
            part = (by_wrong.unsqueeze(1) + drift).mul_(probability)
            part.scatter_add_(0, true_class.unsqueeze(0), (true_gain - pull).unsqueeze(0))
            gradient[photo, :, rows] = part.mul_(is_counted).view_as(logits[photo, :, rows])
        return gradient, None, None, None


def _pieces(logits: Tensor) -> Iterator[tuple[int, slice]]:
    """Cut (B, C, H, W) into rows of one photo each."""
    batch, num_classes, height, width = logits.shape
    limit = _PIECE["cpu" if logits.device.type == "cpu" else "other"]
    step = max(1, limit // (num_classes * width))
    return ((photo, slice(top, top + step)) for photo in range(batch) for top in range(0, height, step))


def _planes(logits: Tensor) -> Tensor:
    """Return the logits of some rows, (C, h, w) in any layout, as (C, h * w) float32 with each plane in one piece."""
    return logits.contiguous().view(len(logits), -1).float()


def _truth(target: Tensor) -> tuple[Tensor, Tensor]:
    """Return which pixels count, (n,) bool, and their classes, (n,) int64, 0 where they do not."""
    classes = target.reshape(-1)
    is_counted = classes != IGNORED_ID
    return is_counted, torch.where(is_counted, classes, 0).long()
