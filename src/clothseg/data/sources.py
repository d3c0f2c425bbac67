"""Fashionpedia as a source to prepare: from the official addresses, a mirror, or drawn by our own code."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clothseg import __version__
from clothseg.data import fashionpedia
from clothseg.data.annotated_split import paint_annotations
from clothseg.data.annotations import open_annotations
from clothseg.data.download import fetch
from clothseg.data.painting import Tally
from clothseg.data.report import SplitReport
from clothseg.data.sample import draw_sample
from clothseg.data.source import SAMPLE, SplitFolders, copy_file, files_fingerprint
from clothseg.data.unzip import read_unpacked, unpack
from clothseg.errors import check_input
from clothseg.labels import ClassList
from clothseg.progress import Steps
from clothseg.settings import OFFICIAL_SOURCE


@dataclass(frozen=True)
class Mirror:
    """The official download, or any folder or server laid out like it."""

    address: str
    """http(s) address or local folder of the root."""
    kind: str = "fashionpedia"

    @property
    def splits(self) -> Sequence[SplitFolders]:
        """Train and val."""
        return [SplitFolders(split.name, split.photos, split.masks) for split in fashionpedia.SPLITS]

    @property
    def _is_remote(self) -> bool:
        return "://" in self.address

    def fingerprint(self) -> str:
        """Return the address of a server, or a hash over the files of a local folder."""
        if self._is_remote:
            return self.address.rstrip("/")
        check_input(Path(self.address), "Source", "Pass --source with the address or folder of a mirror", folder=True)
        names = [name for split in fashionpedia.SPLITS for name in split.files]
        return files_fingerprint([path for name in names if (path := Path(self.address, name)).exists()])

    def bring(self, folder: Path, steps: Steps) -> None:
        """Fetch what is not there yet, the small and rare annotation files first, and unpack the photos."""
        for split in fashionpedia.SPLITS:
            target = fashionpedia.local_path(folder, split.annotations)
            copy_file(self._fetch(split.annotations, folder, steps), target)
        for split in fashionpedia.SPLITS:
            photos = folder / split.photos
            if self._is_remote and read_unpacked(photos) is not None:
                continue  # the archive may have been deleted since
            archive = self._fetch(split.archive, folder, steps)
            with steps(f"Unpacking {archive.name}", unit="bytes") as advance:
                unpack(archive, photos, members_under=split.photos, progress=advance)

    def fill_masks(
        self, folder: Path, split: SplitFolders, masks: Path, *, classes: ClassList, num_workers: int, steps: Steps
    ) -> tuple[SplitReport, Tally]:
        """Paint the masks of a split."""
        annotations = next(one.annotations for one in fashionpedia.SPLITS if one.name == split.name)
        return paint_annotations(
            fashionpedia.local_path(folder, annotations),
            folder,
            split,
            masks,
            classes=classes,
            num_workers=num_workers,
            steps=steps,
        )

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return Fashionpedia's name and licence, or what a mirror's annotation file says."""
        if self.address.rstrip("/") == OFFICIAL_SOURCE:
            return fashionpedia.NAME, fashionpedia.LICENCE
        file = open_annotations(fashionpedia.local_path(folder, fashionpedia.TRAIN.annotations))
        name = (file.description or Path(self.address).name).removesuffix(", train")
        return name, "; ".join(file.licences) or None

    def _fetch(self, name: str, folder: Path, steps: Steps) -> Path:
        target = fashionpedia.local_path(folder, name)
        if not self._is_remote or target.is_file():
            return fetch(self.address, name, target)
        with steps(f"Fetching {target.name}", unit="bytes") as advance:
            return fetch(self.address, name, target, progress=advance)


@dataclass(frozen=True)
class Sample:
    """A small data set drawn by our own code, in the layout of the official download."""

    train_photos: int = 160
    val_photos: int = 40
    test_photos: int = 8
    seed: int = 0
    kind: str = SAMPLE
    address: str = SAMPLE

    @property
    def splits(self) -> Sequence[SplitFolders]:
        """Train and val."""
        return Mirror("").splits

    def fingerprint(self) -> str:
        """Return what decides the drawing."""
        return f"{__version__}: {self.train_photos}, {self.val_photos}, {self.test_photos} from {self.seed}"

    def bring(self, folder: Path, steps: Steps) -> None:
        """Draw a mirror beside the final folders, bring what is in it, and throw it away."""
        mirror = folder / ".sample.part"
        if mirror.exists():
            shutil.rmtree(mirror)
        with steps("Drawing photos") as advance:
            draw_sample(
                mirror,
                train_photos=self.train_photos,
                val_photos=self.val_photos,
                test_photos=self.test_photos,
                seed=self.seed,
                progress=advance,
            )
        Mirror(str(mirror)).bring(folder, steps)
        shutil.rmtree(mirror)

    def fill_masks(
        self, folder: Path, split: SplitFolders, masks: Path, *, classes: ClassList, num_workers: int, steps: Steps
    ) -> tuple[SplitReport, Tally]:
        """Paint the masks of a split."""
        return Mirror("").fill_masks(folder, split, masks, classes=classes, num_workers=num_workers, steps=steps)

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return what the drawn annotation file says."""
        return Mirror(SAMPLE).describe(folder)
