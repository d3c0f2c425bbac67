"""An evaluation: what was scored, how, and the scores."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clothseg import __version__
from clothseg.evaluation.counts import Tally
from clothseg.evaluation.metrics import Summary, summarise
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.scored_data import ScoredData
from clothseg.evaluation.scoring import Failure, Scored
from clothseg.labels import ClassList


@dataclass(frozen=True)
class Circumstances:
    """When, where and by which command something was measured."""

    command: str
    clothseg: str
    machine: str
    date: str

    @classmethod
    def now(cls) -> Circumstances:
        """Return those of this process."""
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return cls(command, __version__, _machine(), date)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One set of predictions, scored on one split."""

    predictions: Mapping[str, Any]
    """What made the masks: kind, name and, of a model, version, SHA-256, licence, runtime."""
    data_name: str
    data_source: str
    split: str
    classes: ClassList
    tally: Tally
    failures: tuple[Failure, ...]
    """Photos that could not be scored."""
    summary: Summary
    circumstances: Circumstances

    @classmethod
    def of(
        cls, predictions: Predictions, data: ScoredData, scored: Scored, *, leave_out: tuple[int, ...] = ()
    ) -> Evaluation:
        """Sum up what was scored; `leave_out` has the class ids that one more mean is without."""
        return cls(
            predictions=predictions.origin(),
            data_name=data.manifest.name,
            data_source=data.manifest.source,
            split=data.split,
            classes=data.classes,
            tally=scored.tally,
            failures=tuple(scored.failures),
            summary=summarise(scored.tally, leave_out=leave_out),
            circumstances=Circumstances.now(),
        )

    def worst(self, count: int) -> list[int]:
        """Return the places in the tally of the photos with the lowest IoU, lowest first."""
        order = sorted(range(len(self.tally.photos)), key=lambda place: float(self.tally.photo_iou[place]))
        return order[:count]


def _machine() -> str:
    """Return processor, cores and system in words; no names of machines or people."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        processor = named[0].partition(":")[2].strip() if named else processor
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{processor or 'unknown processor'}, {os.cpu_count()} cores, {system}"
