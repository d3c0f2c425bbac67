"""4. Build the callbacks that observe the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clothseg.settings import Settings

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


def build_callbacks(settings: Settings) -> list[Callback]:
    """Return the library's callbacks: progress, logs, pictures, averaged weights, early stopping and checkpoints.

    Add callbacks of Lightning or your own to `more`. To stop early by another score than `val_loss`, set PATIENCE to 0
    in config.py and add `EarlyStopping("val_iou", mode="max", patience=10)` of `lightning.pytorch.callbacks`.
    """
    from clothseg.training import callbacks as library  # imports torch, too slow for --help

    more: list[Callback] = []
    return [*library.build_callbacks(settings), *more]
