"""What a training left behind, and how it is told."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clothseg.labels import ClassList


@dataclass(frozen=True)
class FitResult:
    """What a training left behind."""

    best_path: Path | None
    """Checkpoint with the lowest `val_loss`; None if no epoch was completed."""
    last_path: Path
    """Checkpoint to resume from."""
    scores: Mapping[str, float]
    """Validation scores of the best checkpoint by their name in TensorBoard; absent classes are not among them."""
    epochs: int
    """Epochs completed, those before a resume counted."""
    is_main_process: bool
    """True for the one of several processes that may print."""


def print_result(result: FitResult, classes: ClassList) -> None:
    """Print the best checkpoint, its scores and the next command on stdout, once for all processes."""
    if not result.is_main_process:
        return
    if result.best_path is None:
        print(f"No epoch was completed. Go on with: uv run train.py --ckpt {shlex.quote(str(result.last_path))}")
        return
    scores = result.scores
    width = max(len(name) for name in classes.names)
    print(f"\nIoU per class on the validation photos, best of {result.epochs} epochs:")
    for name in classes.names:
        iou = scores.get(f"val_iou/{name}", math.nan)
        print(f"  {name:<{width}}  {'absent' if math.isnan(iou) else f'{iou:.4f}'}")
    means = (f"{name} {scores[name]:.4f}" for name in ("val_loss", "val_iou", "val_f1", "val_acc") if name in scores)
    print("  ".join(means))
    print(f"Best checkpoint: {result.best_path}")
    print(f"Next: uv run infer.py PHOTO --ckpt {shlex.quote(str(result.best_path))}")
