"""The command `clothseg compare`: two models, or two folders of masks, scored on the same photos."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from clothseg.errors import make_folder
from clothseg.evaluation.bootstrap import RESAMPLES, SEED
from clothseg.evaluation.comparison import Comparison, compare
from clothseg.evaluation.metrics import TITLES
from clothseg.evaluation.predictions import Predictions, open_masks, open_model
from clothseg.evaluation.records import EvaluationRecord, Provenance
from clothseg.evaluation.report import ABSENT, change, change_bounds, num_photos, number, write_reports
from clothseg.evaluation.scoring import ScoredData, open_data, score_photos
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.settings import ModelOptions

SHOWN_SCORES = ("iou", "f1", "boundary_iou")
"""The scores that tables show; the JSON has all."""

_MIN_SCALE = 0.02  # end of the chart's scale: smaller differences are not enlarged further


@dataclass(frozen=True)
class Compare:
    """Score two models on the same photos, and say which differences are significant."""

    first: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Model file, folder of index masks, or the evaluation.json of an earlier evaluation."""
    second: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """The same, to be compared with the first."""
    data_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = Path("data")
    """Folder of the prepared dataset; not needed for two earlier evaluations."""
    split: str = "val"
    """Part of the dataset to score on."""
    count: int | None = None
    """Score only this many photos, spread evenly over the split; without it, all."""
    output: Path = Path("comparison")
    """Folder to write compare.json, compare.md and compare.html to."""
    leave_out: tuple[str, ...] = ()
    """Classes that an additional mean leaves out, such as those that few photos show."""
    class_map_a: Path | None = None
    """YAML file that maps each class of the first to a class of the dataset, as in: 3: upperbody"""
    class_map_b: Path | None = None
    """The same for the second."""
    augmentation: TestTimeAugmentation = field(default_factory=TestTimeAugmentation)
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="runtime")] = field(default_factory=ModelOptions)

    def run(self) -> int:
        """Compare the two; print the table and the paths of the files to stdout, all else to stderr.

        Returns:
            0 if all photos were scored, 1 if some could not be scored; each of these is named.

        Raises:
            SettingError: an argument, or a class map, is not allowed.
            InputError: there is no prepared data, or the two cannot be compared.
            ModelError: a model is missing or damaged.
            MachineError: the output cannot be written.
        """
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        given = ((self.first, self.class_map_a), (self.second, self.class_map_b))
        data = None
        if not all(_is_evaluation(path) for path, _ in given):
            data = open_data(self.data_path, self.split, count=self.count)
            for name in self.leave_out:
                data.classes.id_of(name)
        make_folder(self.output)
        records: list[EvaluationRecord] = []
        num_failures = 0
        for path, one in [(path, self._open(console, path, class_map, data)) for path, class_map in given]:
            if isinstance(one, EvaluationRecord):
                records.append(one)
                continue
            assert data is not None
            console.print(f"Scoring {path} on {data.manifest.name}, {data.split}, {len(data.photos):,} photos")
            counts, failures = score_photos(one, data, console)
            num_failures += len(failures)
            records.append(EvaluationRecord.of(one, data, counts))
        comparison = compare(*records, leave_out=self.leave_out)
        paths = write_comparison(comparison, self.output)
        Console(highlight=False, markup=False, width=120).print(_difference_table(comparison))
        print(comparison.conclusion)
        for path in paths:
            print(path)
        return 1 if num_failures else 0

    def _open(
        self, console: Console, path: Path, class_map: Path | None, data: ScoredData | None
    ) -> EvaluationRecord | Predictions:
        """Return an evaluation as it was written, or what predicts the masks to score."""
        if data is None or _is_evaluation(path):
            return EvaluationRecord.read(path)
        if path.is_dir():
            return open_masks(path, data.classes, class_map)
        options = vars(self.model_options)
        opened = open_model(path, data.classes, class_map, augmentation=self.augmentation, **options)
        console.print(f"Model: {opened.predictor.origin}")
        return opened


def _is_evaluation(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write compare.json, compare.md and compare.html into a folder and return their paths.

    Raises:
        MachineError: the folder cannot be written.
    """
    provenance = Provenance.now()
    changes = [one.scores["iou"].change for one in comparison.classes]
    changes += [means["iou"].change for _, means in comparison.mean_rows]
    ends = [abs(end) for one in changes for end in (one.value, one.low, one.high) if not math.isnan(end)]
    return write_reports(
        folder,
        "compare",
        comparison.to_json(provenance),
        title=comparison.title,
        facts=[*_facts(comparison), *provenance.rows()],
        comparison=comparison,
        classes=comparison.first.classes.classes,
        shown_scores=[(name, TITLES[name]) for name in SHOWN_SCORES],
        scale=max([_MIN_SCALE, *ends]),
    )


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return what was compared, as names and values."""
    rows = []
    for name, record in zip(comparison.names, (comparison.first, comparison.second), strict=True):
        checksum = f", SHA-256 {record.predictions['sha256']}" if "sha256" in record.predictions else ""
        rows.append((name, f"{record.predictions['kind']}{checksum}"))
    photos = num_photos(comparison.num_photos)
    if comparison.left_out_photos:
        photos += f"; left out: {len(comparison.left_out_photos)} that only one of the two was scored on"
    return [
        *rows,
        ("Data", f"{comparison.first.data_name}, {comparison.first.split}"),
        ("Photos", photos),
        ("Intervals", f"95%, by paired bootstrap over photos: {RESAMPLES:,} resamples, seed {SEED}"),
    ]


def _difference_table(comparison: Comparison) -> Table:
    """Return the IoU of both for each class, the difference, and whether it is significant, for a terminal."""
    table = Table(title=f"{comparison.title}: {num_photos(comparison.num_photos)}")
    table.add_column("IoU of", no_wrap=True)
    for heading in ("photos", *comparison.names, "difference", "95%", ""):
        table.add_column(heading, justify="right", overflow="fold")
    rows = [(one.name, f"{one.photos:,}", one.scores["iou"]) for one in comparison.classes]
    rows += [(title, "", scores["iou"]) for title, scores in comparison.mean_rows]
    rows += [("pixel accuracy", "", comparison.accuracy)]
    for index, (name, photos, one) in enumerate(rows):
        if index == len(comparison.classes):
            table.add_section()
        if one.verdict == "absent":
            table.add_row(name, ABSENT, style="dim")
            continue
        figures = [number(one.first), number(one.second), change(one.change), change_bounds(one.change)]
        table.add_row(name, photos, *figures, one.verdict_text)
    return table
