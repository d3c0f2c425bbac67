"""3. Build the network and how it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clothseg.settings import Settings

if TYPE_CHECKING:
    from clothseg.data.datamodule import ClothSegmentationData
    from clothseg.model.module import ClothSegmentationModel


def build_model(
    settings: Settings, data: ClothSegmentationData, *, with_weights: bool = True
) -> ClothSegmentationModel:
    """Return the model that config.py describes: ARCHITECTURE, ENCODER_NAME and DECODER_WIDTH choose the network.

    To train with another loss, set `loss` of the returned model to a module that takes logits, (B, C, H, W), and masks,
    (B, H, W).
    To change a step or the optimizer, return a subclass of `ClothSegmentationModel`.

    Args:
        settings: the values of config.py, and of the flags that override them.
        data: what the model learns from.
        with_weights: whether the encoder starts from ENCODER_WEIGHTS; False where a checkpoint is resumed.
    """
    from clothseg.model.module import ClothSegmentationModel  # imports torch, too slow for --help

    return ClothSegmentationModel.from_settings(settings, data, with_weights=with_weights)
