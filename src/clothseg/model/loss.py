"""The losses: half Dice and half cross-entropy or focal loss, of the batch of all processes together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as distributed
import torch.nn.functional as F
from torch import Tensor, nn

from clothseg.labels import IGNORED_ID

_SMALLEST = 1e-7
"""Prevents a division by zero in the Dice of an absent class. Source: smp.losses.DiceLoss."""


class DiceCrossEntropyLoss(nn.Module):
    """Half Dice, half cross-entropy over the pixels that are not ignored.

    The Dice part is the mean of 1 - 2 |A ∩ B| / (|A| + |B|) over the classes that the batch shows, each taken over the
    whole batch; the other part is the weighted mean of minus the logarithm of the true class's probability.
    A batch in which every pixel is ignored gives 0.

    In a training on several processes the batch is that of all of them together: each returns its loss, and a gradient
    whose mean over the processes, which is what Lightning's strategies take, is its gradient.

    Args:
        weights: (C,) how much a pixel of each class counts in the cross-entropy; None: all the same.
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
        with torch.autocast(logits.device.type, enabled=False):
            log_probability = logits.float().log_softmax(dim=1)
            entropy = F.nll_loss(log_probability, target.long(), self.weights, ignore_index=IGNORED_ID, reduction="sum")
            parts = (*_dice_parts(log_probability.exp(), target), entropy)
            overlap, predicted, present, entropy = sum_over_processes(parts, num_sharing(is_training=self.training))
            weight = present.sum() if self.weights is None else (present * self.weights).sum()
            is_present = present > 0
            dice = (_dice_losses(overlap, predicted, present) * is_present).sum() / is_present.sum().clamp_min(1)
            return (0.5 * dice + 0.5 * entropy / weight.clamp_min(_SMALLEST)).float()


class DiceFocalLoss(nn.Module):
    """Half Dice, half focal loss over the pixels that are not ignored.

    The value is that of `0.5 * smp.losses.DiceLoss("multiclass") + 0.5 * smp.losses.FocalLoss("multiclass")`, both with
    `ignore_index=255`: a class absent from the batch adds 0 to the Dice part, and the focal part is one class against
    the rest, by sigmoid, with gamma 2. smp goes through the classes one by one, which takes twice the time.

    A batch in which every pixel is ignored gives 0; smp gives NaN. Several processes share a batch as in
    `DiceCrossEntropyLoss`.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch; arguments and result are those of `DiceCrossEntropyLoss.forward`."""
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            is_counted = (target != IGNORED_ID).unsqueeze(1)
            truth = _one_hot(target, logits.shape[1])
            entropy = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
            focal = ((1 - (-entropy).exp()).square() * entropy * is_counted).sum()
            parts = (*_dice_parts(logits.softmax(dim=1), target), focal)
            overlap, predicted, present, focal = sum_over_processes(parts, num_sharing(is_training=self.training))
            dice = (_dice_losses(overlap, predicted, present) * (present > 0)).mean()
            return (0.5 * dice + 0.5 * focal / (present.sum().clamp_min(1) * logits.shape[1])).float()


def build_loss(name: str, class_weights: Sequence[float] | None = None) -> nn.Module:
    """Return a loss of `clothseg.settings.LOSSES` by its name; the focal loss has no class weights."""
    return DiceFocalLoss() if name == "dice-focal" else DiceCrossEntropyLoss(class_weights)


def _one_hot(target: Tensor, num_classes: int) -> Tensor:
    """Return (B, C, H, W) bool: a plane per class, False in all of them where the pixel is ignored."""
    class_ids = torch.arange(num_classes, dtype=target.dtype, device=target.device).view(1, -1, 1, 1)
    return target.unsqueeze(1) == class_ids


def _dice_parts(probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, of each class, the probability at its own pixels and at all that count, and the number of its pixels."""
    truth = _one_hot(target, probability.shape[1])
    is_counted = (target != IGNORED_ID).unsqueeze(1)
    dims = (0, 2, 3)
    return (probability * truth).sum(dims), (probability * is_counted).sum(dims), truth.sum(dims)


def _dice_losses(overlap: Tensor, predicted: Tensor, present: Tensor) -> Tensor:
    return 1 - 2 * overlap / (predicted + present).clamp_min(_SMALLEST)


def num_sharing(*, is_training: bool) -> int:
    """Return how many processes share a batch: all in training, and 1 in validation.

    In validation processes may have different numbers of batches, and the one with more would wait forever.
    """
    is_shared = is_training and distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_shared else 1


def sum_over_processes(parts: tuple[Tensor, ...], num_processes: int) -> tuple[Tensor, ...]:
    """Return each of `parts` summed over the processes that share the batch, in float64; shapes stay.

    The gradient of a sum is `num_processes` times that of this process's part, so that the mean over the processes is
    the gradient of the whole. All parts go in one float64 vector, in which counts are exact up to 2⁵³: many small
    messages cost more than one. Every process must call this with parts of the same shapes.
    """
    own = torch.cat([part.reshape(-1).double() for part in parts])
    if num_processes > 1:
        total = own.detach().clone()
        distributed.all_reduce(total)
        scaled = num_processes * own
        own = scaled + (total - scaled).detach()
    sums = own.split_with_sizes([part.numel() for part in parts])
    return tuple(one.view_as(part) for one, part in zip(sums, parts, strict=True))
