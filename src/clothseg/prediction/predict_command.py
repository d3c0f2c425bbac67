"""The command `clothseg predict`: photos and folders in; masks, overlays and JSON out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from clothseg.errors import InputError, SettingError, one_line
from clothseg.prediction.folder import PhotoReport, check_output, predict_into_folder
from clothseg.prediction.predictor import load
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import FoundPhoto, find_photos


@dataclass(frozen=True)
class Predict:
    """Segment photos: a mask, an overlay and, if asked for, COCO JSON for each."""

    photos: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO_OR_DIR...")]
    """Photos, folders or quoted patterns such as "photos/**/*.jpg"."""
    checkpoint_path: Annotated[Path | None, tyro.conf.arg(name="ckpt")] = None
    """Model file; without one, the newest best checkpoint of your own training."""
    output: Path = Path("output")
    """Folder to write to; folders of photos keep their structure in it."""
    json: bool = False
    """Write the results as JSON with COCO run-length codes, too."""
    checkpoints_path: Path = Path("checkpoints")
    """Folder in which the newest best checkpoint is looked for."""

    def run(self) -> int:
        """Segment the photos; print the paths of the files written to stdout, all else to stderr.

        Returns:
            0 if all are done, 1 if some failed and were named.

        Raises:
            SettingError: no photo was given.
            InputError: not one photo could be segmented.
            ModelError: the model is missing or damaged.
            MachineError: the output cannot be written.
        """
        if not self.photos:
            raise SettingError("No photo given. Pass photos or folders, as in: infer.py photo.jpg")
        search = find_photos(self.photos, output=self.output)
        num_inputs = len(search.photos) + len(search.problems)
        if num_inputs == 1 and search.problems:
            raise search.problems[0]
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        for problem in search.problems:
            _name(console, problem)
        num_done = self._segment(console, search.photos, alone=num_inputs == 1) if search.photos else 0
        if num_done == 0:
            raise InputError(f"None of the {num_inputs} photos and folders could be used; each is named above")
        return 0 if num_done == num_inputs else 1

    def _segment(self, console: Console, photos: Sequence[FoundPhoto], *, alone: bool) -> int:
        """Segment `photos` and return how many are done; a photo that is `alone` raises what is wrong with it."""
        check_output(self.output)
        predictor = load(self.checkpoint_path, checkpoints_path=self.checkpoints_path)
        console.print(f"Model: {predictor.origin} ({predictor.runtime_name})")
        start = time.perf_counter()
        num_done = 0
        for report in _tracked(console, predict_into_folder(predictor, photos, self.output, json=self.json), photos):
            if report.error is not None:
                if alone:
                    raise report.error
                _name(console, report.error)
            elif report.segmentation is not None:
                num_done += 1
                for note in report.segmentation.notes:
                    console.print(f"{shown(report.photo.file)}: {note}")
                for path in report.files:
                    print(shown(path))
                if alone:
                    console.print(_sentence(report.segmentation))
        seconds = time.perf_counter() - start
        photos_in_words = "1 photo" if num_done == 1 else f"{num_done} photos"
        console.print(f"{photos_in_words} in {seconds:.1f} s ({num_done / seconds:.1f} per second), in {self.output}")
        return num_done


def shown(path: str | Path) -> str:
    """Return a path as one printable line: a line break in a name is written as its escape."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _name(console: Console, error: InputError) -> None:
    console.print(f"clothseg: {one_line(error)}")


def _sentence(segmentation: Segmentation) -> str:
    parts = [f"{label.name} {label.share:.1%} (score {label.score:.2f})" for label in segmentation.labels]
    return f"Found: {', '.join(parts)}" if parts else "Found no garment"


def _tracked(console: Console, reports: Iterable[PhotoReport], photos: Sequence[FoundPhoto]) -> Iterator[PhotoReport]:
    """Pass the reports on, with a progress bar on a terminal where there is more than one photo."""
    if len(photos) == 1 or not console.is_terminal:
        yield from reports
        return
    columns = (TextColumn("Segmenting"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
    # Paths go above the bar only if stdout is this terminal, too; otherwise rich would send them to stderr.
    with Progress(*columns, console=console, redirect_stdout=sys.stdout.isatty()) as progress:
        yield from progress.track(reports, total=len(photos))


class _RateColumn(ProgressColumn):
    """Photos per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} photos/s" if task.speed else "")
