"""Keeps what was measured, where the report reads it: an evaluation, the lines of the ablation, what was guessed.

    uv run python benchmarks/starter/keep.py evaluation scores/evaluation.json
    uv run python benchmarks/starter/keep.py plain scores-plain/evaluation.json --made-by "COMMAND"
    uv run python benchmarks/starter/keep.py ablation ablation.jsonl
    uv run python benchmarks/starter/keep.py guesses splits/more/guesses.json

Run it from the project's root on the machine that measured. What it keeps is published: paths that lead out of the
project are refused, and `--data-name` and `--data-source` say where the photos are from. `--made-by` is the command
that wrote the masks of the plain recipe.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from results import RESULTS

from clothseg.evaluation.records import Side
from clothseg.pictures import write_whole

sys.path.insert(0, str(Path(__file__).parents[1]))
from machine import num_cores, processor

_ABLATION = (
    "uv run python benchmarks/starter/ablation.py splits/fit --encoder-weights WEIGHTS.pth --guesses "
    "splits/fit-more --photos {photos} --output ablation.jsonl"
)
_OUTSIDE = re.compile(r"(^|[\s=])(/|~|\.\.)")
"""A path that leads out of the project."""
_NUMBERS = re.compile(r"\[\s+([-+\d.e,\s]+?)\s+\]")


def kept_evaluation(path: Path, named: Mapping[str, str | None]) -> bytes:
    """Return an evaluation.json with its data named as `named` says, one line for each photo, as it was."""
    Side.read(path)  # refuses what is no evaluation
    values = json.loads(path.read_text(encoding="utf-8"))
    values["data"] |= {key: value for key, value in named.items() if key != "made_by" and value}
    if named["made_by"]:
        values["made_by"] = named["made_by"]
    refuse_outside(values)
    lists = {name: values.pop(name) for name in ("confusion_matrix", "per_photo")}
    text = json.dumps(values, indent=1, ensure_ascii=False).removesuffix("\n}")
    for name, rows in lists.items():
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        text += f',\n "{name}": [\n{lines}\n ]'
    return (text + "\n}\n").encode()


def kept_ablation(path: Path) -> bytes:
    """Return the lines of an ablation, the last one of each recipe, with command, machine and date."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = {line["recipe"]: line for line in lines}
    photos = {line["photos"] for line in rows.values()}
    if len(photos) != 1:
        raise SystemExit(f"Error: {path} has recipes that saw {sorted(photos)} photos; only equal numbers compare")
    date = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    facts = {"command": _ABLATION.format(photos=photos.pop()), "machine": machine_in_words(), "date": date}
    return as_json(facts | {"rows": list(rows.values())})


def machine_in_words() -> str:
    """Return processor, cores and versions of this machine."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "lightning", "segmentation-models-pytorch"))
    return f"{processor()}, {num_cores()} cores, {platform.system()}, Python {platform.python_version()}, {packages}"


def refuse_outside(values: Any) -> None:
    """End with an error if a text holds a path that leads out of the project: readers cannot follow it."""
    for text in _texts(values):
        if _OUTSIDE.search(text):
            raise SystemExit(
                f"Error: {text!r} names a place outside the project. Measure again from its root with paths in it, "
                "or name the data: keep.py and split.py have flags for it"
            )


def _texts(values: Any) -> Iterator[str]:
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for one in values.values():
            yield from _texts(one)
    elif isinstance(values, list):
        for one in values:
            yield from _texts(one)


def as_json(values: Any) -> bytes:
    """Return plain values as the bytes of a file; a list of numbers is one line."""
    text = json.dumps(values, indent=1, ensure_ascii=False)
    return (_NUMBERS.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n").encode()


def main() -> int:
    """Keep one file."""
    parser = argparse.ArgumentParser(description="Keep what was measured for the report.")
    parser.add_argument("kind", choices=("evaluation", "plain", "ablation", "guesses"), help="what it is")
    parser.add_argument("path", type=Path, help="the file")
    parser.add_argument("--data-name", help="what the data is called; as measured if not given")
    parser.add_argument("--data-source", help="where the data is from; as measured if not given")
    parser.add_argument("--made-by", help="command that wrote the masks which were scored")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to keep it in")
    arguments = parser.parse_args()
    if arguments.kind == "plain" and not arguments.made_by:
        parser.error("plain needs --made-by: the command that wrote its masks")
    named = {"name": arguments.data_name, "source": arguments.data_source, "made_by": arguments.made_by}
    if arguments.kind == "ablation":
        content = kept_ablation(arguments.path)
    elif arguments.kind == "guesses":
        content = as_json(json.loads(arguments.path.read_text(encoding="utf-8")))
    else:
        content = kept_evaluation(arguments.path, named)
    arguments.results.mkdir(parents=True, exist_ok=True)
    target = arguments.results / f"{arguments.kind}.json"
    write_whole(target, content)
    print(f"{target}: {len(content):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
