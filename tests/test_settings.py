from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

import config
from clothseg.errors import SettingError
from clothseg.settings import OFFICIAL_SOURCE, Settings


def module(**values: object) -> ModuleType:
    made = ModuleType("config")
    vars(made).update(values)
    return made


def test_config_names_every_setting_with_its_default():
    assert Settings.from_module(config) == Settings()
    assert {name for name in vars(config) if name.isupper()} == {field.name.upper() for field in fields(Settings)}


def test_the_settings_of_the_seed():
    settings = Settings.from_module(config)
    assert (settings.batch_size, settings.img_size, settings.encoder_name) == (32, 512, "mit_b1")
    assert (settings.encoder_weights, settings.data_path, settings.source) == (
        "imagenet",
        Path("data"),
        OFFICIAL_SOURCE,
    )


def test_other_names_in_a_config_are_left_alone():
    assert Settings.from_module(module(helper=3, EPOCHS=2)).epochs == 2


def test_an_unknown_setting_lists_the_nearest():
    with pytest.raises(SettingError, match=r"Unknown setting BATCHSIZE.*BATCH_SIZE"):
        Settings.from_module(module(BATCHSIZE=8))


@pytest.mark.parametrize("value", [None, "none", "None"])
def test_encoder_weights_none(value):
    assert Settings(encoder_weights=value).encoder_weights is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("img_size", 500),
        ("img_size", 0),
        ("img_size", "512"),
        ("crop_size", 300),
        ("crop_size", (320, 300)),
        ("crop_size", (320, 320, 320)),
        ("batch_size", 0),
        ("batch_size", True),
        ("batch_size", 2.5),
        ("num_workers", -1),
        ("epochs", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("decoder_width", 0.3),
        ("decoder_width", "0.5"),
        ("encoder_rate", 0),
        ("encoder_rate", 1.5),
        ("warmup", 1),
        ("precision", "fp8"),
        ("strategy", "fsdp"),
        ("strategy", "ddp_spawn"),
        ("accelerator", "tpu"),
        ("devices", 0),
        ("encoder_weights", ""),
        ("encoder_name", None),
        ("data_path", 3),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name, value):
    with pytest.raises(SettingError, match=f"{name.upper()} is .*Allowed: "):
        Settings(**{name: value})


def test_a_crop_has_one_side_or_two():
    assert [Settings(crop_size=size).crop_size for size in (None, 320, (448, 320))] == [None, 320, (448, 320)]


def test_plain_values():
    values = Settings(data_path="here").to_dict()
    assert values["data_path"] == "here"
    assert Settings(**values) == Settings(data_path=Path("here"))


def test_a_strategy_that_would_split_the_model_names_those_that_do_not():
    with pytest.raises(SettingError, match=r"STRATEGY is 'fsdp'\. Allowed: auto, ddp, ddp_find_unused_parameters_true"):
        Settings(strategy="fsdp")
