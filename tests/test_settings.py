import re
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


def test_encoder_weights_none():
    for value in (None, "none", "None"):
        assert Settings(encoder_weights=value).encoder_weights is None


NAN = float("nan")
EDGES = {
    "data_path": (["data"], ["", 3, None]),
    "shards": ([None, "s3://bucket/x"], ["", 3]),
    "source": (["mirror"], ["", None]),
    "classes": (["groups", Path("mine.yaml")], ["", 13]),
    "img_size": ([32, 4096], [0, 500, 4128, "512"]),
    "crop_size": ([None, 320, (448, 320)], [300, 0, (320, 300), (320, 320, 320)]),
    "batch_size": ([1], [0, True, 2.5]),
    "num_workers": ([None, 0], [-1, 1.5]),
    "architecture": (["fpn"], [""]),
    "encoder_name": (["resnet18"], ["", None]),
    "encoder_weights": ([Path("weights.pth")], ["", 3]),
    "decoder_width": ([0.25, 2], [0.3, "0.5"]),
    "epochs": ([1], [0]),
    "loss": (["dice-focal"], ["focal", 1]),
    "class_balance": ([0, 1], [-0.1, 1.1]),
    "averaging": ([0, 0.9999], [-0.1, 1]),
    "learning_rate": ([1e-9, 1], [0, 1.1, NAN]),
    "encoder_rate": ([1e-9, 1], [0, 1.5]),
    "weight_decay": ([0, 1], [-0.1, 1.1]),
    "warmup": ([0, 0.99], [-0.1, 1]),
    "patience": ([0], [-1]),
    "precision": (["bf16-mixed"], ["fp8"]),
    "accelerator": (["mps"], ["tpu"]),
    "devices": ([None, 1], [0]),
    "num_nodes": ([1], [0]),
    "strategy": (["ddp"], ["fsdp", "ddp_spawn"]),
    "seed": ([0], [-1, 1.5]),
    "checkpoints_path": (["checkpoints"], ["", 3]),
    "logs_path": (["logs"], ["", 3]),
    "checkpoint_path": ([None, "a.ckpt"], ["", 3]),
}
"""Each setting with values at the edge of what is allowed, and values beyond it."""


def test_each_setting_takes_its_edges_and_names_what_is_allowed_beyond_them():
    assert EDGES.keys() == {field.name for field in fields(Settings)}
    wrong = []
    for name, (allowed, refused) in EDGES.items():
        wrong += [
            (name, value)
            for value in allowed
            if getattr(Settings(**{name: value}), name) not in (value, Path(str(value)))
        ]
        for value in refused:
            try:
                Settings(**{name: value})
            except SettingError as error:
                if not re.search(f"^{name.upper()} is .*Allowed: ", str(error)):
                    wrong.append((name, value, str(error)))
            else:
                wrong.append((name, value, "not refused"))
    assert not wrong, wrong


def test_plain_values():
    values = Settings(data_path="here").to_dict()
    assert values["data_path"] == "here"
    assert Settings(**values) == Settings(data_path=Path("here"))


def test_a_strategy_that_would_split_the_model_names_those_that_do_not():
    with pytest.raises(SettingError, match=r"STRATEGY is 'fsdp'\. Allowed: auto, ddp, ddp_find_unused_parameters_true"):
        Settings(strategy="fsdp")
