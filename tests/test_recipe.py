"""The recipe at the root and the library's own composition build the same training."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import seed_everything

import callbacks
import loader
import model
from clothseg.errors import SettingError
from clothseg.model.network import build_network
from clothseg.settings import Settings
from clothseg.training import build
from clothseg.training.callbacks import build_callbacks
from tests.training.conftest import write_data


@pytest.fixture
def settings(tmp_path):
    write_data(tmp_path, train=4, val=2)
    return Settings(data_path=tmp_path, encoder_name="tu-test_resnet", encoder_weights=None, img_size=64, batch_size=2)


class Watched:
    """Settings that remember which of them were asked for."""

    def __init__(self, settings):
        self.settings, self.asked = settings, set()

    def __getattr__(self, name):
        self.asked.add(name)
        return getattr(self.settings, name)


def test_recipe_and_library_heed_the_same_settings(settings):
    data = loader.build_data(settings)
    recipe, library = Watched(settings), Watched(settings)
    model.build_model(recipe, data)
    build.build_model(library, data)
    assert recipe.asked | {"seed"} == library.asked  # train.py of the recipe sets the seed itself


def test_recipe_and_library_build_the_same_model(settings, tmp_path):
    encoder = build_network(settings.architecture, settings.encoder_name, encoder_weights=None, num_classes=2)
    torch.save(encoder.network.get_submodule("encoder").state_dict(), tmp_path / "weights.pth")
    settings = replace(
        settings,
        encoder_weights=str(tmp_path / "weights.pth"),
        encoder_rate=0.3,
        decoder_width=0.5,
        class_balance=0.2,
        learning_rate=0.02,
        warmup=0.2,
    )
    data = loader.build_data(settings)
    seed_everything(settings.seed, workers=True, verbose=False)
    recipe = model.build_model(settings, data)
    library = build.build_model(settings, build.build_data(settings))
    assert recipe.hparams == library.hparams
    assert (recipe.hparams["encoder_rate"], recipe.hparams["decoder_width"]) == (0.3, 0.5)
    assert recipe.description == library.description
    assert recipe.description.decoder_width == 0.5
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
