"""The command `clothseg prepare`: Fashionpedia, a drawn sample or custom data becomes photos, masks and a manifest."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from clothseg.cores import available_cores
from clothseg.data.manifest import DATASET_FOLDER, MANIFEST_NAME, Manifest, Split, names_by_stem
from clothseg.data.processes import LOCK_NAME, lock_folder
from clothseg.data.report import REPORT_NAME, SAMPLE, Report, SplitReport, hash_of
from clothseg.data.source import SPLITS, MaskCounts, MaskJob, Source
from clothseg.errors import (
    ClothsegError,
    DataError,
    MachineError,
    MissingInputError,
    SettingError,
    command,
    path_problem,
    require,
)
from clothseg.labels import BACKGROUND_ID, ClassList, load_classes
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.progress import Steps, hide_step, show_step
from clothseg.settings import OFFICIAL_SOURCE

PAINTER_VERSION = 1
"""Increased when the same records would give other masks."""

SHOWN_PROBLEMS = 10
"""How many skipped records are shown on the screen; the report names all."""


@dataclass(frozen=True)
class Prepare:
    """Download Fashionpedia and paint its masks; or draw a sample; or prepare a custom dataset.

    A custom dataset is a COCO instance JSON with a photo folder (--annotations, --photos), or index masks with a photo
    folder (--masks, --photos), with custom classes (--classes FILE.yaml). See docs/how-to/custom-data.md.

    Args:
        source: Where Fashionpedia comes from: http(s) address or local folder of a mirror.
        data_path: Folder where datasets are downloaded and prepared.
        sample: Draw a small dataset instead, for trying everything in minutes.
        num_workers: Processes that paint; without it, one for each core.
        classes: Classes to learn: groups (13), categories (47) or the path of a YAML file.
        annotations: Custom dataset: the COCO instance JSON.
        masks: Custom dataset: the folder of index masks, named like their photos; pixel value = class id.
        photos: Custom dataset: the folder of the photos.
        val_annotations: COCO instance JSON of the photos to validate with.
        val_masks: Folder of the index masks to validate with.
        val_photos: Folder of the photos to validate with; without it, the same as --photos.
        val_share: Share of the photos to validate with, unless --val-annotations or --val-masks is given.
    """

    source: str = OFFICIAL_SOURCE
    data_path: Path = Path("data")
    sample: bool = False
    num_workers: Annotated[int | None, tyro.conf.arg(name="workers")] = None
    classes: str = "groups"
    annotations: Path | None = None
    masks: Path | None = None
    photos: Path | None = None
    val_annotations: Path | None = None
    val_masks: Path | None = None
    val_photos: Path | None = None
    val_share: float = 0.1

    def run(self) -> int:
        """Prepare the dataset; return 1 if records were skipped."""
        require("msgspec", "train")
        started = time.monotonic()
        if self.num_workers is not None and self.num_workers < 0:
            raise SettingError(f"--workers is {self.num_workers}. Allowed: a whole number from 0 up")
        classes = load_classes(self.classes)
        num_workers = available_cores() if self.num_workers is None else self.num_workers
        folder = self.data_path / DATASET_FOLDER
        prepared = prepare(self._source(), folder, classes, num_workers=num_workers, steps=show_step)
        _print_result(prepared, folder, time.monotonic() - started)
        return 1 if prepared.report.num_skipped else 0

    def _source(self) -> Source:
        sources = {"--annotations": self.annotations, "--masks": self.masks, "--sample": self.sample or None}
        given = [flag for flag, value in sources.items() if value is not None]
        if len(given) > 1:
            raise SettingError(f"{' and '.join(given)} are given. Pass one of them: each is another dataset")
        if self.annotations is not None or self.masks is not None:
            return self._custom_source()
        custom = {"--photos": self.photos, "--val-annotations": self.val_annotations}
        custom |= {"--val-masks": self.val_masks, "--val-photos": self.val_photos}
        for flag, value in custom.items():
            if value is not None:
                raise SettingError(f"{flag} is given without --annotations or --masks. Pass one of these with it")
        from clothseg.data.sources import Mirror, Sample

        return Sample() if self.sample else Mirror(self.source)

    def _custom_source(self) -> Source:
        from clothseg.data.sources import CocoAnnotations, IndexMasks

        if self.photos is None:
            raise SettingError("The photos are missing. Pass their folder with --photos")
        self._refuse_inputs_in_the_output()
        if not 0 < self.val_share < 1:
            raise SettingError(f"--val-share is {self.val_share}. Allowed: a share between 0 and 1, such as 0.1")
        kind, other = ("masks", "annotations") if self.annotations is None else ("annotations", "masks")
        val_labels = {"annotations": self.val_annotations, "masks": self.val_masks}
        if val_labels[other] is not None:
            raise SettingError(f"--val-{other} is given with --{kind}. Pass --val-{kind} instead")
        if self.val_photos is not None and val_labels[kind] is None:
            raise SettingError(f"--val-photos is given without --val-{kind}. Pass both, or neither")
        labels = self.annotations or self.masks
        assert labels is not None
        source = IndexMasks if self.annotations is None else CocoAnnotations
        return source(labels, self.photos, val_labels[kind], self.val_photos or self.photos, self.val_share)

    def _refuse_inputs_in_the_output(self) -> None:
        """Refuse inputs in the folder that is prepared: photos and masks would be written over them."""
        folder = self.data_path / DATASET_FOLDER
        inputs = {"--annotations": self.annotations, "--masks": self.masks, "--photos": self.photos}
        inputs |= {"--val-annotations": self.val_annotations, "--val-masks": self.val_masks}
        for flag, path in (inputs | {"--val-photos": self.val_photos}).items():
            if path is not None and path.resolve().is_relative_to(folder.resolve()):
                raise SettingError(
                    f"{flag} {path} is in {folder}, and preparing this folder would overwrite it. Pass another "
                    "--data-path, or move it out of there"
                )


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset."""

    report: Report
    manifest: Manifest
    was_ready: bool
    """It was prepared already."""
    replaced: str | None = None
    """The source of other data that was in the folder before, if there was any."""


def prepare(
    source: Source, folder: Path, classes: ClassList, *, num_workers: int, steps: Steps = hide_step
) -> Prepared:
    """Prepare a dataset in `folder`, or find that it is prepared already.

    The manifest is removed first and written last, so that a folder with a manifest is complete. Masks are painted into
    a hidden folder that gets its final name when it is complete. After a kill, the next run ends with the same bytes as
    a run without interruption. Data of another source in the folder is removed, never mixed in.

    Args:
        source: where the data comes from.
        folder: `DATA_PATH / DATASET_FOLDER`.
        classes: the classes of the masks.
        num_workers: processes that paint.
        steps: shows the progress; nothing by default.

    Raises:
        DataError: a file as a whole cannot be used, no photo is left, or the folder has other data that must not be
            lost.
        MissingInputError: the source lacks a file.
        MachineError: the disk or the network fails, or another run prepares the same folder.
    """
    wanted = Report(source.kind, source.address, source.fingerprint(), hash_of([PAINTER_VERSION, classes.to_dicts()]))
    with _disk_errors(folder), lock_folder(folder):
        ready = _find_ready(folder, wanted)
        if ready:
            return ready
        with _report_removed_if_nothing_collected(folder):
            replaced = _remove_other_data(folder, wanted)
            source.collect(folder, steps)
        splits: dict[str, Split] = {}
        reports: dict[str, SplitReport] = {}
        for split in SPLITS:
            with _written_whole(folder / split.masks) as stage:
                report, counts = source.write_masks(MaskJob(folder, split, stage, classes, num_workers, steps))
                reports[split.name] = report = _with_warning(report, counts)
                if not counts.num_masks or _all_skipped(report, counts):
                    replace(wanted, splits=reports).write(folder)
                    raise DataError(_nothing_left(folder, split.name, report, counts))
            pixels, photos = tuple(counts.pixels_per_class.tolist()), tuple(counts.photos_per_class.tolist())
            splits[split.name] = Split(split.photos, split.masks, counts.num_masks, pixels, photos)
        if hasattr(os, "sync"):  # once for all masks, before the manifest says that they exist
            os.sync()
        name, licence = source.describe(folder)
        finished = replace(wanted, splits=reports, finished=True)
        finished.write(folder)
        manifest = Manifest(name, source.address, licence, classes, splits)
        manifest.write(folder)
    return Prepared(finished, manifest, was_ready=False, replaced=replaced)


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if isinstance(error, ClothsegError):
            raise
        named = folder if error.filename is None else Path(str(error.filename))
        is_output = named.is_relative_to(folder) or folder.is_relative_to(named)
        advice = "Choose another --data-path" if is_output else "Make it readable, or pass another"
        raise MachineError(f"Cannot prepare {folder}: {path_problem(error)} ({error.filename}). {advice}") from error


def _find_ready(folder: Path, wanted: Report) -> Prepared | None:
    """Return the dataset in the folder if it is complete and has the wanted inputs and classes."""
    report = Report.read(folder)
    if report is None or not report.finished or not report.is_of(wanted):
        return None
    try:
        manifest = Manifest.read(folder)
        for split in manifest.splits.values():
            masks = names_by_stem(folder / split.masks, (".png",))
            if len(masks) != split.count or masks.keys() - names_by_stem(folder / split.photos, PHOTO_SUFFIXES).keys():
                return None
    except (DataError, MissingInputError):
        return None
    return Prepared(report, manifest, was_ready=True)


def _remove_other_data(folder: Path, wanted: Report) -> str | None:
    """Remove the manifest and everything of another source, then write into the report what is being prepared.

    Returns:
        The address of that other source.

    Raises:
        DataError: the other data is not easily downloaded or prepared again.
    """
    before = Report.read(folder)
    if before and (before.kind, before.inputs) == (wanted.kind, wanted.inputs):
        before = None
    if before:
        _check_replaceable(folder, before, wanted)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for leftover in folder.glob(".*.part"):  # of a run that was killed
        _remove_folder(leftover)
    if before:
        for split in SPLITS:
            (folder / f"{split.photos}.unpacked.json").unlink(missing_ok=True)
            _remove_folder(folder / split.photos)
            _remove_folder(folder / split.masks)
        for annotations in folder.glob("instances_*.json"):
            annotations.unlink()
    wanted.write(folder)
    return before.source if before else None


def _check_replaceable(folder: Path, before: Report, wanted: Report) -> None:
    if not _sizes(folder):  # that run was killed before it collected anything
        return
    advice = f"Pass another --data-path, or delete {folder} first"
    if wanted.kind == SAMPLE and before.kind != SAMPLE:
        raise DataError(f"{folder} contains data from {before.source}, which the sample would replace. {advice}")
    if "://" in before.source and "://" in wanted.source:
        raise DataError(f"{folder} contains the download of {before.source}, not of {wanted.source}. {advice}")


def _remove_folder(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    for attempts_left in range(20, -1, -1):
        if not path.exists():
            return
        try:
            shutil.rmtree(path)
        except OSError:  # processes of a run killed a moment ago may still have been writing into it
            if not attempts_left:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def _written_whole(target: Path) -> Iterator[Path]:
    """Give a hidden folder to fill, and replace `target` by it if the block ends without an error."""
    stage = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        stage.mkdir()
        yield stage
    except BaseException:
        _remove_folder(stage)
        raise
    _remove_folder(target)
    stage.replace(target)


def _all_skipped(report: SplitReport, counts: MaskCounts) -> bool:
    """Return whether there are annotations and each of them was skipped: the masks would be empty by mistake."""
    return bool(report.num_annotations) and not counts.num_annotations and not report.left_out


def _with_warning(report: SplitReport, counts: MaskCounts) -> SplitReport:
    num_pixels = int(counts.pixels_per_class[BACKGROUND_ID + 1 :].sum())
    if not counts.num_masks or num_pixels > counts.num_annotations:
        return report
    warning = "No mask has a pixel of another class than the background, so there is nothing to learn from them"
    if counts.num_annotations:
        warning = (
            f"{counts.num_annotations:,} annotations cover {num_pixels:,} pixels in all. Coordinates are counted in "
            "pixels, not as shares of the photo's size"
        )
    return replace(report, notes=(*report.notes, warning))


def _nothing_left(folder: Path, split: str, report: SplitReport, counts: MaskCounts) -> str:
    why = ", ".join(f"{reason} ({count})" for reason, count in report.reasons.items()) or "there are none"
    what = "annotation" if counts.num_masks else "photo"
    return f"No {what} of {split} can be used: {why}. See {folder / REPORT_NAME} for each"


@contextlib.contextmanager
def _report_removed_if_nothing_collected(folder: Path) -> Iterator[None]:
    """Remove a new report again if the block fails before it has collected anything."""
    had_report, before = (folder / REPORT_NAME).exists(), _sizes(folder)
    try:
        yield
    except BaseException:
        if not had_report and _sizes(folder) == before:
            (folder / REPORT_NAME).unlink(missing_ok=True)
        raise


def _sizes(folder: Path) -> dict[str, int]:
    """Return the size of each file and folder in a dataset's folder, except the report and the lock."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name not in (REPORT_NAME, LOCK_NAME)}


def _print_result(prepared: Prepared, folder: Path, seconds: float) -> None:
    console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)
    manifest, report = prepared.manifest, prepared.report
    counts = " + ".join(f"{split.count:,} {name}" for name, split in manifest.splits.items())
    what = f"{counts} masks of {len(manifest.classes)} classes in {folder}"
    if prepared.was_ready:
        console.print(f"Nothing to do: {what} are prepared already.")
    else:
        console.print(f"Prepared {what} in {seconds:.1f} s.")
    if prepared.replaced:
        console.print(f"They replace the data from {prepared.replaced}.")
    for name, split in report.splits.items():
        for note in split.notes:
            console.print(f"{name}: {note}.")
        if split.left_out:
            left_out = ", ".join(f"{category!r} ({count:,})" for category, count in split.left_out.items())
            console.print(f"{name}: left out, since they are in no class: {left_out}.")
    problems = [f"{name}: skipped {one}" for name, split in report.splits.items() for one in split.problems]
    for problem in problems[:SHOWN_PROBLEMS]:
        console.print(problem)
    if problems:
        console.print(f"{len(problems):,} records were skipped; {folder / REPORT_NAME} names each with the reason.")
    console.print(f'Next: "{command("preview")}" shows samples, "{command("train")}" trains.')
