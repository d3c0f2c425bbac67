"""The command `clothseg compare`: two models, or two sets of masks, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from rich.console import Console

from clothseg.evaluation.compare import compare
from clothseg.evaluation.predictions import Predictions
from clothseg.evaluation.records import Side
from clothseg.evaluation.report.comparison_files import write_comparison
from clothseg.evaluation.report.comparison_words import sentence, sentence_of_classes
from clothseg.evaluation.report.terminal import difference_table
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
class Compare:
    """Score two models on the same photos, and say which differences are beyond chance."""

    first: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="A")]
    """Model file, folder of index masks, or the evaluation.json of an earlier evaluation."""
    second: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="B")]
    """The same, to be compared with the first."""
    data_path: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]")] = Path("data")
    """Folder of the prepared data set; not needed for two earlier evaluations."""
    split: str = "val"
    """Part of the data set to score on."""
    count: int | None = None
    """Score as many photos only, spread evenly over the split; without it, all."""
    output: Path = Path("comparison")
    """Folder to write compare.json, compare.md and compare.html to."""
    leave_out: tuple[str, ...] = ()
    """Classes that one more mean is without, such as those that few photos show."""
    class_map_a: Path | None = None
    """YAML file that says which class of the data set each class of the first is, as in: 3: upperbody"""
    class_map_b: Path | None = None
    """The same for the second."""
    passes: Annotated[Passes, tyro.conf.arg(name="")] = field(default_factory=Passes)
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)

    def run(self) -> int:
        """Compare the two; print the table and the paths of the files to stdout, all else to stderr.

        Returns:
            0 if all photos were scored, 1 if some could not be and were named.

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
        check_output(self.output)
        sides, num_failures = [], 0
        for path, class_map in given:
            side, failed = self._side(console, path, class_map, data)
            sides.append(side)
            num_failures += failed
        comparison = compare(*sides, leave_out=self.leave_out)
        paths = write_comparison(comparison, self.output)
        Console(highlight=False, markup=False, width=120).print(difference_table(comparison))
        print(sentence(comparison), sentence_of_classes(comparison))
        for path in paths:
            print(path)
        return 1 if num_failures else 0

    def _side(self, console: Console, path: Path, class_map: Path | None, data: ScoredData | None) -> tuple[Side, int]:
        """Return one side, and how many photos could not be scored."""
        if data is None or _is_evaluation(path):
            return Side.read(path), 0
        predictions: Predictions
        if path.is_dir():
            predictions = open_masks(path, data.classes, class_map)
        else:
            predictions = open_model(
                lambda: load(path, passes=self.passes, **vars(self.model_options)), data.classes, class_map
            )
        console.print(f"Scoring {path} on {data.manifest.name}, {data.split}, {len(data.photos):,} photos")

        def watch(results: Iterator[Item]) -> Iterator[Item]:
            return tracked(console, results, total=len(data.photos))

        scored = score(predictions, data, watch=watch)
        for failure in scored.failures:
            console.print(f"clothseg: {failure.photo}: {failure.reason}")
        return Side.of(predictions, data, scored.tally), len(scored.failures)


def _is_evaluation(path: Path) -> bool:
    return path.suffix.lower() == ".json"
