"""The predicted masks to score: those of a model, or of a folder, with their classes mapped to the dataset's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from clothseg.data.manifest import instead_of, lookalikes, names_by_stem, stem_of
from clothseg.errors import DataError, MissingInputError, SettingError, check_input, nearest
from clothseg.labels import BACKGROUND_ID, ClassList, read_yaml
from clothseg.pictures import read_mask
from clothseg.prediction.predictor import Predictor, in_order, load
from clothseg.prediction.segmentation import MASK_ENDING
from clothseg.types import UInt8Array

Item = TypeVar("Item")
Result = TypeVar("Result")

IdTable = UInt8Array
"""(256,) uint8: for each id in a prediction the dataset's class id, or `UNKNOWN`."""

UNKNOWN = 255
"""Value of an `IdTable` for ids that a prediction must not have."""

ClassMap = Mapping[int | str, str]
"""Id or name of a class of the predictions → name of a class of the dataset."""

_MASK_STEM_ENDING = MASK_ENDING.removesuffix(".png")
_THREADS = 2  # they read files and count; more threads would only take more memory


@dataclass(frozen=True)
class ModelPredictions:
    """The masks of a model, predicted exactly as for users."""

    predictor: Predictor
    table: IdTable

    def mask(self, name: str, photo: Path) -> UInt8Array:
        """Return the predicted class ids of the data set, (H, W) uint8.

        Args:
            name: path of the photo inside the split's photo folder, with slashes.
            photo: path of the photo.

        Raises:
            InputError: the photo cannot be read.
            ModelError: the network returned NaN or infinite values.
        """
        return np.asarray(cv2.LUT(self.predictor.predict(photo).mask, self.table), dtype=np.uint8)

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, so that neither cores nor network wait."""
        return self.predictor.in_pipeline(work, items)

    def origin(self) -> dict[str, Any]:
        """Return the model's name, version, SHA-256, licence, unknown classes, runtime and test-time augmentation."""
        augmentation, description = self.predictor.augmentation, self.predictor.description
        return {
            "kind": "model",
            **self.predictor.model,
            "licence": description.licence,
            "unknown_classes": list(description.unknown_classes),
            "runtime": self.predictor.runtime_name,
            "tiles": augmentation.tiles,
            "flip": augmentation.flip,
            "scales": list(augmentation.scales),
        }


@dataclass(frozen=True)
class FolderPredictions:
    """Index masks in a folder: `<stem>.png`, or `<stem>_mask.png` as `clothseg predict` writes them."""

    folder: Path
    table: IdTable

    def mask(self, name: str, photo: Path) -> UInt8Array:
        """Return the predicted class ids, (H, W) uint8; see `ModelPredictions.mask`.

        Raises:
            MissingInputError: the photo has no mask in the folder.
            DataError: the mask cannot be read, or has an id that no class has; the message names it.
        """
        path = self._path(name)
        mask = read_mask(path)
        mapped = np.asarray(cv2.LUT(mask, self.table), dtype=np.uint8)
        if (unknown := np.unique(mask[mapped == UNKNOWN])).size:
            ids = ", ".join(map(str, unknown[:5].tolist()))
            known = ", ".join(map(str, np.flatnonzero(self.table != UNKNOWN).tolist()))
            raise DataError(
                f"Mask {path} has the ids {ids}, which no class has. Known ids: {known}. "
                "Map them to classes with --class-map"
            )
        return mapped

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, some of them at the same time."""
        return in_order(work, items, workers=_THREADS)

    def origin(self) -> dict[str, Any]:
        """Return the folder's name."""
        return {"kind": "masks", "name": self.folder.resolve().name}

    def _path(self, photo_name: str) -> Path:
        stem = stem_of(photo_name)
        for name in (stem, stem + _MASK_STEM_ENDING):
            if masks := self._names.get(name):
                if len(masks) > 1:
                    raise DataError(f"Several masks of {photo_name} in {self.folder}: {', '.join(masks)}. Keep one")
                return self.folder / masks[0]
        instead = instead_of(stem, self._lookalikes) or instead_of(stem + _MASK_STEM_ENDING, self._lookalikes)
        raise MissingInputError(
            f"No mask of {photo_name} in {self.folder}{instead}. Name it {stem}.png or {stem}{MASK_ENDING}"
        )

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return names_by_stem(self.folder, (".png",))

    @cached_property
    def _lookalikes(self) -> dict[str, str]:
        return lookalikes(self._names)


Predictions = ModelPredictions | FolderPredictions


def open_masks(folder: Path, classes: ClassList, class_map_path: Path | None) -> FolderPredictions:
    """Open a folder of index masks that another program made.

    Raises:
        MissingInputError: the folder or the class map does not exist.
        SettingError: the class map cannot be used.
    """
    check_input(folder, "Folder of masks", "Pass a folder of index masks named like the photos", folder=True)
    return FolderPredictions(folder, table_of_ids(classes, read_class_map(class_map_path)))


def open_model(
    model: str | Path | None, data_classes: ClassList, class_map_path: Path | None, **load_options: Any
) -> ModelPredictions:
    """Load a model, and check that it has the dataset's classes, or that the class map covers its own.

    `model` is its path or address, or None for what `load` chooses; `load_options` are other arguments of `load`.

    Raises:
        ModelError: the model is missing or damaged.
        DataError: it has other classes.
        MissingInputError: the class map does not exist.
        SettingError: the class map cannot be used.
    """
    class_map = read_class_map(class_map_path)
    predictor = load(model, many_photos=True, **load_options)
    own = predictor.description.classes
    table = table_of_model(own, data_classes, class_map, model=predictor.model["name"])
    if class_map is None and own.names != data_classes.names:
        pairs = (f"{name} → {data_classes.names[table[number]]}" for number, name in enumerate(own.names))
        predictor.origin += f"; its classes count as those of the dataset: {', '.join(pairs)}"
    return ModelPredictions(predictor, table)


def read_class_map(path: Path | None) -> ClassMap | None:
    """Read a class map: a YAML file with lines such as `3: upperbody` or `dress: wholebody`; None without a path.

    A number at the start of a line is an id; in quotes it is a name.

    Raises:
        MissingInputError: the file does not exist.
        SettingError: it is not YAML, or not a table of ids or names to names.
    """
    if path is None:
        return None
    content = read_yaml(path, "Class map", "Pass the path of a YAML file to --class-map")
    if not isinstance(content, Mapping) or not content:
        raise SettingError(f"Class map {path} is not a table. Write a line for each class, as in: 3: upperbody")
    for key, value in content.items():
        is_id = isinstance(key, int) and 0 <= key < UNKNOWN
        if not (is_id or isinstance(key, str)) or not isinstance(value, str | int):
            raise SettingError(
                f"Class map {path} has the line {key!r}: {value!r}. Write an id from 0 to {UNKNOWN - 1} or a name, "
                "then the name of a class of the dataset, as in: 3: upperbody"
            )
    return {key: str(value) for key, value in content.items()}


def table_of_ids(classes: ClassList, class_map: ClassMap | None) -> IdTable:
    """Return the table for masks from files: ids stay as they are, or change as the class map says.

    Raises:
        SettingError: the map names a class that the dataset does not have, or has a name in place of an id.
    """
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    if class_map is None:
        table[: len(classes)] = np.arange(len(classes))
        return table
    for key, name in class_map.items():
        if isinstance(key, str):
            raise SettingError(
                f"The class map names {key!r}, but masks have ids. Write its id, as in: 3: {classes.names[-1]}"
            )
        table[key] = _id_of(name, classes)
    return table


def table_of_model(own: ClassList, classes: ClassList, class_map: ClassMap | None, *, model: str) -> IdTable:
    """Return the table for the predictions of a model.

    Without a map, each class of the model must be a class of the dataset or fall into one. With a map, a class that the
    map does not name keeps its name. `own` are the model's classes, `classes` those of the dataset, and `model` is the
    model's name, for messages.

    Raises:
        DataError: the model has other classes than the dataset; the message names the first.
        SettingError: the map names a class that model or dataset does not have.
    """
    table, model_names = np.full(256, UNKNOWN, dtype=np.uint8), own.names
    if class_map is None:
        if model_names == classes.names:
            return table_of_ids(classes, None)
        ids = [classes.id_of_class(one) for one in own.classes]
        if None in ids or set(ids) == {BACKGROUND_ID}:
            raise DataError(
                f"{model} has other classes than the dataset: {_difference(own, classes, ids)}. "
                "Evaluate on data prepared with the model's classes, choose its other classes with --classes, or map "
                "them to the dataset's with --class-map"
            )
        table[: len(ids)] = [one for one in ids if one is not None]
        return table
    for key in class_map:
        if (key not in model_names) if isinstance(key, str) else (key >= len(model_names)):
            raise SettingError(
                f"The class map names {key!r}, which {model} does not have. Its classes: "
                f"{nearest(str(key), model_names, count=len(model_names))}"
            )
    for class_id, name in enumerate(model_names):
        target = class_map.get(class_id, class_map.get(name, name))
        if target == name and name not in classes.names:
            raise DataError(f"The class map has no line for {name!r} of {model}. Add a line: {name}: …")
        table[class_id] = _id_of(target, classes)
    return table


def _id_of(name: str, classes: ClassList) -> int:
    if name not in classes.names:
        raise SettingError(
            f"The class map names {name!r}, which the dataset does not have. Nearest: {nearest(name, classes.names)}"
        )
    return classes.names.index(name)


def _difference(own: ClassList, classes: ClassList, ids: Sequence[int | None]) -> str:
    index = ids.index(None) if None in ids else 1
    return f"none of {', '.join(classes.names[:20])} contains its class {own.names[index]!r}"
