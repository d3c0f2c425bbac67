"""What became of a preparation, in `preparation_report.json`: what was set aside and why, and what went in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clothseg.data.problems import Problem
from clothseg.pictures import write_whole

REPORT_NAME = "preparation_report.json"
VERSION = 1


@dataclass(frozen=True)
class SplitReport:
    """What became of one split."""

    num_photos: int
    """Photos that were to be prepared."""
    num_annotations: int
    """Annotations that were to be painted; 0 where the masks were there already."""
    num_masks: int
    problems: tuple[Problem, ...] = ()
    """The records that were set aside."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Annotations by category that the class list has no place for, on purpose."""
    notes: tuple[str, ...] = ()
    """What is worth a look and cost no record."""

    @property
    def reasons(self) -> dict[str, int]:
        """How many records were set aside for each reason, most first."""
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
        return cls(
            values["photos"],
            values["annotations"],
            values["masks"],
            tuple(Problem(**record) for record in values["records"]),
            values["left_out"],
            tuple(values["notes"]),
        )


@dataclass(frozen=True)
class Report:
    """What became of a preparation, or, while it goes on, what is being prepared."""

    kind: str
    """Fashionpedia, sample, coco or masks: where the data came from."""
    source: str
    inputs: str
    """A hash that changes when any file that goes in has changed."""
    painting: str
    """A hash that changes when the class list or the way of painting has changed."""
    splits: Mapping[str, SplitReport] = field(default_factory=dict)
    finished: bool = False

    @property
    def num_set_aside(self) -> int:
        """How many records were set aside in all."""
        return sum(len(split.problems) for split in self.splits.values())

    def is_of(self, other: Report) -> bool:
        """Return whether both reports are of the same files and classes."""
        return (self.kind, self.inputs, self.painting) == (other.kind, other.inputs, other.painting)

    def write(self, folder: Path) -> None:
        """Write the report into `folder`, whole or not at all.

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
            "set_aside": self.num_set_aside,
            "splits": {name: split.to_dict() for name, split in self.splits.items()},
        }
        text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
        write_whole(folder / REPORT_NAME, text.encode("utf-8", "backslashreplace"), sync=True)

    @classmethod
    def read(cls, folder: Path) -> Report | None:
        """Return the report in `folder`, or None where there is none that this version wrote."""
        try:
            values = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
            if values["version"] != VERSION:
                return None
            splits = {name: SplitReport.from_dict(split) for name, split in values["splits"].items()}
            texts = [str(values[name]) for name in ("kind", "source", "inputs", "painting")]
            return cls(texts[0], texts[1], texts[2], texts[3], splits, values["finished"] is True)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
