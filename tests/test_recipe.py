"""The recipe at the root and the library's own composition build the same training."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import seed_everything

import callbacks
import loader
import model
from clothseg.errors import SettingError
from clothseg.settings import Settings
from clothseg.training import build
from clothseg.training.callbacks import build_callbacks
from tests.training.conftest import write_data


@pytest.fixture
def settings(tmp_path):
    write_data(tmp_path, train=4, val=2)
    return Settings(data_path=tmp_path, encoder_name="tu-test_resnet", encoder_weights=None, img_size=64, batch_size=2)


def test_recipe_and_library_build_the_same_model(settings):
    data = loader.build_data(settings)
    seed_everything(settings.seed, workers=True, verbose=False)
    recipe = model.build_model(settings, data)
    library = build.build_model(settings, build.build_data(settings))
    assert recipe.hparams == library.hparams
    assert recipe.description == library.description
    for name, weights in library.state_dict().items():
        torch.testing.assert_close(recipe.state_dict()[name], weights, rtol=0, atol=0)


def test_recipe_and_library_load_the_same_batches(settings):
    ours, theirs = (
        next(iter(one.train_dataloader())) for one in (loader.build_data(settings), build.build_data(settings))
    )
    assert ours["name"] == theirs["name"]
    torch.testing.assert_close(ours["image"], theirs["image"], rtol=0, atol=0)


@pytest.mark.parametrize("patience", [0, 3])
def test_recipe_and_library_watch_with_the_same_callbacks(patience):
    settings = Settings(patience=patience)
    kinds = [
        sorted(type(one).__name__ for one in built(settings)) for built in (callbacks.build_callbacks, build_callbacks)
    ]
    assert kinds[0] == kinds[1]
    assert ("EarlyStopping" in kinds[0]) == (patience > 0)


def test_an_unknown_encoder_is_refused_with_the_nearest(settings):
    data = loader.build_data(settings)
    with pytest.raises(SettingError, match="resnet34"):
        model.build_model(replace(settings, encoder_name="resnet43"), data)
