"""Preparation: a source becomes photos, masks and a manifest, whole or not at all, and the same after a kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clothseg.data.manifest import MANIFEST_NAME, Manifest, Split, names_by_stem
from clothseg.data.processes import LOCK_NAME, lock_folder
from clothseg.data.report import REPORT_NAME, SAMPLE, Report, SplitReport, hash_of
from clothseg.data.source import SPLITS, MaskCounts, MaskJob, Needs, Source
from clothseg.errors import ClothsegError, DataError, MachineError, MissingInputError, path_problem
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.progress import Steps, hide_step

PAINTER_VERSION = 1
"""Increased when the same records would give other masks."""


@dataclass(frozen=True)
class Prepared:
    """A prepared dataset."""

    report: Report
    manifest: Manifest
    was_ready: bool
    """It was prepared already."""
    replaced: str | None = None
    """The source of other data that was in the folder before, if there was any."""
    times: Mapping[str, float] = field(default_factory=dict)
    """Seconds per 1,000 photos of `painting`, and of `unpacking` where nothing was downloaded; `photos` is how many.
    Nothing where it was ready."""


def prepare(
    source: Source,
    folder: Path,
    classes: ClassList,
    *,
    num_workers: int,
    steps: Steps = hide_step,
    limit: int | None = None,
    announce: Callable[[str], object] | None = None,
) -> Prepared:
    """Prepare a dataset in `folder`, or find that it is prepared already.

    The manifest is removed first and written last, so that a folder with a manifest is complete. Masks are painted into
    a hidden folder that gets its final name when it is complete. After a kill, the next run ends with the same masks as
    a run without interruption. Data of another source in the folder is removed, never mixed in.

    The folder is `DATA_PATH / DATASET_FOLDER`. `limit` is the most photos of a split that get a mask. `announce` is
    called before the work with what will be downloaded and written, after the free space was checked; without it the
    source is not asked.

    Raises:
        DataError: a file as a whole cannot be used, no photo is left, or the folder has other data that must not be
            lost.
        MissingInputError: the source lacks a file.
        MachineError: the disk or the network fails, or another run prepares the same folder.
    """
    painting = [PAINTER_VERSION, classes.to_dicts()] + ([] if limit is None else [limit])
    wanted = Report(source.kind, source.address, source.fingerprint(), hash_of(painting))
    with _disk_errors(folder), lock_folder(folder):
        ready = _find_ready(folder, wanted)
        if ready:
            return ready
        with _report_removed_if_nothing_collected(folder):
            replaced = _remove_other_data(folder, wanted)
            needs = Needs(download=None) if announce is None else source.needs(folder)
            if announce is not None:
                announce(needs.check(folder))
            began = time.monotonic()
            source.collect(folder, steps)
            collected = time.monotonic()
        splits: dict[str, Split] = {}
        reports: dict[str, SplitReport] = {}
        for split in SPLITS:
            with _written_whole(folder / split.masks) as stage:
                report, counts = source.write_masks(MaskJob(folder, split, stage, classes, num_workers, steps, limit))
                reports[split.name] = report = _with_warning(report, counts)
                is_all_skipped = report.num_annotations and not counts.num_annotations and not report.left_out
                if not counts.num_masks or is_all_skipped:  # the masks would be empty by mistake
                    replace(wanted, splits=reports).write(folder)
                    raise DataError(_nothing_left(folder, split.name, report, counts))
            splits[split.name] = counts.split(split.photos, split.masks, counts.num_masks)
        if hasattr(os, "sync"):  # once for all masks, before the manifest says that they exist
            os.sync()
        name, licence = source.describe(folder)
        finished = replace(wanted, splits=reports, finished=True)
        finished.write(folder)
        manifest = Manifest(name, source.address, licence, classes, splits)
        manifest.write(folder)
        num_photos = sum(split.count for split in splits.values())
        times = {"painting": (time.monotonic() - collected) / num_photos * 1000, "photos": num_photos}
        if needs.download == 0 and limit is None:
            times["unpacking"] = (collected - began) / num_photos * 1000
    return Prepared(finished, manifest, was_ready=False, replaced=replaced, times=times)


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
