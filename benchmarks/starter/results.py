"""What was measured of the starter model: the files of `results/`, kept and read."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clothseg.evaluation.records import EvaluationRecord
from clothseg.pictures import write_whole
from clothseg.types import Int64Array

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("results")
_OUTSIDE = re.compile(r"(^|[\s=])(/|~|\.\.)")
"""A path that leads out of the project."""


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
    def matrix(self) -> Int64Array:
        """(C, C) int64: row = true class, column = predicted class, in pixels."""
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


def read_json(path: Path) -> dict[str, Any]:
    """Read one of the files.

    Raises:
        SystemExit: it is missing.
    """
    if not path.is_file():
        raise SystemExit(f"Error: {path} is missing. benchmarks/starter/README.md says how it is made")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def refuse_outside(values: Any) -> None:
    """Refuse texts with a path that leads out of the project: readers cannot follow it.

    Raises:
        SystemExit: there is such a path.
    """
    for text in _texts(values):
        if _OUTSIDE.search(text):
            raise SystemExit(
                f"Error: {text!r} names a place outside the project. Measure again from its root with paths in it, "
                "or name the data: results.py and split.py have flags for it"
            )


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping | list):
        for one in values.values() if isinstance(values, Mapping) else values:
            yield from _texts(one)


def kept_evaluation(path: Path, named: Mapping[str, str | None]) -> bytes:
    """Return an evaluation.json with its data named as `named` says, and one line for each photo."""
    EvaluationRecord.read(path)  # refuses what is no evaluation
    values = read_json(path)
    values["data"] |= {key: value for key, value in named.items() if value}
    refuse_outside(values)
    lists = {name: values.pop(name) for name in ("confusion_matrix", "per_photo")}
    text = json.dumps(values, indent=1, ensure_ascii=False).removesuffix("\n}")
    for name, rows in lists.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        text += f',\n "{name}": [\n{lines}\n ]'
    return (text + "\n}\n").encode()


def main() -> int:
    """Keep the evaluation of the shipped model in `results/`, for the documents."""
    parser = argparse.ArgumentParser(description="Keep an evaluation.json in results/, without paths of this machine.")
    parser.add_argument("path", type=Path, help="evaluation.json of clothseg evaluate, run from the project's root")
    parser.add_argument("--data-name", help="what the data is called; as measured if not given")
    parser.add_argument("--data-source", help="where the data is from; as measured if not given")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to keep it in")
    arguments = parser.parse_args()
    content = kept_evaluation(arguments.path, {"name": arguments.data_name, "source": arguments.data_source})
    arguments.results.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.results / "evaluation.json", content)
    print(f"{arguments.results / 'evaluation.json'}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
