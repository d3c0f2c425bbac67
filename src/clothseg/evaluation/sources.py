"""Opens the predictions that a command line names: a model file, or a folder of masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from clothseg.errors import check_input
from clothseg.evaluation.class_map import read_class_map, table_of_ids, table_of_model
from clothseg.evaluation.predictions import FolderPredictions, ModelPredictions
from clothseg.labels import ClassList
from clothseg.prediction.predictor import Predictor


def open_masks(folder: Path, classes: ClassList, class_map_path: Path | None) -> FolderPredictions:
    """Open a folder of index masks that were made elsewhere.

    Raises:
        MissingInputError: the folder or the class map is not there.
        SettingError: the class map cannot be used.
    """
    check_input(folder, "Folder of masks", "Pass a folder of index masks named like the photos", folder=True)
    return FolderPredictions(folder, table_of_ids(classes, _read(class_map_path)))


def open_model(load: Callable[[], Predictor], classes: ClassList, class_map_path: Path | None) -> ModelPredictions:
    """Load a model, and see that its classes are those of the data set, or that a class map says which they are.

    Raises:
        ModelError: the model is missing or damaged.
        DataError: it has other classes.
        MissingInputError: the class map is not there.
        SettingError: the class map cannot be used.
    """
    class_map = _read(class_map_path)
    predictor = load()
    names = predictor.description.classes.names
    return ModelPredictions(predictor, table_of_model(names, classes, class_map, model=predictor.model["name"]))


def _read(path: Path | None) -> dict[int | str, str] | None:
    return None if path is None else dict(read_class_map(path))
