"""The command `clothseg prepare`: Fashionpedia, a drawn sample or your own data becomes photos and masks."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from clothseg.cores import available_cores
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.report import REPORT_NAME
from clothseg.errors import SettingError, require
from clothseg.labels import load_classes
from clothseg.settings import OFFICIAL_SOURCE

if TYPE_CHECKING:
    from clothseg.data.prepare import Prepared
    from clothseg.data.source import Source

SHOWN_PROBLEMS = 10
"""How many records are named on the screen; the report names all."""


@dataclass(frozen=True)
class Prepare:
    """Fetch Fashionpedia and paint its masks; or draw a sample; or take your own data.

    Your own data is a COCO instance JSON with a photo folder (--annotations, --photos), or index masks with a photo
    folder (--masks, --photos), with classes of your own (--classes FILE.yaml). See docs/how-to/custom-data.md.

    Args:
        source: Where Fashionpedia comes from: http(s) address or local folder of a mirror.
        data_path: Folder where data sets are downloaded and prepared.
        sample: Draw a small data set instead, for trying everything in minutes.
        num_workers: Processes that paint; without it, one for each core.
        classes: Classes to learn: groups (13), categories (47) or the path of a YAML file.
        annotations: Your own COCO instance JSON.
        masks: Folder of your own index masks, named like their photos: pixel value = class id.
        photos: Folder of your own photos.
        val_annotations: COCO instance JSON of the photos to validate with.
        val_masks: Folder of the index masks to validate with.
        val_photos: Folder of the photos to validate with; without it, the same as --photos.
        val_share: Share of your photos to validate with, where nothing else says which.
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
        """Prepare the data set; return 1 if records were set aside."""
        require("msgspec", "train")
        from clothseg.data.prepare import prepare
        from clothseg.progress import show_step

        started = time.monotonic()
        if self.num_workers is not None and self.num_workers < 0:
            raise SettingError(f"--workers is {self.num_workers}. Allowed: a whole number from 0 up")
        classes = load_classes(self.classes)
        prepared = prepare(
            self._source(),
            self.data_path / DATASET_FOLDER,
            classes,
            num_workers=available_cores() if self.num_workers is None else self.num_workers,
            steps=show_step,
        )
        self._tell(prepared, time.monotonic() - started)
        return 1 if prepared.report.num_set_aside else 0

    def _source(self) -> Source:
        own = {"--annotations": self.annotations, "--masks": self.masks}
        given = [flag for flag, value in own.items() if value is not None] + ["--sample"] * self.sample
        if len(given) > 1:
            raise SettingError(f"{' and '.join(given)} are given. Pass one of them: each is another data set")
        needing_own = {"--photos": self.photos, "--val-annotations": self.val_annotations}
        needing_own |= {"--val-masks": self.val_masks, "--val-photos": self.val_photos}
        lonely = [flag for flag, value in needing_own.items() if value is not None]
        if lonely and (not given or self.sample):
            raise SettingError(f"{lonely[0]} is given without --annotations or --masks. Pass one of these with it")
        if self.annotations or self.masks:
            return self._own_source()
        from clothseg.data.sources import Mirror, Sample

        return Sample() if self.sample else Mirror(self.source)

    def _own_source(self) -> Source:
        from clothseg.data.own import OwnAnnotations, OwnMasks

        if self.photos is None:
            raise SettingError("Your own photos are missing. Pass their folder with --photos")
        self._refuse_inputs_in_the_output()
        if not 0 < self.val_share < 1:
            raise SettingError(f"--val-share is {self.val_share}. Allowed: a share between 0 and 1, such as 0.1")
        if self.annotations is not None:
            if self.val_masks is not None:
                raise SettingError("--val-masks is given with --annotations. Pass --val-annotations instead")
            if self.val_photos is not None and self.val_annotations is None:
                raise SettingError("--val-photos is given without --val-annotations. Pass both, or neither")
            return OwnAnnotations(
                self.annotations, self.photos, self.val_annotations, self.val_photos or self.photos, self.val_share
            )
        assert self.masks is not None
        if self.val_annotations is not None:
            raise SettingError("--val-annotations is given with --masks. Pass --val-masks instead")
        if self.val_photos is not None and self.val_masks is None:
            raise SettingError("--val-photos is given without --val-masks. Pass both, or neither")
        return OwnMasks(self.masks, self.photos, self.val_masks, self.val_photos or self.photos, self.val_share)

    def _refuse_inputs_in_the_output(self) -> None:
        """Refuse inputs in the folder that is prepared: photos and masks would be written over them."""
        folder = self.data_path / DATASET_FOLDER
        inputs = {"--annotations": self.annotations, "--masks": self.masks, "--photos": self.photos}
        inputs |= {"--val-annotations": self.val_annotations, "--val-masks": self.val_masks}
        for flag, path in (inputs | {"--val-photos": self.val_photos}).items():
            if path is not None and path.resolve().is_relative_to(folder.resolve()):
                raise SettingError(
                    f"{flag} {path} lies in {folder}, which is prepared anew and would overwrite it. Pass another "
                    "--data-path, or move it out of there"
                )

    def _tell(self, prepared: Prepared, seconds: float) -> None:
        console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        folder = self.data_path / DATASET_FOLDER
        manifest = prepared.manifest
        counts = " + ".join(f"{split.count:,} {name}" for name, split in manifest.splits.items())
        what = f"{counts} masks of {len(manifest.classes)} classes in {folder}"
        if prepared.was_ready:
            console.print(f"Nothing to do: {what} are prepared already.", markup=False)
        else:
            console.print(f"Prepared {what} in {seconds:.1f} s.", markup=False)
            if prepared.replaced:
                console.print(f"They replace what was there from {prepared.replaced}.", markup=False)
        for name, split in prepared.report.splits.items():
            for note in split.notes:
                console.print(f"{name}: {note}.", markup=False)
            if split.left_out:
                left_out = ", ".join(f"{category!r} ({count:,})" for category, count in split.left_out.items())
                console.print(f"{name}: left out, as no class takes them: {left_out}.", markup=False)
        if prepared.report.num_set_aside:
            self._tell_problems(prepared, console)
        console.print('Next: "uv run loader.py" shows samples, "uv run train.py" trains.', markup=False)

    def _tell_problems(self, prepared: Prepared, console: Console) -> None:
        problems = [(name, problem) for name, split in prepared.report.splits.items() for problem in split.problems]
        for name, problem in problems[:SHOWN_PROBLEMS]:
            console.print(f"{name}: set aside {problem}", markup=False)
        path = self.data_path / DATASET_FOLDER / REPORT_NAME
        console.print(f"{len(problems):,} records were set aside; {path} names each with the reason.", markup=False)
