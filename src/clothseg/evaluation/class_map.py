"""How the classes of predictions become those of the data set they are scored on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clothseg.errors import DataError, SettingError, nearest
from clothseg.labels import ClassList, read_yaml
from clothseg.types import UInt8Array

IdTable = UInt8Array
"""(256,) uint8: for each id in a prediction the data set's class id, or `UNKNOWN`."""

UNKNOWN = 255
"""Stands in an `IdTable` where a prediction may not hold the id."""

ClassMap = Mapping[int | str, str]
"""Id or name of a class in the predictions → name of a class of the data set."""


def read_class_map(path: Path) -> ClassMap:
    """Read a class map: a YAML file with lines such as `3: upperbody` or `dress: wholebody`.

    A number at the start of a line is an id, and a name in quotes.

    Raises:
        MissingInputError: there is no such file.
        SettingError: it is not YAML, or no table of ids or names to names.
    """
    content = read_yaml(path, "Class map", "Pass the path of a YAML file to --class-map")
    if not isinstance(content, Mapping) or not content:
        raise SettingError(f"Class map {path} is no table. Write a line for each class, as in: 3: upperbody")
    for key, value in content.items():
        is_id = isinstance(key, int) and 0 <= key < UNKNOWN
        if not (is_id or isinstance(key, str)) or not isinstance(value, str | int):
            raise SettingError(
                f"Class map {path} has the line {key!r}: {value!r}. Write an id from 0 to {UNKNOWN - 1} or a name, "
                "then the name of a class of the data set, as in: 3: upperbody"
            )
    return {key: str(value) for key, value in content.items()}


def table_of_ids(classes: ClassList, class_map: ClassMap | None) -> IdTable:
    """Return the table for predictions that are files: ids stay what they are, or become what the map says.

    Raises:
        SettingError: the map names a class that the data set does not have, or has names where only ids can stand.
    """
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    if class_map is None:
        table[: len(classes)] = np.arange(len(classes))
        return table
    for key, name in class_map.items():
        if isinstance(key, str):
            raise SettingError(
                f"The class map names {key!r}, but masks hold ids. Write its id, as in: 3: {classes.names[-1]}"
            )
        table[key] = _id_of(name, classes)
    return table


def table_of_model(
    model_names: Sequence[str], classes: ClassList, class_map: ClassMap | None, *, model: str
) -> IdTable:
    """Return the table for predictions of a model.

    Without a map, the model must have the classes of the data set. With one, a class that the map does not name keeps
    its name.

    Args:
        model_names: the model's class names in the order of their ids.
        classes: those of the data set.
        class_map: ids or names of the model's classes, and what they become.
        model: which model it is, for messages.

    Raises:
        DataError: the model has other classes than the data set; the message names the first.
        SettingError: the map names a class that model or data set does not have.
    """
    table = np.full(256, UNKNOWN, dtype=np.uint8)
    if class_map is None:
        if tuple(model_names) != classes.names:
            raise DataError(
                f"{model} has other classes than the data set: {_difference(model_names, classes.names)}. "
                "Evaluate on data prepared with its classes, or say with --class-map what each of them becomes"
            )
        table[: len(classes)] = np.arange(len(classes))
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
            raise DataError(f"The class map does not say what {name!r} of {model} becomes. Add a line: {name}: …")
        table[class_id] = _id_of(target, classes)
    return table


def _id_of(name: str, classes: ClassList) -> int:
    if name not in classes.names:
        raise SettingError(
            f"The class map names {name!r}, which the data set does not have. Nearest: {nearest(name, classes.names)}"
        )
    return classes.names.index(name)


def _difference(given: Sequence[str], wanted: Sequence[str]) -> str:
    if len(given) != len(wanted):
        return f"{len(given)} where the data set has {len(wanted)}"
    place = next(number for number, pair in enumerate(zip(given, wanted, strict=True)) if pair[0] != pair[1])
    return f"id {place} is {given[place]!r} there and {wanted[place]!r} in the data set"
