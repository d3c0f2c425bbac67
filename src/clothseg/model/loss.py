"""Half Dice, half focal loss: smp's values from one pass over all classes at once."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clothseg.labels import IGNORED_ID

_GAMMA = 2
"""Exponent of the focal loss. Source: Lin et al., Focal Loss for Dense Object Detection, 2017, and smp's default."""

_SMALLEST = 1e-7
"""Keeps the Dice of a class that is nowhere from dividing by zero. Source: smp.losses.DiceLoss."""


class DiceFocalLoss(nn.Module):
    """Half Dice, half focal loss over the pixels that are not ignored.

    The value is that of `0.5 * smp.losses.DiceLoss("multiclass") + 0.5 * smp.losses.FocalLoss("multiclass")`, both with
    `ignore_index=255`, and so is the gradient: a class absent from the batch adds 0 to the Dice part, and the focal
    part is one class against the rest, by sigmoid. Where smp loops over the classes, this looks at all of them at once.
    A batch without a pixel to learn from gives 0; smp gives NaN.
    """

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch, a float32 scalar.

        Args:
            logits: (B, C, H, W), any floating type; computed in float32 even under autocast, as bfloat16 cannot sum
                this many pixels.
            target: (B, H, W) uint8 or int64, class ids; `IGNORED_ID` is left out.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            class_ids = torch.arange(logits.shape[1], dtype=target.dtype, device=target.device)
            is_class = target.unsqueeze(1) == class_ids.view(1, -1, 1, 1)
            is_counted = (target != IGNORED_ID).unsqueeze(1)
            return 0.5 * _dice_loss(logits, is_class, is_counted) + 0.5 * _focal_loss(logits, is_class, is_counted)


def _dice_loss(logits: Tensor, is_class: Tensor, is_counted: Tensor) -> Tensor:
    """Return the mean over classes of 1 - Dice over the whole batch, 0 for classes that are nowhere in it.

    Args:
        logits: (B, C, H, W) float32.
        is_class: (B, C, H, W) bool, the target as one plane per class.
        is_counted: (B, 1, H, W) bool, False where the target is ignored.
    """
    probability = logits.softmax(dim=1)
    overlap = (probability * is_class).sum((0, 2, 3))
    predicted = (probability * is_counted).sum((0, 2, 3))
    present = is_class.sum((0, 2, 3))
    dice = 2 * overlap / (predicted + present).clamp_min(_SMALLEST)
    return ((1 - dice) * (present > 0)).mean()


def _focal_loss(logits: Tensor, is_class: Tensor, is_counted: Tensor) -> Tensor:
    """Return the mean over counted pixels and classes of the one-against-the-rest focal loss.

    With z the logit, its sign turned where the class is the true one, cross-entropy is softplus(z) and the probability
    of the wrong answer sigmoid(z): one formula for both sides. Arguments as of `_dice_loss`.
    """
    against = torch.where(is_class, -logits, logits)
    loss = against.sigmoid().pow(_GAMMA) * F.softplus(against)
    return (loss * is_counted).sum() / (is_counted.sum().clamp_min(1) * logits.shape[1])
