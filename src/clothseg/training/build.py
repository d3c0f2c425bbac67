"""The data and the model that the settings ask for."""

from __future__ import annotations

from lightning.pytorch import seed_everything

from clothseg.data.loading.datamodule import ClothSegmentationData
from clothseg.data.manifest import Manifest
from clothseg.errors import SettingError
from clothseg.labels import load_classes
from clothseg.model.lightning import ClothSegmentationModel
from clothseg.settings import Settings


def build_data(settings: Settings) -> ClothSegmentationData:
    """Return the batches of the prepared data set.

    Raises:
        MissingInputError, DataError: there is no data set, or it is damaged.
        SettingError: `classes` asks for other classes than the data set was prepared with.
    """
    data = ClothSegmentationData(
        settings.data_path,
        img_size=settings.img_size,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        seed=settings.seed,
    )
    check_classes(settings, data.manifest)
    return data


def check_classes(settings: Settings, manifest: Manifest) -> None:
    """Refuse classes that were asked for and are not those of the data set, which holds masks of its own only.

    The default asks for nothing, so that a data set with classes of its own trains without naming them again.

    Raises:
        SettingError: the classes differ.
    """
    if settings.classes != Settings.classes and load_classes(settings.classes) != manifest.classes:
        raise SettingError(
            f"CLASSES is {settings.classes}, but the data set {manifest.name} in {settings.data_path} was prepared "
            f"with {len(manifest.classes)} other classes ({', '.join(manifest.classes.names[:4])}, …). "
            f'Run "uv run data_prep.py --classes {settings.classes}" first, or leave CLASSES at {Settings.classes}'
        )


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
        image_size=settings.img_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup=settings.warmup,
        training_data=data.manifest.summary(),
    )
