"""Any data becomes photos, masks and a manifest in one layout: whole, repeatable, and continued after a kill."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from clothseg.data.locks import alone
from clothseg.data.manifest import MANIFEST_NAME, Manifest, Split, names_by_stem
from clothseg.data.painting import Tally
from clothseg.data.report import REPORT_NAME, Report, SplitReport
from clothseg.data.source import SAMPLE, TRAIN, VAL, Source, SplitFolders, hash_of
from clothseg.errors import ClothsegError, DataError, MachineError, MissingInputError, path_problem
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import PHOTO_SUFFIXES
from clothseg.progress import Steps, hide_step

PAINTER = 1
"""Number of the way masks are painted; counted up when the same records would give other masks."""


@dataclass(frozen=True)
class Prepared:
    """A data set that is ready."""

    report: Report
    manifest: Manifest
    was_ready: bool
    """Nothing had to be done."""
    replaced: str | None = None
    """Where the data came from that was in the folder before, if it was other data."""


def prepare(
    source: Source, folder: Path, classes: ClassList, *, num_workers: int, steps: Steps = hide_step
) -> Prepared:
    """Prepare a data set in `folder`, or find that it is prepared already.

    The manifest is taken away first and written last, so that a folder with a manifest is whole. Masks are painted into
    a hidden folder that takes its final name when it is full. After a kill, the next run ends with the same bytes as a
    run that nobody disturbed. What another source has left in the folder is removed, never mixed in.

    Args:
        source: where the data comes from.
        folder: `DATA_PATH / DATASET_FOLDER`.
        classes: the classes of the masks.
        num_workers: processes that paint.
        steps: shows the progress; nothing by default.

    Raises:
        DataError: a file as a whole cannot be used, no photo is left, or the folder holds other data that is not to be
            lost.
        MissingInputError: the source lacks a file.
        MachineError: the disk or the network stands in the way, or another run prepares the same folder.
    """
    wanted = Report(source.kind, source.address, source.fingerprint(), hash_of([PAINTER, classes.to_dicts()]))
    with _disk_failures(folder), alone(folder):
        ready = _find_ready(folder, wanted)
        if ready:
            return ready
        with _unbound_if_nothing_came(folder):
            replaced = _make_room(folder, wanted)
            source.bring(folder, steps)
        splits: dict[str, Split] = {}
        reports: dict[str, SplitReport] = {}
        for split in source.splits:
            with _filled_whole(folder / split.masks) as stage:
                reports[split.name], tally = source.fill_masks(
                    folder, split, stage, classes=classes, num_workers=num_workers, steps=steps
                )
                reports[split.name] = _with_warning(reports[split.name], tally)
                if not tally.num_masks or _none_used(reports[split.name], tally):
                    replace(wanted, splits=reports).write(folder)
                    raise DataError(_nothing_left(folder, split, reports[split.name], tally))
            splits[split.name] = _split(split, tally)
        if hasattr(os, "sync"):  # once for all masks, before the manifest says they are there
            os.sync()
        name, licence = source.describe(folder)
        report = replace(wanted, splits=reports, finished=True)
        report.write(folder)
        manifest = Manifest(name, source.address, licence, classes, splits)
        manifest.write(folder)
    return Prepared(report, manifest, was_ready=False, replaced=replaced)


@contextlib.contextmanager
def _disk_failures(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if isinstance(error, ClothsegError):
            raise
        named = folder if error.filename is None else Path(str(error.filename))
        is_output = named.is_relative_to(folder) or folder.is_relative_to(named)
        way_out = "Choose another --data-path" if is_output else "Make it readable, or pass another"
        raise MachineError(f"Cannot prepare {folder}: {path_problem(error)} ({error.filename}). {way_out}") from error


def _find_ready(folder: Path, wanted: Report) -> Prepared | None:
    """Return what is in the folder if it is all there and is what is wanted."""
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


def _make_room(folder: Path, wanted: Report) -> str | None:
    """Take the manifest and everything of another source away, then note what is being prepared.

    Returns:
        The address of that other source.

    Raises:
        DataError: what would be lost is not to be had back easily.
    """
    before = Report.read(folder)
    if before and (before.kind, before.inputs) == (wanted.kind, wanted.inputs):
        before = None
    if before:
        _check_replaceable(folder, before, wanted)
    (folder / MANIFEST_NAME).unlink(missing_ok=True)
    for leftover in (*folder.glob(".*.part"), *folder.glob(".*.old")):  # of a run that was killed
        _remove_folder(leftover)
    if before:
        for split in (TRAIN, VAL):
            (folder / f"{split.photos}.unpacked.json").unlink(missing_ok=True)
            _remove_folder(folder / split.photos)
            _remove_folder(folder / split.masks)
        for annotations in folder.glob("instances_*.json"):
            annotations.unlink()
    wanted.write(folder)
    return before.source if before else None


def _check_replaceable(folder: Path, before: Report, wanted: Report) -> None:
    if not _contents(folder):  # that run was killed before it brought anything
        return
    way_out = f"Pass another --data-path, or delete {folder} first"
    if wanted.kind == SAMPLE and before.kind != SAMPLE:
        raise DataError(f"{folder} holds data from {before.source}, which the sample would replace. {way_out}")
    if "://" in before.source and "://" in wanted.source:
        raise DataError(f"{folder} holds what was downloaded from {before.source}, not from {wanted.source}. {way_out}")


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
def _filled_whole(target: Path) -> Iterator[Path]:
    """Give a hidden folder to fill, and put it in the place of `target` if the block ends without an error."""
    stage = target.with_name(f".{target.name}.{os.getpid()}.part")
    old = target.with_name(f".{target.name}.old")
    try:
        stage.mkdir()
        yield stage
    except BaseException:
        _remove_folder(stage)
        raise
    if target.exists() or target.is_symlink():
        target.replace(old)
    stage.replace(target)
    _remove_folder(old)


def _split(split: SplitFolders, tally: Tally) -> Split:
    return Split(
        split.photos,
        split.masks,
        tally.num_masks,
        tuple(tally.pixels_per_class.tolist()),
        tuple(tally.photos_per_class.tolist()),
    )


def _none_used(report: SplitReport, tally: Tally) -> bool:
    """Return whether there are annotations, and each of them is set aside: the masks would be empty by mistake."""
    return bool(report.num_annotations) and not tally.num_annotations and not report.left_out


def _with_warning(report: SplitReport, tally: Tally) -> SplitReport:
    num_pixels = int(tally.pixels_per_class[BACKGROUND_ID + 1 :].sum())
    if not tally.num_masks or num_pixels > tally.num_annotations:
        return report
    warning = "No mask has a pixel of another class than the background, so there is nothing to learn from them"
    if tally.num_annotations:
        warning = (
            f"{tally.num_annotations:,} annotations cover {num_pixels:,} pixels in all. Coordinates are counted in "
            "pixels, not as shares of the photo's size"
        )
    return replace(report, notes=(*report.notes, warning))


def _nothing_left(folder: Path, split: SplitFolders, report: SplitReport, tally: Tally) -> str:
    why = ", ".join(f"{reason} ({count})" for reason, count in report.reasons.items()) or "there are none"
    what = "annotation" if tally.num_masks else "photo"
    return f"No {what} of {split.name} can be used: {why}. See {folder / REPORT_NAME} for each"


@contextlib.contextmanager
def _unbound_if_nothing_came(folder: Path) -> Iterator[None]:
    """Take the note of what is being prepared away again where bringing it failed before there was anything of it."""
    was_bound, before = (folder / REPORT_NAME).exists(), _contents(folder)
    try:
        yield
    except BaseException:
        if not was_bound and _contents(folder) == before:
            (folder / REPORT_NAME).unlink(missing_ok=True)
        raise


def _contents(folder: Path) -> dict[str, int]:
    """Return the size of each file and folder in a data set's folder, but for the report."""
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.name != REPORT_NAME}
