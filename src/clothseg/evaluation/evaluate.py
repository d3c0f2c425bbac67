"""The command `clothseg evaluate`: a model, or a folder of masks, scored on prepared data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from clothseg.errors import SettingError, command, make_folder
from clothseg.evaluation.bootstrap import MIN_PHOTOS, RESAMPLES, SEED
from clothseg.evaluation.metrics import SCORES, TITLES, row_shares, shown_classes, summarise
from clothseg.evaluation.predictions import Predictions, open_masks, open_model
from clothseg.evaluation.records import Evaluation, Provenance
from clothseg.evaluation.report import ABSENT, bounds, num_photos, score, write_reports
from clothseg.evaluation.scoring import ScoredData, open_data, score_photos, worst_photos
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.settings import ModelOptions

_DATA = "data"


@dataclass(frozen=True)
class Evaluate:
    """Score a model at the photos' own size: IoU, F1, boundary IoU and more, with intervals and the worst photos."""

    checkpoint_path: Annotated[str | Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")] = None
    """Model file, or its address (hf://OWNER/NAME/FILE.onnx or https://…); without one, the newest best checkpoint of
    your own training, else the packaged starter model."""
    data_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = Path(_DATA)
    """Folder of the prepared dataset."""
    split: str = "val"
    """Part of the dataset to score on."""
    count: int | None = None
    """Score only this many photos, spread evenly over the split; without it, all."""
    output: Path = Path("evaluation")
    """Folder to write evaluation.json, evaluation.md and evaluation.html to."""
    predictions: Path | None = None
    """Folder of index masks from another program, named like the photos, to score instead of a model."""
    class_map: Path | None = None
    """YAML file that maps each class of the predictions to a class of the dataset, as in: 3: upperbody"""
    leave_out: tuple[str, ...] = ()
    """Classes that an additional mean leaves out, such as those that few photos show."""
    augmentation: TestTimeAugmentation = field(default_factory=TestTimeAugmentation)
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="runtime")] = field(default_factory=ModelOptions)
    checkpoints_path: Path = Path("checkpoints")
    """Folder to search for the newest best checkpoint."""

    def run(self) -> int:
        """Score the photos; print the table of scores and the paths of the files to stdout, all else to stderr.

        Returns:
            0 if all photos were scored, 1 if some could not be scored; each of these is named.

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
        make_folder(self.output)
        predictions = self._predictions(console, model, data)
        console.print(f"Data: {data.manifest.name}, {data.split}, {len(data.photos):,} photos")
        counts, failures = score_photos(predictions, data, console)
        summary = summarise(counts, leave_out=leave_out)
        evaluation = Evaluation(predictions.origin(), data, counts, failures, summary, Provenance.now())
        paths = write_evaluation(evaluation, predictions, self.output)
        Console(highlight=False, markup=False, width=120).print(_score_table(evaluation))
        for path in paths:
            print(path)
        return 1 if failures else 0

    def _model_and_data(self) -> tuple[str | Path | None, Path]:
        """Return the model file and the data folder; a folder in place of the model is the data."""
        model = self.checkpoint_path
        if model is not None and os.path.isdir(model):  # noqa: PTH112 - a Path raises where a name is too long
            if self.data_path not in (Path(_DATA), Path(model)):
                raise SettingError(
                    f"{model} is a folder, so {self.data_path} after it would be ignored. The model comes first, then "
                    f"the folder of the data: {command('evaluate', 'MODEL', model)}"
                )
            return None, Path(model)
        if self.predictions is not None and model is not None:
            raise SettingError(
                f"Both a model, {model}, and --predictions {self.predictions} are given. Pass one of them"
            )
        return model, self.data_path

    def _predictions(self, console: Console, model: str | Path | None, data: ScoredData) -> Predictions:
        if self.predictions is not None:
            console.print(f"Masks: {self.predictions}")
            return open_masks(self.predictions, data.classes, self.class_map)
        opened = open_model(
            model,
            data.classes,
            self.class_map,
            augmentation=self.augmentation,
            checkpoints_path=self.checkpoints_path,
            **vars(self.model_options),
        )
        console.print(f"Model: {opened.predictor.origin} ({opened.predictor.runtime_name})")
        return opened


def write_evaluation(evaluation: Evaluation, predictions: Predictions, folder: Path) -> list[Path]:
    """Write evaluation.json, evaluation.md and evaluation.html into a folder and return their paths.

    Raises:
        MachineError: the folder cannot be written.
    """
    rows, columns = shown_classes(evaluation.summary.matrix)
    return write_reports(
        folder,
        "evaluation",
        evaluation.to_json(),
        title=evaluation.title,
        facts=_facts(evaluation),
        evaluation=evaluation,
        summary=evaluation.summary,
        classes=evaluation.data.classes.classes,
        worst=worst_photos(evaluation.counts, predictions, evaluation.data),
        score_titles=TITLES,
        matrix_rows=rows,
        matrix_columns=[(class_id, evaluation.counts.names[class_id]) for class_id in columns],
        matrix_shares=row_shares(evaluation.summary.matrix).tolist(),
    )


def _facts(evaluation: Evaluation) -> Sequence[tuple[str, str]]:
    """Return what was scored, how, when and where, as names and values."""
    made, manifest = evaluation.predictions, evaluation.data.manifest
    rows = [("Masks" if made["kind"] == "masks" else "Model", str(made["name"]))]
    if made["kind"] == "model":
        augmentation = f"tiles {made['tiles']}, flip {'yes' if made['flip'] else 'no'}, scales {made['scales']}"
        rows += [("SHA-256", str(made["sha256"])), ("Runtime", str(made["runtime"]))]
        rows += [("Test-time augmentation", augmentation)]
        rows += [("Licence", str(made["licence"]))] if made["licence"] else []
        unknown = ", ".join(made["unknown_classes"])
        rows += [("Not in the training data", unknown)] if unknown else []
    failed = f"; {len(evaluation.failures)} could not be scored" if evaluation.failures else ""
    return [
        *rows,
        ("Data", f"{manifest.name} ({manifest.source}), {evaluation.data.split}"),
        ("Photos", f"{num_photos(evaluation.summary.num_photos)}{failed}"),
        (
            "Intervals",
            f"95%, by bootstrap over photos: {RESAMPLES:,} resamples of as many photos, seed {SEED}. "
            f"A class that fewer than {MIN_PHOTOS} photos show has no interval.",
        ),
        *evaluation.provenance.rows(),
    ]


def _score_table(evaluation: Evaluation) -> Table:
    """Return the scores of each class, their means and the pixel accuracy, for a terminal."""
    summary = evaluation.summary
    table = Table(title=f"{evaluation.title}: {num_photos(summary.num_photos)}")
    table.add_column("class", no_wrap=True)
    for heading in ("photos", "IoU", "95%", *(TITLES[name] for name in SCORES[1:])):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = [(one.name, f"{one.photos:,}", one.scores) for one in summary.classes]
    rows += [(title, "", means) for title, means in summary.mean_rows]
    for index, (name, photos, scores) in enumerate(rows):
        if index == len(summary.classes):
            table.add_section()
        if scores["iou"].is_absent:
            table.add_row(name, ABSENT, style="dim")
            continue
        others = [score(scores[one]) for one in SCORES[1:]]
        table.add_row(name, photos, score(scores["iou"]), bounds(scores["iou"]), *others)
    large = summary.consistency
    for name, photos, one in (
        ("pixel accuracy", "", summary.accuracy),
        ("large garments torn", f"{large.photos:,}", large.torn),
        ("large garments of wrong majority", f"{large.photos:,}", large.wrong_majority),
    ):
        table.add_row(name, photos, score(one), bounds(one))
    return table
