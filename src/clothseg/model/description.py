"""The description in a model file: classes, network, image size, normalisation, licence, training data and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import clothseg
from clothseg.errors import ModelError, SettingError, command
from clothseg.labels import CATEGORIES, CLASS_LISTS, ClassList
from clothseg.settings import DECODER_WIDTHS
from clothseg.transforms import AREA, INTERPOLATIONS, STRIDE, Letterbox, Normalization


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
    input_size: tuple[int, int] | None = None
    """(height, width) to which each photo is squashed, for a network that was trained so; None keeps proportions."""
    interpolation: str = AREA
    """How photos are resized: one of `transforms.INTERPOLATIONS`."""
    normalization: Normalization
    """Mean and standard deviation of each RGB channel of the network's input."""
    licence: str = ""
    """Licence terms of the weights; empty where nothing that they were made from has terms."""
    source: str = ""
    """Where an imported model comes from, such as hf://owner/name@commit; empty for one trained here."""
    training_data: Mapping[str, Any] = field(default_factory=dict)
    """Name, source, licence and counts of what the model was trained on; plain values."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """Validation scores by name, such as val_iou; plain values."""
    categories: tuple[str, ...] = ()
    """Fashionpedia categories, background first, whose logits the model file also gives, as a second output at
    half of the size; empty where it gives its classes only. What `training_data` and `scores` say of them is below
    their key categories."""
    merged: tuple[int, ...] = ()
    """For each class of the network, the id of the one of `classes` that contains it, where `with_classes` chose others
    than the network's; no part of a file."""
    precision: str = "fp32"
    """In what the convolutions of the model file compute: fp32, which a runtime may round to bf16, or int8."""
    usual_score: float = 0.0
    """Score, 0 to 1, that the garments of a photo have on average in 19 of 20 photos that the model was checked on; a
    result below it says that the photo may be unlike them. 0 where nothing was measured."""
    version: str = clothseg.__version__
    """clothseg's version when the model was trained."""

    @property
    def unknown_classes(self) -> tuple[str, ...]:
        """Names of the classes that no training photo showed; empty where the file does not say."""
        known = self.training_data.get("known_classes")
        return tuple(name for name in self.classes.names if name not in known) if known else ()

    @property
    def output(self) -> str:
        """Name of the output of the model file that gives the logits of `classes`."""
        return "categories" if self.categories and self.classes == CATEGORIES else "logits"

    def with_classes(self, name: str | None) -> ModelDescription:
        """Return the description of the model when it gives groups or categories; None keeps its own classes.

        They are an output of the file, or each contains some of the model's own classes.

        Raises:
            SettingError: the model cannot tell these classes apart.
        """
        if name is None:
            return self
        if name not in CLASS_LISTS:
            raise SettingError(f"Unknown classes {name!r}. Allowed: {', '.join(CLASS_LISTS)}")
        if self.classes.names == CLASS_LISTS[name].names:
            return self
        if name == "categories" and self.categories:
            data, scores = dict(self.training_data), dict(self.scores)
            data |= data.pop("categories", {})
            scores = scores.get("categories", {})  # whose usual score was not measured
            return replace(self, classes=CATEGORIES, training_data=data, scores=scores, usual_score=0.0)
        return self._merged_into(name)

    def _merged_into(self, name: str) -> ModelDescription:
        chosen, own = CLASS_LISTS[name], self.classes
        ids = [chosen.id_of_class(one) for one in own.classes]
        if None in ids or not any(ids):
            title = next((key for key, one in CLASS_LISTS.items() if one.names == own.names), "classes of its own")
            unknown = own.names[ids.index(None) if None in ids else 1]
            raise SettingError(
                f"The model gives {title} ({len(own)}), not {name} ({len(chosen)}), of which none contains its class "
                f"{unknown!r}. Leave out --classes, or use a model trained with CLASSES = {name!r}"
            )
        merged = tuple(one for one in ids if one is not None)
        known = self.training_data.get("known_classes") or own.names
        known_ids = {class_id for class_id, own_name in zip(merged, own.names, strict=True) if own_name in known}
        data = {**self.training_data, "known_classes": [chosen.names[one] for one in sorted(known_ids)]}
        return replace(self, classes=chosen, merged=merged, training_data=data, scores={}, usual_score=0.0)

    def fit(self, height: int, width: int, *, scale: float = 1.0) -> Letterbox:
        """Return the position of a photo, `height` x `width`, in the network's input, enlarged by `scale`."""
        if self.input_size:
            return Letterbox.squash(height, width, self.input_size, self.interpolation)
        box = Letterbox.fit(height, width, max(STRIDE, round(self.image_size * scale)))
        return replace(box, interpolation=self.interpolation)

    def identity(self, name: str, sha256: str, classes: str | None) -> dict[str, str]:
        """Return what results say about their model; `classes` is the argument of `with_classes`."""
        identity = {"name": name, "version": self.version, "sha256": sha256}
        if classes and (self.merged or self.output != "logits"):
            identity["class_list"] = classes
        return identity

    def to_dict(self) -> dict[str, Any]:
        """Return the description as plain values: what JSON and `torch.load(weights_only=True)` can read."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "merged"}
        values = {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}
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
        values = {"decoder_width": 1.0, **_LATER, **values}
        wrong = [name for name, is_allowed in _CHECKS.items() if not (name in values and is_allowed(values[name]))]
        if wrong:
            name = wrong[0]
            found = _short(values[name]) if name in values else "missing"
            raise ModelError(f"The model's description has a wrong {name}: {found}; {_HINT}")
        try:
            classes = ClassList.from_dicts(values["classes"])
        except (SettingError, TypeError) as error:
            raise ModelError(f"The model's description has a wrong classes: {error}; {_HINT}") from error
        normalization: Any = {name: tuple(map(float, values["normalization"][name])) for name in ("mean", "std")}
        converted: dict[str, Any] = {
            "classes": classes,
            "normalization": Normalization(**normalization),
            "categories": tuple(values["categories"]),
            "input_size": tuple(values["input_size"]) if values["input_size"] else None,
        }
        return cls(**({name: values[name] for name in _CHECKS} | converted))


_LATER: Mapping[str, Any] = {
    "input_size": None,
    "interpolation": AREA,
    "source": "",
    "categories": (),
    "precision": "fp32",
    "usual_score": 0.0,
}
"""Parts that came later, with what they are in a file without them; that is not written."""

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
    "input_size": lambda value: (
        value is None or (isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_size, value)))
    ),
    "interpolation": lambda value: value in INTERPOLATIONS,
    "normalization": _is_normalization,
    "licence": lambda value: isinstance(value, str),
    "source": lambda value: isinstance(value, str),
    "training_data": lambda value: isinstance(value, Mapping),
    "scores": lambda value: isinstance(value, Mapping),
    "precision": lambda value: value in ("fp32", "int8"),
    "usual_score": lambda value: isinstance(value, int | float) and 0 <= value <= 1,
    "categories": lambda value: isinstance(value, list | tuple) and all(one in CATEGORIES.names for one in value),
    "version": _is_name,
}
