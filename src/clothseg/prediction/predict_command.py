"""The command `clothseg predict`: photos and folders in; masks, overlays and JSON out."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol, Self

from clothseg.errors import InputError, SettingError, command, make_folder, one_line
from clothseg.prediction.folder import FolderRun
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.predictor import Outcome, load
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import Photo, Search, find_photos, is_address, read_list
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.progress import Printer, printer, tracked
from clothseg.settings import ModelOptions, tyro


class Run(Protocol):
    """What segments the photos of a command line, ready to start."""

    def outcomes(self, *, resume: bool) -> Iterator[Outcome]:
        """Segment the photos and yield what became of each; see `FolderRun.outcomes`."""

    def write_collection(self) -> Sequence[str | Path]:
        """Write the formats of all photos together; see `FolderRun.write_collection`."""


class Engine(Protocol):
    """Where the photos are segmented: in this process, or on a cluster."""

    def find(self, given: Sequence[str], listed: Sequence[str]) -> Search:
        """Return the photos that the command line and a list on standard input mean, and the inputs that mean none."""

    def open(self, console: Printer, photos: Sequence[Photo]) -> AbstractContextManager[Run]:
        """Check the output, load the model and print on `console` which it is."""


@dataclass(frozen=True)
class Predict:
    """Segment photos: a mask, an overlay and, if asked for, COCO JSON and more for each."""

    photos: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO_OR_DIR...")]
    """Photos, folders or quoted patterns such as "photos/**/*.jpg"; - reads their names from standard input."""
    checkpoint_path: Annotated[
        str | Path | None, tyro.conf.arg(name="ckpt", aliases=("--model",), metavar="MODEL")  # as serve has it
    ] = None
    """Model file, or its address (hf://OWNER/NAME/FILE.onnx or https://…); without one, the newest best checkpoint of
    your own training, or else the packaged starter model."""
    output: Annotated[str | Path, tyro.conf.arg(metavar="DIR")] = "output"
    """Folder to write to; folders of photos keep their structure in it."""
    outputs: Annotated[Outputs, tyro.conf.arg(name="output")] = field(default_factory=Outputs)
    augmentation: TestTimeAugmentation = field(default_factory=TestTimeAugmentation)
    list_files: bool = False
    """Print the path of each file on a terminal, too, as a single photo and a pipe do."""
    resume: bool = False
    """Skip photos that an earlier run with the same model and options has done."""
    model_options: Annotated[ModelOptions, tyro.conf.arg(name="runtime")] = field(default_factory=ModelOptions)
    checkpoints_path: Path = Path("checkpoints")
    """Folder to search for the newest best checkpoint."""

    @classmethod
    def of_plain(cls, words: Sequence[str], defaults: Mapping[str, Any]) -> Self | None:
        """Read photos with --ckpt, --output and --json; None where there is more, which tyro reads.

        tyro takes as long for it as the network for a photo.
        """
        names = {"--ckpt": "checkpoint_path", "--output": "output"}
        given: dict[str, Any] = {}
        texts: list[str] = []
        photos: dict[int, str] = {}
        numbered = iter(enumerate(words))
        for position, word in numbered:
            if word == "--json":
                given["outputs"] = Outputs(json=True)
            elif word in names:
                given[names[word]] = next(numbered, (0, "-"))[1]
                texts.append(given[names[word]])
            else:
                photos[position] = word
                texts.append(word)
        is_plain = not photos or max(photos) - min(photos) < len(photos)
        is_plain = is_plain and not any(text.startswith("-") or not text for text in texts)
        if not is_plain or given.get("checkpoint_path") == "None":
            return None
        return cls(tuple(photos.values()), **{**defaults, **given})

    def run(self) -> int:
        """Segment the photos in this process; see `segment`."""
        return segment(self, LocalEngine(self))


@dataclass(frozen=True)
class LocalEngine:
    """Segments the photos in this process."""

    options: Predict

    def find(self, given: Sequence[str], listed: Sequence[str]) -> Search:
        """Return what `find_photos` finds; addresses are refused."""
        for one in (*given, *listed, self.options.output):
            if is_address(one):
                raise SettingError(
                    f"An address, not a path: {one}. Pass --engine ray, which reads and writes addresses"
                )
        return find_photos(given, output=Path(self.options.output), listed=listed)

    @contextmanager
    def open(self, console: Printer, photos: Sequence[Photo]) -> Iterator[FolderRun]:
        """Check the output, load the model and print on `console` which it is."""
        options, output = self.options, Path(self.options.output)
        make_folder(output)
        predictor = load(
            options.checkpoint_path,
            many_photos=len(photos) > 1,
            one_photo=len(photos) == 1,
            augmentation=options.augmentation,
            checkpoints_path=options.checkpoints_path,
            **vars(options.model_options),
        )
        console.print(f"Model: {predictor.origin} ({predictor.runtime_name})")
        for meaning in options.outputs.meanings(predictor.description.classes):
            console.print(meaning)
        writes_journal = len(photos) > 1 or options.resume or bool(options.outputs.formats)
        yield FolderRun(predictor, photos, output, options.outputs, writes_journal)


def segment(options: Predict, engine: Engine) -> int:
    """Segment photos; print a summary to stderr, and the paths of the files written to stdout, if a program reads it.

    Returns:
        0 if all are done, 1 if some failed and were named.

    Raises:
        SettingError: no photo was given, or an address.
        InputError: not one photo could be segmented.
        ModelError: the model is missing or damaged.
        MachineError: the output cannot be written.
    """
    if not options.photos:
        raise SettingError(f"No photo given. Pass photos or folders, as in: {command('predict', 'photo.jpg')}")
    listed = read_list(sys.stdin.buffer.read()) if "-" in options.photos else []
    photos, problems = engine.find([one for one in options.photos if one != "-"], listed)
    num_inputs = len(photos) + len(problems)
    if num_inputs == 0:
        raise InputError("The list on standard input is empty. Write one photo or folder a line")
    if num_inputs == 1 and problems:
        raise problems[0]
    console = printer(len(photos))
    for problem in problems:
        _print_error(console, problem)
    num_done = 0
    if photos:
        with engine.open(console, photos) as run:
            num_done = _segment(console, run, options, num_photos=len(photos), is_alone=num_inputs == 1)
    if num_done == 0:
        raise InputError(f"None of the {num_inputs} photos and folders could be used; each is named above")
    return 0 if num_done == num_inputs else 1


def _segment(console: Printer, run: Run, options: Predict, *, num_photos: int, is_alone: bool) -> int:
    """Do the run and return how many photos are done; a photo that is alone raises what is wrong with it."""
    num_new, num_before = 0, 0
    lists_files = is_alone or options.list_files or not sys.stdout.isatty()
    start = time.perf_counter()
    for outcome in tracked(console, run.outcomes(resume=options.resume), total=num_photos):
        if outcome.error is not None:
            if is_alone:
                raise outcome.error
            _print_error(console, outcome.error)
            continue
        num_new += outcome.is_new
        num_before += not outcome.is_new
        for note in outcome.notes:
            console.print(f"{shown(outcome.photo.file)}: {note}")
        for path in outcome.files if lists_files else ():
            print(shown(path))
        if is_alone and outcome.segmentation is not None:
            console.print(_sentence(outcome.segmentation))
        elif outcome.segmentation is not None and not outcome.segmentation.labels:
            console.print(f"{shown(outcome.photo.file)}: found no garment")
    if num_new + num_before:
        for path in run.write_collection():
            print(shown(path))
    seconds = time.perf_counter() - start
    before = f", {num_before} done before" if num_before else ""
    photos_in_words = "1 photo" if num_new == 1 else f"{num_new} photos"
    rate = f"{seconds:.1f} s ({num_new / seconds:.1f} per second)"
    console.print(f"{photos_in_words} in {rate}{before}, in {options.output}")
    return num_new + num_before


def shown(path: str | Path) -> str:
    """Return a path as one printable line: a line break in a name is written as its escape."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _print_error(console: Printer, error: InputError) -> None:
    console.print(f"clothseg: {one_line(error)}")


def _sentence(segmentation: Segmentation) -> str:
    parts = [f"{label.display_name} {label.share:.1%} (score {label.score:.2f})" for label in segmentation.labels]
    return f"Found: {', '.join(parts)}" if parts else "Found no garment"
