"""The files of a comparison: JSON, Markdown and one HTML page, each written whole."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clothseg.evaluation.bootstrap import LEAST_PHOTOS, LEVEL, RESAMPLES, SEED
from clothseg.evaluation.compare import Comparison, Difference
from clothseg.evaluation.evaluation import Circumstances
from clothseg.evaluation.report.comparison_markdown import comparison_markdown
from clothseg.evaluation.report.comparison_page import comparison_page
from clothseg.pictures import write_whole

VERSION = 1


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write compare.json, compare.md and compare.html into `folder` and return their paths.

    Raises:
        MachineError: the folder cannot be written.
    """
    circumstances = Circumstances.now()
    contents = {
        ".json": comparison_json(comparison, circumstances),
        ".md": comparison_markdown(comparison, circumstances).encode(),
        ".html": comparison_page(comparison, circumstances).encode(),
    }
    paths = [folder / f"compare{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_whole(path, content)
    return paths


def comparison_json(comparison: Comparison, circumstances: Circumstances) -> bytes:
    """Return the bytes of the JSON file."""
    values = {
        "version": VERSION,
        "first": dict(comparison.first.predictions),
        "second": dict(comparison.second.predictions),
        "data": {"name": comparison.first.data_name, "split": comparison.first.split},
        "photos": comparison.num_photos,
        "left_out": list(comparison.left_out_photos),
        "clothseg": circumstances.clothseg,
        "command": circumstances.command,
        "machine": circumstances.machine,
        "date": circumstances.date,
        "intervals": {
            "level": LEVEL,
            "method": "paired bootstrap over photos",
            "resamples": RESAMPLES,
            "seed": SEED,
            "least_photos": LEAST_PHOTOS,
        },
        "pixel_accuracy": _difference(comparison.accuracy),
        "mean": {
            "with_background": _by_score(comparison.means),
            "without_background": _by_score(comparison.garment_means),
            "without_left_out": _by_score(comparison.chosen_means),
            "left_out": list(comparison.left_out_classes),
        },
        "classes": [
            {"id": one.class_id, "name": one.name, "absent": not one.photos, "photos": one.photos}
            | _by_score(one.scores)
            for one in comparison.classes
        ],
    }
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _by_score(scores: Mapping[str, Difference]) -> dict[str, Any]:
    return {name: _difference(one) for name, one in scores.items()}


def _difference(one: Difference) -> dict[str, Any] | None:
    if one.verdict == "absent":
        return None
    bounds = (None if math.isnan(bound) else bound for bound in (one.change.low, one.change.high))
    low, high = bounds
    change = {"change": one.change.value, "low": low, "high": high}
    return {"first": one.first, "second": one.second} | change | {"verdict": one.verdict}
