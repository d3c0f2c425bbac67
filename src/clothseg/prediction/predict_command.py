"""The command `clothseg predict`: photos and folders in; masks, overlays and JSON out."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from clothseg.errors import InputError, SettingError, one_line
from clothseg.prediction.folder import FolderRun, PhotoReport, check_output
from clothseg.prediction.outputs.options import Outputs
from clothseg.prediction.passes import Passes
from clothseg.prediction.predictor import load
from clothseg.prediction.progress import tracked
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import FoundPhoto, find_photos, read_list


@dataclass(frozen=True)
class Predict:
    """Segment photos: a mask, an overlay and, if asked for, COCO JSON and more for each."""

    photos: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO_OR_DIR...")]
    """Photos, folders or quoted patterns such as "photos/**/*.jpg"; - reads their names from standard input."""
    checkpoint_path: Annotated[Path | None, tyro.conf.arg(name="ckpt")] = None
    """Model file; without one, the newest best checkpoint of your own training."""
    output: Path = Path("output")
    """Folder to write to; folders of photos keep their structure in it."""
    outputs: Annotated[Outputs, tyro.conf.arg(name="")] = field(default_factory=Outputs)
    passes: Annotated[Passes, tyro.conf.arg(name="")] = field(default_factory=Passes)
    resume: bool = False
    """Pass over photos that an earlier run with the same model and options has done."""
    runtime: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the network: torch for checkpoints, openvino or onnxruntime for exported models."""
    device: str = "auto"
    """Where it runs: auto, cpu, cuda or mps."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """How it computes; auto takes bf16 where it is fast and an exported model was shown to keep its masks with it."""
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
        listed = read_list(sys.stdin.buffer.read()) if "-" in self.photos else []
        given = [one for one in self.photos if one != "-"]
        search = find_photos(given, output=self.output, listed=listed)
        num_inputs = len(search.photos) + len(search.problems)
        if num_inputs == 0:
            raise InputError("The list on standard input is empty. Write one photo or folder a line")
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
        predictor = load(
            self.checkpoint_path,
            runtime=self.runtime,
            device=self.device,
            precision=self.precision,
            passes=self.passes,
            checkpoints_path=self.checkpoints_path,
        )
        console.print(f"Model: {predictor.origin} ({predictor.runtime_name})")
        keeps_journal = len(photos) > 1 or self.resume or bool(self.outputs.formats)
        run = FolderRun(predictor, photos, self.output, self.outputs, keeps_journal)
        start = time.perf_counter()
        num_new, num_before = 0, 0
        for report in tracked(console, run.reports(resume=self.resume), total=len(photos)):
            if report.error is not None:
                if alone:
                    raise report.error
                _name(console, report.error)
                continue
            num_new += report.segmentation is not None
            num_before += report.segmentation is None
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


def _tell(console: Console, report: PhotoReport, *, alone: bool) -> None:
    """Print the files of a photo that is done, and in words what was found if it is `alone`."""
    notes = report.segmentation.notes if report.segmentation is not None else ()
    for note in notes:
        console.print(f"{shown(report.photo.file)}: {note}")
    for path in report.files:
        print(shown(path))
    if alone and report.segmentation is not None:
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
