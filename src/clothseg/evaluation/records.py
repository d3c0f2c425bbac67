"""The evaluation record: scores, counts and provenance as JSON, and back, so that records can be compared later."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg import __version__
from clothseg.errors import ClothsegError, DataError, check_input
from clothseg.evaluation.bootstrap import LEVEL, MIN_PHOTOS, RESAMPLES, SEED, Estimate
from clothseg.evaluation.counts import COUNTS, SplitCounts
from clothseg.evaluation.metrics import MEANS, Summary
from clothseg.evaluation.objects import FOUND_IOU, LARGE_SHARE, TORN_SHARE
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.scoring import Failure, ScoredData
from clothseg.labels import ClassList
from clothseg.scores import BOUNDARY_SHARE

VERSION = 1
"""Version of the JSON of an evaluation and of a comparison."""


@dataclass(frozen=True)
class Provenance:
    """Version, command, machine and date of a measurement."""

    clothseg: str
    command: str
    machine: str
    date: str

    @classmethod
    def now(cls) -> Provenance:
        """Return those of this process."""
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(__version__, command, _machine(), date)

    def rows(self) -> list[tuple[str, str]]:
        """Return names and values for a report."""
        return [("Command", self.command), ("clothseg", self.clothseg), ("Machine", self.machine), ("Date", self.date)]


def _machine() -> str:
    """Return processor, cores and system; no names of machines or people."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        processor = named[0].partition(":")[2].strip() if named else processor
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{processor or 'unknown processor'}, {os.cpu_count()} cores, {system}"


@dataclass(frozen=True, eq=False)
class EvaluationRecord:
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
    def of(cls, predictions: Predictions, data: ScoredData, counts: SplitCounts) -> EvaluationRecord:
        """Return the record of predictions that this process scored."""
        return cls(
            predictions.origin(),
            data.manifest.name,
            data.split,
            data.classes,
            counts.photos,
            counts.truth_checksums,
            counts.counts,
        )

    @classmethod
    def read(cls, path: Path) -> EvaluationRecord:
        """Read an evaluation.json.

        Raises:
            MissingInputError: the file does not exist.
            DataError: it is not an evaluation, is damaged, or has a later version.
        """
        check_input(path, "Evaluation", "Pass an evaluation.json, or a model")
        try:
            values = json.loads(path.read_bytes())
            if values["version"] != VERSION:
                raise DataError(f"its version is {values['version']!r}, this clothseg reads {VERSION}")
            data, rows = values["data"], values["per_photo"]
            classes = ClassList.from_dicts(data["classes"])
            counts = np.zeros((len(rows), len(COUNTS), len(classes)), dtype=np.int32)
            for index, row in enumerate(rows):
                for class_id, numbers in row["counts"].items():
                    counts[index, :, int(class_id)] = numbers
            photos = tuple(str(row["photo"]) for row in rows)
            predictions = {key: values["predictions"][key] for key in ("kind", "name")} | values["predictions"]
            checksums = tuple(int(row["truth_crc32"], 16) for row in rows)
            return cls(predictions, str(data["name"]), str(data["split"]), classes, photos, checksums, counts)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
            reason = error if isinstance(error, ClothsegError) else f"{type(error).__name__}: {error}"
            raise DataError(
                f"{path} is not the evaluation.json of an evaluation ({reason}). Write one with: clothseg evaluate"
            ) from error


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions, scored on one split."""

    predictions: Mapping[str, Any]
    """What made the masks: kind, name and, of a model, version, SHA-256, licence, runtime."""
    data: ScoredData
    counts: SplitCounts
    failures: tuple[Failure, ...]
    """Photos that could not be scored."""
    summary: Summary
    provenance: Provenance

    @property
    def title(self) -> str:
        """The names of predictions, dataset and split."""
        return f"{self.predictions['name']} on {self.data.manifest.name}, {self.data.split}"

    def to_json(self) -> bytes:
        """Return the bytes of the JSON file: one line for each photo, and for each row of the matrix."""
        text = json_text(self._values()).removesuffix("\n}\n")
        for name, rows in {"confusion_matrix": self.summary.matrix.tolist(), "per_photo": self._per_photo()}.items():
            lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False, allow_nan=False)}" for row in rows)
            text += f',\n "{name}": [\n{lines}\n ]'
        return (text + "\n}\n").encode()

    def _values(self) -> dict[str, Any]:
        summary, manifest = self.summary, self.data.manifest
        return {
            "version": VERSION,
            "predictions": dict(self.predictions),
            "data": {
                "name": manifest.name,
                "source": manifest.source,
                "split": self.data.split,
                "photos": summary.num_photos,
                "failed": [asdict(one) for one in self.failures],
                "classes": self.data.classes.to_dicts(),
            },
            **asdict(self.provenance),
            "intervals": interval_settings("bootstrap over photos"),
            "boundary_share_of_diagonal": BOUNDARY_SHARE,
            "found_from_iou": FOUND_IOU,
            "pixel_accuracy": _plain(summary.accuracy),
            "photo_iou": _plain(summary.photo_iou),
            "mean": {
                **{name: _plain(summary.means.get(name, {})) for name in MEANS},
                "left_out": list(summary.left_out),
                "over_classes": [one.name for one in summary.classes if one.photos],
            },
            "classes": self._classes(),
            "object_sizes": self._sizes(),
            "large_garments": {
                "from_share_of_photo": LARGE_SHARE,
                "torn_above_share": TORN_SHARE,
                **_plain(vars(summary.consistency)),
            },
            "garments_per_photo": [_plain(vars(one)) for one in summary.groups],
            "per_photo_counts": list(COUNTS),
        }

    def _classes(self) -> list[dict[str, Any]]:
        return [
            {"id": one.class_id, "name": one.name, "absent": not one.photos}
            | {name: getattr(one, name) for name in ("photos", "pixels", "predicted_pixels")}
            | _plain(one.scores)
            for one in self.summary.classes
        ]

    def _sizes(self) -> list[dict[str, Any]]:
        return [
            {
                "name": one.size.name,
                "from_pixels": one.size.least,
                "below_pixels": one.size.below,
                **{name: _plain(getattr(one, name)) for name in ("objects", "photos", "recall", "iou", "found")},
                "classes": {
                    name: {"objects": objects, "iou": iou}
                    for name, objects, iou in zip(self.counts.names, one.class_objects, one.class_iou, strict=True)
                    if objects
                },
            }
            for one in self.summary.sizes
        ]

    def _per_photo(self) -> list[dict[str, Any]]:
        """Return the counts of each photo, in the order of `COUNTS`, for the classes in its truth or prediction."""
        rows, all_counts = [], self.counts
        columns = (all_counts.photos, all_counts.truth_checksums, all_counts.photo_iou.tolist(), all_counts.counts)
        for name, checksum, iou, counts in zip(*columns, strict=True):
            by_class = {str(one): counts[:, one].tolist() for one in counts.any(axis=0).nonzero()[0]}
            rows.append({"photo": name, "truth_crc32": f"{checksum:08x}", "iou": round(iou, 6), "counts": by_class})
        return rows


def interval_settings(method: str) -> dict[str, Any]:
    """Return how intervals are computed, for the JSON."""
    return {"level": LEVEL, "method": method, "resamples": RESAMPLES, "seed": SEED, "least_photos": MIN_PHOTOS}


def json_text(values: Mapping[str, Any]) -> str:
    """Return values as the text of a JSON file."""
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def nan_to_none(value: float) -> float | None:
    """Return a number as JSON has it: NaN becomes None."""
    return None if math.isnan(value) else value


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: an estimate becomes a table of its numbers, or None if it is absent."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if not isinstance(value, Estimate):
        return value
    return None if value.is_absent else {name: nan_to_none(number) for name, number in vars(value).items()}
