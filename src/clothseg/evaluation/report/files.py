"""The files of an evaluation: each written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.report.json_file import evaluation_json
from clothseg.evaluation.scored_data import ScoredData
from clothseg.pictures import write_whole


def write_reports(evaluation: Evaluation, predictions: Predictions, data: ScoredData, folder: Path) -> list[Path]:
    """Write the JSON and return its path."""
    path = folder / "evaluation.json"
    write_whole(path, evaluation_json(evaluation))
    return [path]
