"""What was measured of the starter model: the small files in results/, read and checked against one another."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg.evaluation.compare import Comparison, compare
from clothseg.evaluation.metrics import Estimate
from clothseg.evaluation.records import Side
from clothseg.prediction.model_file import ModelFile

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
HOW = "benchmarks/starter/README.md says how it is made"


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.json of `clothseg evaluate`."""

    values: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """Names of all classes, by id."""
        return [one["name"] for one in self.values["classes"]]

    @property
    def present(self) -> list[Mapping[str, Any]]:
        """The classes that the photos show, with their scores."""
        return [one for one in self.values["classes"] if not one["absent"]]

    @property
    def absent(self) -> list[str]:
        """Names of the classes that no photo shows."""
        return [one["name"] for one in self.values["classes"] if one["absent"]]

    @property
    def matrix(self) -> npt.NDArray[np.int64]:
        """(C, C): row = true class, column = predicted class, in pixels."""
        return np.array(self.values["confusion_matrix"], dtype=np.int64)

    @property
    def means(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Every mean over classes behind its name."""
        mean = self.values["mean"]
        rows = [("mean", mean["with_background"]), ("mean without background", mean["without_background"])]
        left_out = mean["left_out"]
        return [*rows, (f"mean without {', '.join(left_out)}", mean["without_left_out"])] if left_out else rows

    @property
    def circumstances(self) -> str:
        """Command, machine, date and version, in one line."""
        values = self.values
        return f"`{values['command']}`, {values['machine']}, clothseg {values['clothseg']}, {values['date']}"


@dataclass(frozen=True)
class Results:
    """All that the documents are made of."""

    model: ModelFile
    model_path: Path
    """As the documents name it, from the project's root."""
    evaluation: Evaluation
    plain: Evaluation | None
    """The plain recipe on the same photos; None where it was not measured, as with the next two."""
    comparison: Comparison | None
    """The plain recipe and the starter, photo by photo."""
    ablation: Mapping[str, Any] | None
    guesses: Mapping[str, Any] | None
    """How many photos it learnt from whose masks a model guessed, and which; None where it was trained without."""
    training: Mapping[str, Any]
    speed: Mapping[str, Any]
    notes: str
    """What the makers add by hand, in Markdown."""


def read_results(folder: Path, model: Path) -> Results:
    """Read what was measured of a model.

    Raises:
        SystemExit: a file is missing, or something was measured of another model.
    """
    file = ModelFile.read(model)
    evaluation = read_json(folder / "evaluation.json")
    speed = read_json(folder / "speed.json")
    for name, measured in (("evaluation", evaluation["predictions"].get("sha256")), ("speed", speed["sha256"])):
        if measured != file.sha256:
            raise SystemExit(
                f"Error: {folder / name}.json is of a model {measured}, {model} is {file.sha256}. Measure it again"
            )
    notes = folder.parent / "notes.md"
    plain = folder / "plain.json"
    return Results(
        model=file,
        model_path=from_root(model),
        evaluation=Evaluation(evaluation),
        plain=Evaluation(read_json(plain)) if plain.is_file() else None,
        comparison=compare(
            Side.read(plain), Side.read(folder / "evaluation.json"), leave_out=tuple(evaluation["mean"]["left_out"])
        )
        if plain.is_file()
        else None,
        ablation=_optional(folder / "ablation.json"),
        guesses=_optional(folder / "guesses.json"),
        training=read_json(folder / "training.json"),
        speed=speed,
        notes=notes.read_text(encoding="utf-8").strip() if notes.is_file() else "",
    )


def _optional(path: Path) -> dict[str, Any] | None:
    return read_json(path) if path.is_file() else None


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the files."""
    if not path.is_file():
        raise SystemExit(f"Error: {path} is missing. {HOW}")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def from_root(path: Path) -> Path:
    """Return a path as one finds it from the project's root; of one outside, the name."""
    whole = path.resolve()
    return whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else Path(path.name)


def estimate_of(score: Mapping[str, Any] | None) -> Estimate:
    """Return a score of the JSON as `clothseg.evaluation` knows it: NaN where it is null."""
    if score is None:
        return Estimate(math.nan)
    return Estimate(*(math.nan if score[key] is None else score[key] for key in ("value", "low", "high")))
