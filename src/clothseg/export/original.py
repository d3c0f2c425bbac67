"""A model of other people: how it takes photos, and its network in its own framework, to compare with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from clothseg.errors import MissingModelError, ModelError, SettingError, one_line
from clothseg.export.agreement import CheckPhotos
from clothseg.labels import ClassList, named_classes, read_yaml
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import Runtime
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation, segment_pixels
from clothseg.transforms import STRIDE, Normalization
from clothseg.types import UInt8Array

_READY = Path(__file__).with_name("descriptions")
_HELP = "docs/how-to/import-a-model.md has the form"
_LARGEST_SHARE_DIFFERING = 0.005
_Three = tuple[float, float, float]


class SourceDescription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network takes photos and what it gives; the defaults are those of a YAML file."""

    classes: list[Any] = []
    """Names, or tables as in a class file; empty where a config.json has them."""
    size: tuple[int, int] | None = None
    """(height, width) of the input."""
    resize: Literal["squash", "letterbox"] = "squash"
    """letterbox keeps proportions, so that the longer side has the size, and pads."""
    interpolation: Literal["area", "nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    layout: Literal["nchw", "nhwc"] = "nchw"
    channels: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    """What bytes are multiplied with before `mean` is subtracted."""
    mean: _Three = (0.0, 0.0, 0.0)
    std: _Three = (1.0, 1.0, 1.0)
    output: str = ""
    """Name of the output; the first if empty."""
    gives: Literal["logits", "probabilities"] = "logits"
    licence: str = ""
    source: str = ""

    @classmethod
    def read(cls, name: str | Path) -> SourceDescription:
        """Read a YAML file, or one of the ready descriptions by its name.

        Raises:
            MissingInputError: there is no such file.
            SettingError: it has an unknown key or a value that is not allowed.
        """
        ready = {path.stem: path for path in sorted(_READY.glob("*.yaml"))}
        path = ready.get(str(name), Path(name))
        values = read_yaml(path, "Description", f"Pass the path of a YAML file, or one of: {', '.join(ready)}")
        try:
            return msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise SettingError(f"Description {path} cannot be used: {one_line(error)}; {_HELP}") from error

    def model_description(self, architecture: str, network: str) -> ModelDescription:
        """Return the description of the portable file.

        Raises:
            SettingError: classes or size are not known or cannot be used.
        """
        if self.size is None or any(side % STRIDE or side <= 0 for side in self.size):
            raise SettingError(
                f"The input's size is {self.size and list(self.size)}. Allowed: height and width that are multiples of "
                f"{STRIDE}, from preprocessor_config.json or a --description"
            )
        has_tables = all(isinstance(row, Mapping) for row in self.classes)
        red, green, blue = ((mean / (255 * self.scale)) for mean in self.mean)
        spread_red, spread_green, spread_blue = ((std / (255 * self.scale)) for std in self.std)
        return ModelDescription(
            classes=ClassList.from_dicts(self.classes) if has_tables else named_classes(list(map(str, self.classes))),
            architecture=architecture,
            encoder_name=network,
            image_size=max(self.size),
            input_size=self.size if self.resize == "squash" else None,
            interpolation=self.interpolation,
            normalization=Normalization((red, green, blue), (spread_red, spread_green, spread_blue)),
            licence=self.licence or "not stated by its source: ask its authors before you use it",
            source=self.source,
        )


@dataclass(frozen=True)
class OriginalModel:
    """A model that is open in its own framework."""

    framework: str
    reference: Runtime
    """Its network, with the description of the portable file."""
    graph: Callable[[], bytes]
    """Returns the network as ONNX, as `portable.to_onnx` does."""
    own_mask: Callable[[UInt8Array], UInt8Array] | None = None
    """Its framework's own way from (H, W, 3) uint8 RGB to class ids, (H, W) uint8; None where it has none."""
    notes: tuple[str, ...] = ()
    """What is done otherwise than by its own program, in words."""

    def with_origin(self, source: str, licence: str) -> OriginalModel:
        """Return it with where it comes from and its terms; an empty text changes nothing."""
        changes = {name: value for name, value in (("source", source), ("licence", licence)) if value}
        described = replace(self.reference.description, **changes)  # type: ignore[arg-type]  # both are texts
        return replace(self, reference=replace(self.reference, description=described))  # type: ignore[type-var]

    def check_shape(self) -> None:
        """Refuse a network whose logits do not fit its description.

        Raises:
            ModelError: it has another number of planes than class names, or small logits for photos that are padded.
        """
        description = self.reference.description
        size = description.input_size or (description.image_size, description.image_size)
        shape = self.reference.logits(np.zeros((1, *size, 3), np.uint8)).shape
        count = description.classes.num_classes
        if len(shape) != 4 or shape[1] != count or (description.input_size is None and shape[2:] != size):
            raise ModelError(
                f"The network's output has the shape {list(shape)} for {count} named classes. It must have one plane "
                "per class, as large as the input where photos are not squashed. Correct or add a --description"
            )

    def compare_programs(self, photos: CheckPhotos) -> str:
        """Return in words how often its own program gives another class than its network as we feed it.

        Raises:
            ModelError: on more than 0.5% of the pixels.
        """
        different = total = 0
        for pixels, _ in photos if self.own_mask else ():
            ours, _ = segment_pixels(self.reference.logits, pixels, self.reference.description, TestTimeAugmentation())
            different += int(np.count_nonzero(ours != self.own_mask(pixels)))  # type: ignore[misc]  # not None here
            total += ours.size
        if different > _LARGEST_SHARE_DIFFERING * total:
            raise ModelError(
                f"Its own program gives another class on {different / total:.2%} of the pixels. Allowed: up to "
                f"{_LARGEST_SHARE_DIFFERING:.1%}. It treats photos in an unknown way; pass a --description"
            )
        return f"Its own program gives another class on {different / total:.4%} of the pixels" if total else ""


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON file of a model's folder.

    Raises:
        MissingModelError: there is no such file.
        ModelError: it is not JSON, or no table.
    """
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, Mapping):
            raise ValueError("it is no table of values")
    except FileNotFoundError as error:
        raise MissingModelError(f"{path.name} not found in {path.parent}. Pass a folder that has it") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {one_line(error)[:200]}. Download it again") from error
    return values


def labels_of(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the classes that the `id2label` of a config.json gives, in the order of their ids.

    Raises:
        ModelError: there is none, ids are missing, or the names are placeholders.
    """
    names = config.get("id2label")
    if not isinstance(names, Mapping) or set(names) != {str(number) for number in range(len(names))}:
        raise ModelError(f"id2label in config.json is {str(names)[:80]}. It must name each class, from id 0 on")
    ordered = [names[str(number)] for number in range(len(names))]
    if not all(isinstance(name, str) and name for name in ordered) or set(names.values()) == {
        f"LABEL_{n}" for n in names
    }:
        raise ModelError(f"id2label in config.json has no names: {str(ordered)[:80]}. Write the classes' names there")
    return ordered
