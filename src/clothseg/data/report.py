"""The report of a preparation, `preparation_report.json`: what went in, and which records were skipped and why."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from clothseg.pictures import write_whole

REPORT_NAME = "preparation_report.json"
VERSION = 1

SAMPLE = "sample"
"""Kind and address of the drawn sample."""


class RecordError(Exception):
    """One record cannot be used; the rest can."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        """One of few texts; the report counts records by it."""
        self.detail = detail
        """What is wrong with this record, with its values."""


@dataclass(frozen=True)
class Problem:
    """A skipped record."""

    reason: str
    detail: str
    image_id: Any = None
    annotation_id: Any = None
    file_name: str | None = None

    def __str__(self) -> str:
        named = {"annotation": self.annotation_id, "image": self.image_id, "file": self.file_name}
        subject = " of ".join(f"{kind} {value!r}" for kind, value in named.items() if value is not None) or "a record"
        return f"{subject}: {self.reason} ({self.detail})"

    def to_dict(self) -> dict[str, Any]:
        """Return the known fields as plain values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class SplitReport:
    """What became of the records of one split."""

    num_photos: int
    """Photos that were to be prepared."""
    num_annotations: int
    """Annotations that were to be painted; 0 where the source has masks."""
    num_masks: int
    problems: tuple[Problem, ...] = ()
    """The skipped records."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Annotations by category that the class list leaves out on purpose."""
    notes: tuple[str, ...] = ()
    """Warnings that cost no record."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were skipped for each reason, most first."""
        return dict(Counter(problem.reason for problem in self.problems).most_common())

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "photos": self.num_photos,
            "annotations": self.num_annotations,
            "masks": self.num_masks,
            "set_aside": self.reasons,
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "records": [problem.to_dict() for problem in self.problems],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SplitReport:
        """Build a report from what `to_dict` returned."""
        problems = tuple(Problem(**record) for record in values["records"])
        counts = (values["photos"], values["annotations"], values["masks"])
        return cls(*counts, problems, values["left_out"], tuple(values["notes"]))


@dataclass(frozen=True)
class Report:
    """What became of a preparation, or, until it is finished, what is being prepared."""

    kind: str
    """Where the data came from: fashionpedia, sample, coco or masks."""
    source: str
    inputs: str
    """A hash that changes when any input file has changed."""
    painting: str
    """A hash that changes when the class list or the painting has changed."""
    splits: Mapping[str, SplitReport] = field(default_factory=dict)
    finished: bool = False

    @property
    def num_skipped(self) -> int:
        """How many records were skipped in all."""
        return sum(len(split.problems) for split in self.splits.values())

    def is_of(self, other: Report) -> bool:
        """Return whether both reports are of the same files and classes."""
        return (self.kind, self.inputs, self.painting) == (other.kind, other.inputs, other.painting)

    def write(self, folder: Path) -> None:
        """Write the report into `folder` atomically.

        Raises:
            MachineError: the folder cannot be written.
        """
        values = {
            "version": VERSION,
            "finished": self.finished,
            "kind": self.kind,
            "source": self.source,
            "inputs": self.inputs,
            "painting": self.painting,
            "set_aside": self.num_skipped,
            "splits": {name: split.to_dict() for name, split in self.splits.items()},
        }
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        write_whole(folder / REPORT_NAME, text.encode("utf-8", "backslashreplace"), sync=True)

    @classmethod
    def read(cls, folder: Path) -> Report | None:
        """Return the report in `folder`, or None where there is none of this version."""
        try:
            values = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
            if values["version"] != VERSION:
                return None
            splits = {name: SplitReport.from_dict(split) for name, split in values["splits"].items()}
            texts = {name: str(values[name]) for name in ("kind", "source", "inputs", "painting")}
            return cls(**texts, splits=splits, finished=values["finished"] is True)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


def hash_of(values: Any) -> str:
    """Return a hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
