"""The data and the model that the settings ask for."""

from __future__ import annotations

from lightning.pytorch import seed_everything

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.model.module import ClothSegmentationModel
from clothseg.settings import Settings


def build_data(settings: Settings) -> ClothSegmentationData:
    """Return the batches of the prepared or packed data set.

    Raises:
        MissingInputError, DataError: there is no data set, or it is damaged.
    """
    return ClothSegmentationData.from_settings(settings)


def build_model(
    settings: Settings, data: ClothSegmentationData, *, with_weights: bool = True
) -> ClothSegmentationModel:
    """Return a model for the classes of `data`, its new weights drawn from the setting SEED.

    Args:
        settings: which network, and how it learns.
        data: what it is to learn.
        with_weights: start the encoder as ENCODER_WEIGHTS says; a training that is resumed needs it not, nor the
            internet, as its weights come from the checkpoint.

    Raises:
        SettingError, ModelError, MachineError: an unknown network, or weights that are not to be had.
    """
    seed_everything(settings.seed, workers=True, verbose=False)
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
