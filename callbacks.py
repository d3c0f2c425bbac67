"""4. What watches the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clothseg.settings import Settings

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


def build_callbacks(settings: Settings) -> list[Callback]:
    """Return the progress bar, the logs, early stopping and the checkpoints; add your own to the list."""
    from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor

    from clothseg.training.averaging import AveragedWeights
    from clothseg.training.callbacks import Messages, PredictionPictures, Progress
    from clothseg.training.checkpoints import Checkpoints

    callbacks: list[Callback] = [
        Progress(),
        Messages(),
        LearningRateMonitor(logging_interval="step"),
        PredictionPictures(),
    ]
    if settings.averaging:
        callbacks.append(AveragedWeights(settings.averaging))
    if settings.patience:
        callbacks.append(EarlyStopping("val_loss", patience=settings.patience))
    return [*callbacks, Checkpoints(settings.checkpoints_path)]
