"""The command `clothseg prepare`: from flags to the source of a dataset, and what a person reads of its preparation."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from clothseg.cores import available_cores
from clothseg.data.http_client import RefusedError, RetryableError
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.prepare import Prepared, prepare
from clothseg.data.report import REPORT_NAME
from clothseg.data.source import Source
from clothseg.errors import MachineError, SettingError, command, require
from clothseg.labels import load_classes
from clothseg.pictures import write_whole
from clothseg.progress import show_step
from clothseg.settings import OFFICIAL_SOURCE

OTHER_WAYS = """The download failed. What was downloaded is kept in {folder}, and the next run resumes it.
Ways that do not need this server:
  {prepare} --source FOLDER_OR_ADDRESS    another mirror, or the four files of it in one folder
  {prepare} --source FOLDER_OR_ZIP    iMaterialist (Fashion) 2020, the same photos and categories:
      kaggle competitions download -c imaterialist-fashion-2020-fgvc7
  {prepare} --annotations-train FILE.json --photos-train FOLDER_OR_ZIP \\
      --annotations-val FILE.json --photos-val FOLDER_OR_ZIP    files that you have
  {prepare} --sample    a small drawn dataset, to try everything"""

TIMES_NAME = "preparation_times.json"
"""File in DATA_PATH with `Prepared.times` of the last preparation; it stays when the dataset is deleted."""

DOCUMENTED_TIMES = {"painting": 0.6}
"""Of photos of about 550 x 830 pixels on one core. Source: docs/concepts/speed.md, Data."""

SHOWN_PROBLEMS = 10
"""How many skipped records are shown on the screen; the report names all."""


@dataclass(frozen=True)
class Prepare:
    """Download Fashionpedia and paint its masks; or draw a sample; or prepare a custom dataset.

    A custom dataset is a COCO instance JSON with photos (--annotations, --photos), or index masks with a photo
    folder (--masks, --photos), with custom classes (--classes FILE.yaml). See docs/how-to/custom-data.md.

    Args:
        source: Where Fashionpedia comes from: http(s) address or local folder of a mirror; or the folder or zip of
            Kaggle's iMaterialist (Fashion) 2020 or 2019.
        data_path: Folder where datasets are downloaded and prepared.
        sample: Draw a small dataset instead, for trying everything in minutes.
        num_workers: Processes that paint; without it, one for each core.
        classes: Classes to learn: groups (13), categories (47) or the path of a YAML file.
        annotations: Files that you have: the COCO instance JSON, or the train.csv of iMaterialist.
        masks: Custom dataset: the folder of index masks, named like their photos; pixel value = class id.
        photos: The folder of the photos; beside annotations, also a zip.
        val_annotations: COCO instance JSON of the photos to validate with.
        val_masks: Folder of the index masks to validate with.
        val_photos: Photos to validate with, as --photos; without it, the same.
        val_share: Share of the photos to validate with, where there are none for it.
        limit: Paint only so many photos of training and of validation, always the same, for trying the way.
    """

    source: Annotated[str | Path, tyro.conf.arg(metavar="ADDRESS_OR_PATH")] = OFFICIAL_SOURCE
    data_path: Path = Path("data")
    sample: bool = False
    num_workers: Annotated[int | None, tyro.conf.arg(name="workers")] = None
    classes: str = "groups"
    annotations: Annotated[Path | None, tyro.conf.arg(aliases=["--annotations-train"])] = None
    masks: Path | None = None
    photos: Annotated[Path | None, tyro.conf.arg(aliases=["--photos-train"])] = None
    val_annotations: Annotated[Path | None, tyro.conf.arg(aliases=["--annotations-val"])] = None
    val_masks: Path | None = None
    val_photos: Annotated[Path | None, tyro.conf.arg(aliases=["--photos-val"])] = None
    val_share: float = 0.1
    limit: int | None = None

    def run(self) -> int:
        """Prepare the dataset; return 1 if records were skipped."""
        require("msgspec", "train")
        started = time.monotonic()
        if self.num_workers is not None and self.num_workers < 0:
            raise SettingError(f"--workers is {self.num_workers}. Allowed: a whole number from 0 up")
        classes = load_classes(self.classes)
        num_workers = available_cores() if self.num_workers is None else self.num_workers
        if self.limit is not None and self.limit < 1:
            raise SettingError(f"--limit is {self.limit}. Allowed: a whole number from 1 up")
        folder, source = self.data_path / DATASET_FOLDER, self._source()
        console = Console(file=sys.stderr, highlight=False, soft_wrap=True, markup=False)
        times = self._read_times()
        duration = _describe_times(times)

        def announce(text: str) -> None:
            console.print(f"{text} {duration}.")

        try:
            prepared = prepare(
                source, folder, classes, num_workers=num_workers, steps=show_step, limit=self.limit, announce=announce
            )
        except MachineError as error:
            if isinstance(error.__cause__, RefusedError | RetryableError):  # of the server, not of this machine
                console.print(OTHER_WAYS.format(folder=folder, prepare=command("prepare")))
            raise
        if prepared.times:  # of a step that it did not have, the last recorded time stays
            values = {name: round(value, 3) for name, value in {**times, **prepared.times}.items()}
            write_whole(self.data_path / TIMES_NAME, json.dumps(values, indent=1).encode() + b"\n")
        _print_result(prepared, folder, console, time.monotonic() - started)
        return 1 if prepared.report.num_skipped else 0

    def _read_times(self) -> dict[str, float]:
        """Return the times of the last preparation in this folder, or nothing."""
        try:
            values = json.loads((self.data_path / TIMES_NAME).read_bytes())
            return {str(name): float(value) for name, value in values.items()}
        except (OSError, ValueError, TypeError, AttributeError):  # none yet, or not written by us
            return {}

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
        from clothseg.data.sources import Mirror, Sample, find_source

        if self.sample:
            return Sample()
        self._check_val_share()
        source = find_source(str(self.source), self.data_path / DATASET_FOLDER, val_share=self.val_share)
        if not isinstance(source, Mirror):
            self._refuse_inputs_in_the_output({"--source": Path(self.source)})
        return source

    def _custom_source(self) -> Source:
        from clothseg.data.index_masks import IndexMasks
        from clothseg.data.sources import CocoAnnotations

        if self.photos is None:
            raise SettingError("The photos are missing. Pass their folder with --photos")
        inputs = {"--annotations": self.annotations, "--masks": self.masks, "--photos": self.photos}
        inputs |= {"--val-annotations": self.val_annotations, "--val-masks": self.val_masks}
        self._refuse_inputs_in_the_output(inputs | {"--val-photos": self.val_photos})
        self._check_val_share()
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

    def _check_val_share(self) -> None:
        if not 0 < self.val_share < 1:
            raise SettingError(f"--val-share is {self.val_share}. Allowed: a share between 0 and 1, such as 0.1")

    def _refuse_inputs_in_the_output(self, inputs: Mapping[str, Path | None]) -> None:
        """Refuse inputs in the folder that is prepared: photos and masks would be written over them."""
        folder = self.data_path / DATASET_FOLDER
        for flag, path in inputs.items():
            if path is not None and path.resolve().is_relative_to(folder.resolve()):
                raise SettingError(
                    f"{flag} {path} is in {folder}, and preparing this folder would overwrite it. Pass another "
                    "--data-path, or move it out of there"
                )


def _describe_times(times: Mapping[str, float]) -> str:
    """Return in words how long a preparation will take: as the last one, or else as documented."""
    num_photos = times.get("photos")
    steps = (times if num_photos else DOCUMENTED_TIMES).items()
    words = " and ".join(f"{seconds:.2g} s for {name}" for name, seconds in steps if name != "photos")
    last = f"The last preparation here, of {num_photos:,.0f} photos, took" if num_photos else "One core takes about"
    return f"{last} {words} per 1,000 photos"


def _print_result(prepared: Prepared, folder: Path, console: Console, seconds: float) -> None:
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
