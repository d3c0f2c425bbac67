"""The command `clothseg predict`: photos and folders in; masks, overlays and JSON out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import tyro
from rich.console import Console

from clothseg.errors import InputError, SettingError, one_line
from clothseg.freed_memory import FOR_PHOTOS, keep_freed_memory
from clothseg.prediction.folder import FolderRun, PhotoReport, check_output
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.predictor import load
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import find_photos, is_address, read_list
from clothseg.prediction.test_time_augmentation import Passes
from clothseg.progress import tracked
from clothseg.settings import ModelOptions


class Report(Protocol):
    """What became of one photo."""

    @property
    def file(self) -> str:
        """Its path inside the folder it was found in."""

    @property
    def is_new(self) -> bool:
        """Whether this run segmented it, and not an earlier one."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out or changed when it was read, in words."""

    @property
    def files(self) -> Sequence[str | Path]:
        """The files written."""

    @property
    def error(self) -> InputError | None:
        """Why there are none."""


class Run(Protocol):
    """What segments the photos of a command line: this process, or more than that."""

    def reports(self, *, resume: bool) -> Iterator[Report]:
        """Segment the photos and yield what became of each; see `FolderRun.reports`."""

    def write_collection(self) -> Sequence[str | Path]:
        """Write the formats that hold all photos together; see `FolderRun.write_collection`."""


@dataclass(frozen=True)
class Predict:
    """Segment photos: a mask, an overlay and, if asked for, COCO JSON and more for each."""

    photos: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO_OR_DIR...")]
    """Photos, folders or quoted patterns such as "photos/**/*.jpg"; - reads their names from standard input."""
    checkpoint_path: Annotated[Path | None, tyro.conf.arg(name="ckpt")] = None
    """Model file; without one, the newest best checkpoint of your own training."""
    output: Annotated[str | Path, tyro.conf.arg(metavar="DIR")] = "output"
    """Folder to write to; folders of photos keep their structure in it."""
    outputs: Annotated[Outputs, tyro.conf.arg(name="")] = field(default_factory=Outputs)
    passes: Annotated[Passes, tyro.conf.arg(name="")] = field(default_factory=Passes)
    resume: bool = False
    """Pass over photos that an earlier run with the same model and options has done."""
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    checkpoints_path: Path = Path("checkpoints")
    """Folder in which the newest best checkpoint is looked for."""

    def run(self) -> int:
        """Segment the photos; print the paths of the files written to stdout, all else to stderr.

        Returns:
            0 if all are done, 1 if some failed and were named.

        Raises:
            SettingError: no photo was given, or an address.
            InputError: not one photo could be segmented.
            ModelError: the model is missing or damaged.
            MachineError: the output cannot be written.
        """
        if not self.photos:
            raise SettingError("No photo given. Pass photos or folders, as in: infer.py photo.jpg")
        listed = read_list(sys.stdin.buffer.read()) if "-" in self.photos else []
        photos, problems = self._found([one for one in self.photos if one != "-"], listed)
        num_inputs = len(photos) + len(problems)
        if num_inputs == 0:
            raise InputError("The list on standard input is empty. Write one photo or folder a line")
        if num_inputs == 1 and problems:
            raise problems[0]
        console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        for problem in problems:
            _name(console, problem)
        num_done = self._segment(console, photos, alone=num_inputs == 1) if photos else 0
        if num_done == 0:
            raise InputError(f"None of the {num_inputs} photos and folders could be used; each is named above")
        return 0 if num_done == num_inputs else 1

    def _found(self, given: Sequence[str], listed: Sequence[str]) -> tuple[Sequence[Any], Sequence[InputError]]:
        """Return the photos that the command line means, and what is wrong with the inputs that mean none."""
        for one in (*given, *listed, self.output):
            if is_address(one):
                raise SettingError(
                    f"An address, not a path: {one}. Pass --engine ray, which reads and writes addresses"
                )
        search = find_photos(given, output=Path(self.output), listed=listed)
        return search.photos, search.problems

    @contextmanager
    def _opened(self, console: Console, photos: Sequence[Any]) -> Iterator[Run]:
        """Make ready what segments `photos`, and say which model it is."""
        output = Path(self.output)
        check_output(output)
        keep_freed_memory(FOR_PHOTOS)  # here and not in `load`: a library leaves its host's memory alone
        predictor = load(
            self.checkpoint_path,
            passes=self.passes,
            checkpoints_path=self.checkpoints_path,
            **vars(self.model_options),
        )
        console.print(f"Model: {predictor.origin} ({predictor.runtime_name})")
        keeps_journal = len(photos) > 1 or self.resume or bool(self.outputs.formats)
        yield FolderRun(predictor, photos, output, self.outputs, keeps_journal)

    def _segment(self, console: Console, photos: Sequence[Any], *, alone: bool) -> int:
        """Segment `photos` and return how many are done; a photo that is `alone` raises what is wrong with it."""
        num_new, num_before = 0, 0
        with self._opened(console, photos) as run:
            start = time.perf_counter()
            for report in tracked(console, run.reports(resume=self.resume), total=len(photos)):
                if report.error is not None:
                    if alone:
                        raise report.error
                    _name(console, report.error)
                    continue
                num_new += report.is_new
                num_before += not report.is_new
                _tell(console, report, alone=alone)
            if num_new + num_before:
                for path in run.write_collection():
                    print(shown(path))
            seconds = time.perf_counter() - start
        before = f", {num_before} done before" if num_before else ""
        photos_in_words = "1 photo" if num_new == 1 else f"{num_new} photos"
        rate = f"{seconds:.1f} s ({num_new / seconds:.1f} per second)"
        console.print(f"{photos_in_words} in {rate}{before}, in {self.output}")
        return num_new + num_before


def _tell(console: Console, report: Report, *, alone: bool) -> None:
    """Print the files of a photo that is done, and in words what was found if it is `alone`."""
    for note in report.notes:
        console.print(f"{shown(report.file)}: {note}")
    for path in report.files:
        print(shown(path))
    if alone and report.is_new and isinstance(report, PhotoReport) and report.segmentation is not None:
        console.print(_sentence(report.segmentation))


def shown(path: str | Path) -> str:
    """Return a path as one printable line: a line break in a name is written as its escape."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _name(console: Console, error: InputError) -> None:
    console.print(f"clothseg: {one_line(error)}")


def _sentence(segmentation: Segmentation) -> str:
    parts = [f"{label.name} {label.share:.1%} (score {label.score:.2f})" for label in segmentation.labels]
    return f"Found: {', '.join(parts)}" if parts else "Found no garment"
