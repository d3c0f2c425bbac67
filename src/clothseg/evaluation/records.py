"""One side of a comparison: an evaluation that just ran, or one that was written down as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg.errors import ClothsegError, DataError, check_input
from clothseg.evaluation.counts import Tally
from clothseg.evaluation.photo_counts import COUNTS
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.scored_data import ScoredData
from clothseg.labels import ClassList

VERSION = 1
"""Version of the JSON of an evaluation."""


@dataclass(frozen=True, eq=False)
class Side:
    """What a comparison needs of an evaluation."""

    predictions: Mapping[str, Any]
    """What made the masks: kind, name and, of a model, SHA-256 and more."""
    data_name: str
    split: str
    classes: ClassList
    photos: tuple[str, ...]
    truth_checksums: tuple[int, ...]
    """CRC-32 of each photo's true mask."""
    counts: npt.NDArray[np.int32]
    """(N, 5, C) int32: the rows of `COUNTS` for each photo."""

    @property
    def name(self) -> str:
        """The model's or folder's name."""
        return str(self.predictions["name"])

    @classmethod
    def of(cls, predictions: Predictions, data: ScoredData, tally: Tally) -> Side:
        """Return the side of predictions that were just scored."""
        return cls(
            predictions.origin(),
            data.manifest.name,
            data.split,
            data.classes,
            tally.photos,
            tally.truth_checksums,
            tally.counts,
        )

    @classmethod
    def read(cls, path: Path) -> Side:
        """Read an evaluation.json.

        Raises:
            MissingInputError: there is no such file.
            DataError: it is no evaluation, damaged, or of a later version.
        """
        check_input(path, "Evaluation", "Pass an evaluation.json, or a model")
        try:
            values = json.loads(path.read_bytes())
            if values["version"] != VERSION:
                raise DataError(f"its version is {values['version']!r}, this clothseg reads {VERSION}")
            data, rows = values["data"], values["per_photo"]
            classes = ClassList.from_dicts(data["classes"])
            counts = np.zeros((len(rows), len(COUNTS), len(classes)), dtype=np.int32)
            for place, row in enumerate(rows):
                for class_id, numbers in row["counts"].items():
                    counts[place, :, int(class_id)] = numbers
            photos = tuple(str(row["photo"]) for row in rows)
            predictions = {key: values["predictions"][key] for key in ("kind", "name")} | values["predictions"]
            checksums = tuple(int(row["truth_crc32"], 16) for row in rows)
            return cls(predictions, str(data["name"]), str(data["split"]), classes, photos, checksums, counts)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            reason = error if isinstance(error, ClothsegError) else f"{type(error).__name__}: {error}"
            raise DataError(
                f"{path} is not the evaluation.json of an evaluation ({reason}). Write one with: clothseg evaluate"
            ) from error
