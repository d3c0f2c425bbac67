"""Masks that are there already, one class id per pixel: checked against their photos and written in one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from clothseg.data.manifest import instead_of, lookalikes, names_by_stem
from clothseg.data.painting import Tally
from clothseg.data.photo_headers import read_photo_size
from clothseg.data.problems import Problem, RecordError
from clothseg.data.processes import work_in_groups
from clothseg.data.report import SplitReport
from clothseg.encoding import encode_png
from clothseg.errors import InputError, one_line
from clothseg.pictures import PHOTO_SUFFIXES, read_mask
from clothseg.progress import Steps

MASK_SUFFIXES = (".png", ".bmp", ".gif")
"""Endings of index masks, in lower case: formats without loss."""
PAIRS_WORTH_A_PROCESS = 100
"""Fewer masks are checked in less time than a process takes to start."""


@dataclass(frozen=True)
class _Pair:
    photo: Path
    mask: Path
    target: Path
    name: str


def check_masks(
    source: Path,
    stems: Sequence[str],
    photos: Path,
    masks: Path,
    *,
    photo_source: Path,
    num_classes: int,
    num_workers: int,
    steps: Steps,
) -> tuple[SplitReport, Tally]:
    """Write the index masks in `source` into `masks` as grey PNG; those that do not fit their photo are set aside.

    Args:
        source: folder of index masks, grey or with a palette.
        stems: which of them, by their names without suffix.
        photos: folder of the photos.
        masks: an empty folder.
        photo_source: folder that the photos came from; its files are named in place of a missing one.
        num_classes: every value of a mask is below it.
        num_workers: processes to do it with.
        steps: shows the progress.
    """
    files, photo_names = names_by_stem(source, MASK_SUFFIXES), names_by_stem(photos, PHOTO_SUFFIXES)
    nearly = lookalikes(names_by_stem(photo_source, PHOTO_SUFFIXES))
    problems: list[Problem] = []
    pairs: list[_Pair] = []
    for stem in stems:
        try:
            name = _only(files[stem], "masks", stem, nearly)
            photo = _only(photo_names.get(stem, []), "photos", stem, nearly)
            pairs.append(_Pair(photos / photo, source / name, masks / f"{stem}.png", name))
        except RecordError as error:
            problems.append(Problem(error.reason, error.detail, file_name=files[stem][0]))
    for parent in {PurePosixPath(stem).parent for stem in stems}:
        (masks / parent).mkdir(parents=True, exist_ok=True)
    tally = Tally.nothing(num_classes)
    done = 0
    num_workers = min(num_workers, len(pairs) // PAIRS_WORTH_A_PROCESS)
    with steps(f"Checking masks of {source.name}") as advance:
        for count, part in work_in_groups(partial(_check_group, num_classes), pairs, num_workers=num_workers):
            tally.add(part)
            done += count
            advance(done, len(pairs))
    report = SplitReport(len(stems), 0, tally.num_masks, (*problems, *tally.problems))
    return report, tally


def _only(names: Sequence[str], kind: str, stem: str, nearly: Mapping[str, str]) -> str:
    if not names:
        raise RecordError("missing photo", f"no photo is called {stem!r}{instead_of(stem, nearly)}")
    if len(names) > 1:
        raise RecordError("shared stem", f"several {kind} are called {stem!r}: {', '.join(names)}")
    return names[0]


def _check_group(num_classes: int, pairs: Sequence[_Pair]) -> Tally:
    tally = Tally.nothing(num_classes)
    for pair in pairs:
        try:
            tally.count(_write_checked(pair, num_classes))
        except RecordError as error:
            tally.problems.append(Problem(error.reason, error.detail, file_name=pair.name))
    return tally


def _write_checked(pair: _Pair, num_classes: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    try:
        size = read_photo_size(pair.photo)
    except InputError as error:
        raise RecordError("broken photo", one_line(error)) from error
    try:
        mask = read_mask(pair.mask)
    except InputError as error:
        raise RecordError("broken mask", one_line(error)) from error
    if mask.shape != size:
        raise RecordError(
            "mask size", f"the mask is {mask.shape[1]} x {mask.shape[0]}, its photo {size[1]} x {size[0]}"
        )
    pixels = np.bincount(mask.ravel(), minlength=num_classes)
    if len(pixels) > num_classes:
        wrong = np.flatnonzero(pixels[num_classes:]) + num_classes
        raise RecordError(
            "mask value", f"values {', '.join(map(str, wrong[:5]))}; the class list has 0 to {num_classes - 1}"
        )
    pair.target.write_bytes(encode_png(mask))
    return pixels.astype(np.int64)
