"""The files of an evaluation: each written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.report.gallery import worst_photos
from clothseg.evaluation.report.json_file import evaluation_json
from clothseg.evaluation.report.markdown import evaluation_markdown
from clothseg.evaluation.report.page import evaluation_page
from clothseg.evaluation.scored_data import ScoredData
from clothseg.pictures import write_whole


def write_reports(evaluation: Evaluation, predictions: Predictions, data: ScoredData, folder: Path) -> list[Path]:
    """Write evaluation.json, evaluation.md and evaluation.html into `folder` and return their paths.

    Raises:
        MachineError: the folder cannot be written.
    """
    contents = {
        ".json": evaluation_json(evaluation),
        ".md": evaluation_markdown(evaluation).encode(),
        ".html": evaluation_page(evaluation, worst_photos(evaluation, predictions, data)).encode(),
    }
    paths = [folder / f"evaluation{ending}" for ending in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        write_whole(path, content)
    return paths
