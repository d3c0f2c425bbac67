"""The recipe at the root builds with the library, and shows where to change what is built."""

from dataclasses import replace

import pytest
import segmentation_models_pytorch as smp
from lightning.pytorch.callbacks import EarlyStopping

import callbacks
import loader
import model
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.errors import SettingError
from clothseg.labels import IGNORED_ID
from clothseg.settings import Settings
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import fit
from tests.training.conftest import write_data


@pytest.fixture
def settings(tmp_path):
    write_data(tmp_path, train=4, val=2)
    return Settings(
        data_path=tmp_path,
        encoder_name="tu-test_resnet",
        encoder_weights=None,
        decoder_width=0.25,
        img_size=64,
        batch_size=2,
        num_workers=0,
        epochs=1,
        accelerator="cpu",
        checkpoints_path=tmp_path / "checkpoints",
        logs_path=tmp_path / "logs",
    )


def test_a_changed_loss_and_an_added_callback_train_as_the_recipe_says(settings):
    settings = replace(settings, epochs=9, patience=0, learning_rate=1e-9)
    data = loader.build_data(settings)
    assert isinstance(data, ClothSegmentationData)
    network = model.build_model(settings, data)
    network.loss = smp.losses.LovaszLoss("multiclass", ignore_index=IGNORED_ID)
    added = EarlyStopping("val_iou", mode="max", patience=1)
    result = fit(network, data, settings=settings, callbacks=[*callbacks.build_callbacks(settings), added])
    assert result.epochs < settings.epochs
    assert result.best_path.is_file()


def test_patience_decides_on_early_stopping(settings):
    for patience in (0, 3):
        kinds = [
            [type(one) for one in built(replace(settings, patience=patience))]
            for built in (callbacks.build_callbacks, build_callbacks)
        ]
        assert kinds[0] == kinds[1]
        assert (EarlyStopping in kinds[0]) == (patience > 0)


def test_an_unknown_encoder_is_refused_with_the_nearest(settings):
    data = loader.build_data(settings)
    with pytest.raises(SettingError, match="resnet34"):
        model.build_model(replace(settings, encoder_name="resnet43"), data)
