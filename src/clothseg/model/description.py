"""The description in a model file: classes, network, image size, normalisation, licence, training data and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import clothseg
from clothseg.errors import ModelError, SettingError, command
from clothseg.labels import ClassList
from clothseg.settings import DECODER_WIDTHS
from clothseg.transforms import STRIDE, Normalization


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """All that is needed to use a model again, in plain values, without torch.

    >>> from clothseg.labels import GROUPS
    >>> from clothseg.transforms import IMAGENET
    >>> unet = ModelDescription(classes=GROUPS, architecture="unet", encoder_name="resnet34", image_size=512,
    ...                         normalization=IMAGENET)
    >>> ModelDescription.from_dict(unet.to_dict()) == unet
    True
    """

    classes: ClassList
    """The classes, in the order of the network's output channels."""
    architecture: str
    """Decoder, by its name in segmentation-models-pytorch."""
    encoder_name: str
    """Encoder, by its name in segmentation-models-pytorch, or tu-NAME."""
    decoder_width: float = 1.0
    """The decoder's channels as a multiple of those of segmentation-models-pytorch; 1 in files without it."""
    image_size: int
    """Longer side of the network's input in pixels, as in training."""
    normalization: Normalization
    """Mean and standard deviation of each RGB channel of the network's input."""
    licence: str = ""
    """Licence terms of the weights; empty where nothing that they were made from has terms."""
    training_data: Mapping[str, Any] = field(default_factory=dict)
    """Name, source, licence and counts of what the model was trained on; plain values."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Validation scores by name, such as val_iou; plain values."""
    version: str = clothseg.__version__
    """clothseg's version when the model was trained."""

    @property
    def unknown_classes(self) -> tuple[str, ...]:
        """Names of the classes that no training photo showed; empty where the file does not say."""
        known = self.training_data.get("known_classes")
        return tuple(name for name in self.classes.names if name not in known) if known else ()

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain values: what JSON and `torch.load(weights_only=True)` can read."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return values | {
            "classes": self.classes.to_dicts(),
            "normalization": {"mean": list(self.normalization.mean), "std": list(self.normalization.std)},
            "training_data": dict(self.training_data),
            "scores": dict(self.scores),
        }

    @classmethod
    def from_dict(cls, values: object) -> ModelDescription:
        """Build a description from what `to_dict` returned.

        Unknown keys, such as those of a later version, are ignored.

        Raises:
            ModelError: a part is missing or wrong; the message names it.
        """
        if not isinstance(values, Mapping):
            raise ModelError(f"The model's description is {_short(values)}, not a table of values; {_HINT}")
        values = {"decoder_width": 1.0, **values}
        wrong = [name for name, is_allowed in _CHECKS.items() if not (name in values and is_allowed(values[name]))]
        if wrong:
            name = wrong[0]
            found = _short(values[name]) if name in values else "missing"
            raise ModelError(f"The model's description has a wrong {name}: {found}; {_HINT}")
        try:
            classes = ClassList.from_dicts(values["classes"])
        except (SettingError, TypeError) as error:
            raise ModelError(f"The model's description has a wrong classes: {error}; {_HINT}") from error
        red, green, blue = (float(part) for part in values["normalization"]["mean"])
        spread_red, spread_green, spread_blue = (float(part) for part in values["normalization"]["std"])
        return cls(
            classes=classes,
            normalization=Normalization((red, green, blue), (spread_red, spread_green, spread_blue)),
            **{name: values[name] for name in _CHECKS if name not in ("classes", "normalization")},
        )


_HINT = f"the file is damaged or was not written by clothseg. Use another model, or train one with: {command('train')}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_three_numbers(values: object, *, above_zero: bool = False) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) == 3
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        and all(0 < one < 1e6 if above_zero else abs(one) < 1e6 for one in values)
    )


def _is_normalization(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and _is_three_numbers(value.get("mean"))
        and _is_three_numbers(value.get("std"), above_zero=True)
    )


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0 and value % STRIDE == 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


_CHECKS = {
    "classes": lambda value: isinstance(value, list | tuple),
    "architecture": _is_name,
    "encoder_name": _is_name,
    "decoder_width": lambda value: value in DECODER_WIDTHS,
    "image_size": _is_size,
    "normalization": _is_normalization,
    "licence": lambda value: isinstance(value, str),
    "training_data": lambda value: isinstance(value, Mapping),
    "scores": lambda value: isinstance(value, Mapping),
    "version": _is_name,
}
