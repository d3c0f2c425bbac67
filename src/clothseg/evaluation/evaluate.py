"""The command `clothseg evaluate`: a model, or masks from elsewhere, scored on prepared data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from rich.console import Console

from clothseg.errors import SettingError
from clothseg.evaluation.evaluation import Evaluation
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.report.files import write_reports
from clothseg.evaluation.report.terminal import score_table
from clothseg.evaluation.scored_data import ScoredData, open_data
from clothseg.evaluation.scoring import score
from clothseg.evaluation.sources import open_masks, open_model
from clothseg.prediction.folder import check_output
from clothseg.prediction.predictor import load
from clothseg.prediction.test_time_augmentation import Passes
from clothseg.progress import tracked
from clothseg.settings import ModelOptions

Item = TypeVar("Item")


@dataclass(frozen=True)
class Evaluate:
    """Score a model at the photos' own size: IoU, F1, boundary IoU and more, with intervals and the worst photos."""

    checkpoint_path: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = None
    """Model file; without one, the newest best checkpoint of your own training, else the packaged starter model."""
    data_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = Path("data")
    """Folder of the prepared data set."""
    split: str = "val"
    """Part of the data set to score on."""
    count: int | None = None
    """Score as many photos only, spread evenly over the split; without it, all."""
    output: Path = Path("evaluation")
    """Folder to write evaluation.json, evaluation.md and evaluation.html to."""
    predictions: Path | None = None
    """Folder of index masks made elsewhere, named like the photos, to score in place of a model."""
    class_map: Path | None = None
    """YAML file that says which class of the data set each class of the predictions is, as in: 3: upperbody"""
    leave_out: tuple[str, ...] = ()
    """Classes that one more mean is without, such as those that few photos show."""
    passes: Annotated[Passes, tyro.conf.arg(name="")] = field(default_factory=Passes)
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    checkpoints_path: Path = Path("checkpoints")
    """Folder in which the newest best checkpoint is looked for."""

    def run(self) -> int:
        """Score the photos; print the table of scores and the paths of the files to stdout, all else to stderr.

        Returns:
            0 if all photos were scored, 1 if some could not be and were named.

        Raises:
            SettingError: an argument, or the class map, is not allowed.
            InputError: there is no prepared data, its classes are others, or not one photo could be scored.
            ModelError: the model is missing or damaged.
            MachineError: the output cannot be written.
        """
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        model, data_path = self._model_and_data()
        data = open_data(data_path, self.split, count=self.count)
        leave_out = tuple(data.classes.id_of(name) for name in self.leave_out)
        check_output(self.output)
        predictions = self._predictions(console, model, data)
        console.print(f"Data: {data.manifest.name}, {data.split}, {len(data.photos):,} photos")

        def watch(results: Iterator[Item]) -> Iterator[Item]:
            return tracked(console, results, total=len(data.photos))

        scored = score(predictions, data, watch=watch)
        for failure in scored.failures:
            console.print(f"clothseg: {failure.photo}: {failure.reason}")
        evaluation = Evaluation.of(predictions, data, scored, leave_out=leave_out)
        paths = write_reports(evaluation, predictions, data, self.output)
        Console(highlight=False, markup=False, width=120).print(score_table(evaluation))
        for path in paths:
            print(path)
        return 1 if scored.failures else 0

    def _model_and_data(self) -> tuple[Path | None, Path]:
        """Return the model file and the data folder; a folder in the model's place is the data."""
        model = self.checkpoint_path
        if model is not None and os.path.isdir(model):  # noqa: PTH112 - a Path raises where a name is too long
            return None, model
        if self.predictions is not None and model is not None:
            raise SettingError(
                f"Both a model, {model}, and --predictions {self.predictions} are given. Pass one of them"
            )
        return model, self.data_path

    def _predictions(self, console: Console, model: Path | None, data: ScoredData) -> Predictions:
        if self.predictions is not None:
            console.print(f"Masks: {self.predictions}")
            return open_masks(self.predictions, data.classes, self.class_map)
        opened = open_model(
            lambda: load(model, passes=self.passes, checkpoints_path=self.checkpoints_path, **vars(self.model_options)),
            data.classes,
            self.class_map,
        )
        console.print(f"Model: {opened.predictor.origin} ({opened.predictor.runtime_name})")
        return opened
