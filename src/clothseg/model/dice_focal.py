"""Half Dice, half focal loss: smp's values from all classes at once, a cacheful of pixels at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from clothseg.labels import IGNORED_ID
from clothseg.model.batch_sums import num_sharing, over_processes

_SMALLEST = 1e-7
"""Keeps the Dice of a class that is nowhere from dividing by zero. Source: smp.losses.DiceLoss."""

_PIECE = {"cpu": 1 << 17, "other": 1 << 26}
"""Logits looked at in one go: half a megabyte stays in a core's cache; a GPU wants much at once, but not all."""

Piece = tuple[slice, slice, slice, slice]


class DiceFocalLoss(nn.Module):
    """Half Dice, half focal loss over the pixels that are not ignored.

    The value is that of `0.5 * smp.losses.DiceLoss("multiclass") + 0.5 * smp.losses.FocalLoss("multiclass")`, both with
    `ignore_index=255`, and so is the gradient: a class absent from the batch adds 0 to the Dice part, and the focal
    part is one class against the rest, by sigmoid, with gamma 2.
    A batch without a pixel to learn from gives 0; smp gives NaN.

    In a training on several processes the batch is that of all of them together: each returns its loss, and a gradient
    whose mean over the processes, which is what Lightning's strategies take, is its gradient.

    smp goes through the classes one by one and keeps a dozen tensors of the logits' size for the backward pass. This
    keeps none: the gradient follows from the logits and a few sums per class.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a float32 scalar.

        Args:
            logits: (B, C, H, W), any floating type; computed in float32 even under autocast, as bfloat16 cannot sum
                this many pixels.
            target: (B, H, W) uint8 or int64, class ids; `IGNORED_ID` is left out.
        """
        with torch.autocast(logits.device.type, enabled=False):
            loss: Tensor = _DiceFocal.apply(logits, target, num_sharing(is_training=self.training))
        return loss


class _DiceFocal(torch.autograd.Function):
    """The loss and its gradient.

    With z a logit, its sign turned where the class is the true one, cross-entropy against the rest is softplus(z) and
    the probability of the wrong answer sigmoid(z): one formula for both sides of the focal loss.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, num_processes: int) -> Tensor:
        num_classes = logits.shape[1]
        # float64 and int64, as a float32 stops counting at 16 million pixels.
        overlap = torch.zeros(num_classes, dtype=torch.float64, device=logits.device)
        predicted, focal = torch.zeros_like(overlap), torch.zeros_like(overlap[0])
        present = torch.zeros(num_classes, dtype=torch.int64, device=logits.device)
        counted_pixels = torch.zeros_like(present[0])
        for piece in _pieces(logits):
            values, is_class, is_counted = _take(logits, target, piece)
            probability = values.softmax(dim=1).mul_(is_counted)
            predicted += probability.sum((0, 2, 3))
            overlap += probability.mul_(is_class).sum((0, 2, 3))
            present += is_class.sum((0, 2, 3))
            counted_pixels += is_counted.sum()
            against = torch.where(is_class, -values, values)
            wrong = against.sigmoid()
            focal += _entropy(against, wrong).mul_(wrong).mul_(wrong).mul_(is_counted).sum()
        sums = (overlap, predicted, present, focal, counted_pixels)
        overlap, predicted, present, focal, counted_pixels = over_processes(sums, num_processes=num_processes)
        ctx.num_processes = num_processes
        terms = counted_pixels.clamp_min(1) * num_classes
        total = (predicted + present).clamp_min(_SMALLEST)
        ctx.save_for_backward(logits, target, overlap, total, present > 0, terms)
        dice_loss = ((1 - 2 * overlap / total) * (present > 0)).mean()
        return (0.5 * dice_loss + 0.5 * focal / terms).float()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        logits, target, overlap, total, is_present, terms = ctx.saved_tensors
        upstream = upstream * ctx.num_processes  # the mean over processes is then the sum of their parts
        # How the Dice part moves with the probability of a pixel's wrong classes, and of its true one.
        share = 0.5 * upstream * is_present / logits.shape[1]
        by_wrong = (2 * overlap / total.square() * share).float().view(1, -1, 1, 1)
        by_true = by_wrong - (2 / total * share).float().view(1, -1, 1, 1)
        focal_share = (0.5 * upstream / terms).float()
        gradient = torch.empty_like(logits)
        for piece in _pieces(logits):
            values, is_class, is_counted = _take(logits, target, piece)
            probability = values.softmax(dim=1)
            dice = torch.where(is_class, by_true, by_wrong).mul_(probability)
            dice.addcmul_(probability, dice.sum(dim=1, keepdim=True), value=-1)
            against = torch.where(is_class, -values, values)
            wrong = against.sigmoid()
            entropy = _entropy(against, wrong)
            # d/dz of wrong² · entropy = wrong² · (2 · (1 - wrong) · entropy + wrong)
            focal = torch.addcmul(wrong, wrong, entropy, value=-2).add_(entropy, alpha=2)
            focal.mul_(wrong).mul_(wrong).mul_(focal_share)
            gradient[piece] = torch.where(is_class, dice - focal, dice + focal).mul_(is_counted)
        return gradient, None, None


def _entropy(against: Tensor, wrong: Tensor) -> Tensor:
    """Return softplus of `against`, whose sigmoid is `wrong`, as a new tensor.

    softplus(z) = z - log(sigmoid(z)); torch's own takes thirty times as long on a CPU, as its log1p is not vectorised.
    Where z is far below 0 the difference cancels to an error of 1e-6, and is multiplied by the square of `wrong`, which
    is next to 0 there.
    """
    return against - wrong.clamp_min(torch.finfo(wrong.dtype).tiny).log_()


def _pieces(logits: Tensor) -> Iterator[Piece]:
    """Cut (B, C, H, W) into whole photos, or into rows of one where a photo is too large for a piece."""
    batch, num_classes, height, width = logits.shape
    limit = _PIECE["cpu" if logits.device.type == "cpu" else "other"]
    photos = max(1, limit // (num_classes * height * width))
    rows = height if photos > 1 else max(1, min(height, limit // (num_classes * width)))
    for first in range(0, batch, photos):
        for top in range(0, height, rows):
            yield slice(first, first + photos), slice(None), slice(top, top + rows), slice(None)


def _take(logits: Tensor, target: Tensor, piece: Piece) -> tuple[Tensor, Tensor, Tensor]:
    """Return of a piece the logits in float32, the target as one plane per class, and where it counts, (b, 1, h, w)."""
    class_ids = torch.arange(logits.shape[1], dtype=target.dtype, device=target.device).view(1, -1, 1, 1)
    true_class = target[piece[0], piece[2], piece[3]].unsqueeze(1)
    return logits[piece].float(), true_class == class_ids, true_class != IGNORED_ID
