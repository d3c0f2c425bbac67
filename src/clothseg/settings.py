"""Every setting of a run in one frozen object, checked once at the edge."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from clothseg.errors import SettingError, nearest


class LazyModule:
    """A module that is imported when one of its names is used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


tyro: Any = LazyModule("tyro")
"""Imported in a quarter of a second, which `clothseg --help` and plain predictions do not spend."""

OFFICIAL_SOURCE = "https://s3.amazonaws.com/ifashionist-dataset"
"""Root of the official Fashionpedia download. Source: github.com/cvdfoundation/fashionpedia."""

CropSize = int | tuple[int, int]
"""Side of a square, or (height, width), in pixels."""

DECODER_WIDTHS = (0.25, 0.5, 1, 2)
"""Powers of two, so that whole channels come out, and as many in each group of a GroupNorm."""
LOSSES = ("dice-ce", "dice-focal")
"""The names that `clothseg.model.loss.build_loss` knows; torch is not imported here."""
ACCELERATORS = ("auto", "cpu", "gpu", "mps")
PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true")
"""Lightning's strategies in which each process has the whole model, as averaged weights and checkpoints need it."""


def _choice(names: Iterable[str]) -> Any:
    """Return how a flag's help shows its allowed values; `Settings` checks them."""
    return tyro.conf.arg(metavar=f"{{{','.join(names)}}}")


@dataclass(frozen=True)
class ModelOptions:
    """What runs the model, and where."""  # here as the server has it, too, and imports neither numpy nor a decoder

    runtime: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the network: torch for checkpoints, openvino or onnxruntime for exported models."""
    device: str = "auto"
    """Where it runs: auto, cpu, cuda or mps."""
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    """How it computes; auto takes bf16 where it is fast and the export measured that it hardly changes the masks, and
    int8 for the packaged model on other x86 CPUs."""
    classes: Literal["groups", "categories"] | None = None
    """Classes of the masks: groups (13) or categories (Fashionpedia's 46 and background), where the model has them or
    its classes fall into them. Without it, the model's own; the starter model's are groups."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is learned from, and in which pieces."""

    data_path: Path = Path("data")
    """Folder where datasets are downloaded and prepared."""
    shards: str | None = None
    """Packed dataset to train from instead of data_path: folder, s3://, gs:// or https:// address; clothseg pack makes
    one."""
    source: Annotated[str, tyro.conf.Fixed, tyro.conf.Suppress] = OFFICIAL_SOURCE
    """Root of the download: http(s) address or a local folder laid out the same way."""
    classes: str = "groups"
    """Classes to learn: groups (13), categories (47) or the path of a YAML file."""
    img_size: int = 512
    """Longer side of the network's input in pixels; a multiple of 32."""
    crop_size: CropSize | None = None
    """Part of a photo in a training step: side of a square, or height and width, which suit photos that are all upright
    or all wide; None takes img_size. Smaller parts are faster; photos are still scaled for img_size."""
    batch_size: int = 32
    """Photos per training step and process."""
    num_workers: int | None = None
    """Processes that load or prepare photos; None takes what the cores allow."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Which network is trained."""

    architecture: str = "unet"
    """Decoder, by its name in segmentation-models-pytorch."""
    encoder_name: str = "mit_b1"
    """Encoder: any of segmentation-models-pytorch, or tu-NAME for one of timm. The ImageNet weights of mit_b0 to mit_b5
    are NVIDIA's, for non-commercial use only."""
    encoder_weights: str | None = "imagenet"
    """First weights of the encoder: imagenet, none (random), or the path of a state dict."""
    decoder_width: float = 1.0
    """Channels of the decoder as a multiple of the usual number: 0.25, 0.5, 1 or 2; fewer are faster."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How it learns."""

    epochs: int = 20
    """Passes over the training photos."""
    loss: Annotated[str, _choice(LOSSES)] = "dice-ce"
    """Loss that training minimises: dice-ce (half Dice, half cross-entropy) or dice-focal (half Dice, half focal)."""
    class_balance: float = 0.5
    """How much more the pixels of rare classes count in dice-ce: 0 all the same, 1 every class as a whole."""
    averaging: float = 0.998
    """Share of the moving average of the weights that a step keeps; the average is validated and saved. 0: none."""
    learning_rate: float = 1e-3
    """Highest learning rate, reached after the warm-up."""
    encoder_rate: float = 0.2
    """Share of the learning rate for an encoder with pretrained weights, so that they change little; a random encoder
    learns with all of it."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    warmup: float = 0.05
    """Share of the training in which the learning rate rises; then it falls along a cosine."""
    patience: int = 10
    """Epochs without a better val_loss before training stops; 0 never stops early."""


@dataclass(frozen=True, kw_only=True)
class MachineSettings:
    """What it is trained on."""

    precision: Annotated[str, _choice(PRECISIONS)] = "auto"
    """Number format: auto, 32-true, bf16-mixed or 16-mixed; auto takes bf16 where the hardware has it."""
    accelerator: Annotated[str, _choice(ACCELERATORS)] = "auto"
    """Where to train, by Lightning's name: auto, cpu, gpu or mps."""
    devices: int | None = None
    """Processes or GPUs per machine; None takes every GPU there is, and one process on a CPU."""
    num_nodes: int = 1
    """Machines that train together."""
    strategy: Annotated[str, _choice(STRATEGIES)] = "auto"
    """How processes train together, by Lightning's name: auto, ddp or ddp_find_unused_parameters_true."""
    seed: int = 42
    """Seed of all random numbers: order of photos, augmentation, new weights."""


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """Where the results go."""

    checkpoints_path: Path = Path("checkpoints")
    """Folder of the checkpoints."""
    logs_path: Path = Path("logs")
    """Folder of the TensorBoard logs."""
    checkpoint_path: Annotated[Path | None, tyro.conf.Fixed, tyro.conf.Suppress] = None
    """Model that infer.py uses; None takes the newest best checkpoint of your own training."""


@dataclass(frozen=True, kw_only=True)
class Settings(FileSettings, MachineSettings, TrainingSettings, NetworkSettings, DataSettings):
    """The settings of preparing and training; prediction reads its model file instead.

    The bases are the groups of flags in `train.py --help`, last first, as fields are inherited.

    Raises:
        SettingError: a value is not allowed; the message says which are.
    """

    def __post_init__(self) -> None:
        if self.encoder_weights is not None and str(self.encoder_weights).lower() == "none":
            object.__setattr__(self, "encoder_weights", None)
        for name in ("data_path", "checkpoints_path", "logs_path", "checkpoint_path"):
            value = getattr(self, name)
            if isinstance(value, str) and value:
                object.__setattr__(self, name, Path(value))
        for name, kinds, allowed, is_allowed in _RULES:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, kinds) or not is_allowed(value):
                raise SettingError(f"{name.upper()} is {value!r}. Allowed: {allowed}")

    @classmethod
    def from_module(cls, module: ModuleType) -> Settings:
        """Read the settings from the upper-case names of a module such as `config.py`.

        Raises:
            SettingError: an upper-case name is no setting (the nearest are listed), or a value is not allowed.
        """
        known = {field.name.upper(): field.name for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, value in vars(module).items():
            if not name.isupper():
                continue
            if name not in known:
                raise SettingError(f"Unknown setting {name} in {module.__name__}.py. Nearest: {nearest(name, known)}")
            values[known[name]] = value
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, as a checkpoint and TensorBoard store them."""
        return {f.name: str(v) if isinstance(v := getattr(self, f.name), Path) else v for f in fields(self)}


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and 32 <= value <= 4096 and value % 32 == 0


def _is_crop_size(value: Any) -> bool:
    sides = value if isinstance(value, tuple) else (value, value)
    return len(sides) == 2 and all(map(_is_side, sides))


def _one_of(allowed: Iterable[str]) -> tuple[type, str, Any]:
    return str, ", ".join(allowed), lambda value: value in allowed


_OPTIONAL_INT = (int, type(None))
_RULES: tuple[tuple[str, Any, str, Any], ...] = (
    ("data_path", Path, "the path of a folder", lambda value: True),
    ("shards", (str, type(None)), "None, a folder, or an s3://, gs:// or https:// address", lambda value: value != ""),
    ("source", str, "an http(s) address or the path of a folder", bool),
    ("classes", (str, Path), "groups, categories or the path of a YAML file", bool),
    ("img_size", int, "a multiple of 32, from 32 to 4096", _is_side),
    (
        "crop_size",
        (int, tuple, type(None)),
        "None, a multiple of 32 from 32 to 4096, or two of them for height and width",
        lambda value: value is None or _is_crop_size(value),
    ),
    ("batch_size", int, "a whole number from 1 up", lambda value: value >= 1),
    ("num_workers", _OPTIONAL_INT, "None or a whole number from 0 up", lambda value: value is None or value >= 0),
    ("architecture", str, "the name of a decoder of segmentation-models-pytorch, such as unet", bool),
    ("encoder_name", str, "the name of an encoder, such as mit_b1 or resnet34", bool),
    (
        "encoder_weights",
        (str, Path, type(None)),
        "imagenet, none or the path of a state dict",
        lambda value: value != "",
    ),
    ("decoder_width", (int, float), ", ".join(map(str, DECODER_WIDTHS)), lambda value: value in DECODER_WIDTHS),
    ("epochs", int, "a whole number from 1 up", lambda value: value >= 1),
    ("loss", *_one_of(LOSSES)),
    ("class_balance", (int, float), "a number from 0 to 1", lambda value: 0 <= value <= 1),
    ("averaging", (int, float), "a share from 0 to below 1", lambda value: 0 <= value < 1),
    ("learning_rate", (int, float), "a number above 0, at most 1", lambda value: 0 < value <= 1),
    ("encoder_rate", (int, float), "a share above 0, at most 1", lambda value: 0 < value <= 1),
    ("weight_decay", (int, float), "a number from 0 to 1", lambda value: 0 <= value <= 1),
    ("warmup", (int, float), "a share from 0 to below 1", lambda value: 0 <= value < 1),
    ("patience", int, "a whole number from 0 up", lambda value: value >= 0),
    ("precision", *_one_of(PRECISIONS)),
    ("accelerator", *_one_of(ACCELERATORS)),
    ("devices", _OPTIONAL_INT, "None or a whole number from 1 up", lambda value: value is None or value >= 1),
    ("num_nodes", int, "a whole number from 1 up", lambda value: value >= 1),
    ("strategy", *_one_of(STRATEGIES)),
    ("seed", int, "a whole number from 0 up", lambda value: value >= 0),
    ("checkpoints_path", Path, "the path of a folder", lambda value: True),
    ("logs_path", Path, "the path of a folder", lambda value: True),
    ("checkpoint_path", (Path, type(None)), "None or the path of a model file", lambda value: True),
)
