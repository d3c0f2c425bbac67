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
    """Return a U-Net for the classes of `data`; a training that is resumed needs no encoder weights."""
    from clothseg.model.module import ClothSegmentationModel

    return ClothSegmentationModel(
        data.classes,
        architecture=settings.architecture,
        encoder_name=settings.encoder_name,
        encoder_weights=settings.encoder_weights if with_weights else None,
        decoder_width=settings.decoder_width,
        image_size=settings.img_size,
        loss=settings.loss,
        class_weights=data.class_weights(settings.class_balance),
        learning_rate=settings.learning_rate,
        encoder_rate=1.0 if settings.encoder_weights is None else settings.encoder_rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        training_data=data.manifest.summary(),
    )
