"""Sources of a dataset: the Fashionpedia download or a mirror of it, the drawn sample, iMaterialist and COCO files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from clothseg import __version__
from clothseg.data import imaterialist
from clothseg.data.annotations import check_annotation_file, describe_annotations, open_annotations, split_annotations
from clothseg.data.download import bytes_to_fetch, fetch, in_folder
from clothseg.data.imaterialist import find_file, labels_size, write_coco
from clothseg.data.links import PhotoNames
from clothseg.data.manifest import names_by_stem
from clothseg.data.painting import paint_annotations
from clothseg.data.report import SAMPLE, SplitReport, hash_of
from clothseg.data.sample import draw_sample
from clothseg.data.source import (
    NUM_PHOTOS,
    SPLITS,
    TRAIN,
    MaskCounts,
    MaskJob,
    Needs,
    OfficialSplit,
    Source,
    local_path,
)
from clothseg.data.unzip import photo_folder, read_unpacked, unpack
from clothseg.errors import DataError, check_input
from clothseg.pictures import PHOTO_SUFFIXES, whole_file
from clothseg.progress import Steps
from clothseg.settings import OFFICIAL_SOURCE

FASHIONPEDIA = "Fashionpedia"

LICENCE = "CC-BY-4.0 (annotations); each photo under the licence its record in the annotation file names"
"""Source: the card of huggingface.co/datasets/detection-datasets/fashionpedia, and `licenses` in the annotation files.
It does not cover a mirror with other photos in the same layout."""


@dataclass(frozen=True)
class Mirror:
    """The official download, or any folder or server with the same layout."""

    address: str
    """http(s) address or local folder of the root."""
    kind: str = "fashionpedia"

    @property
    def _is_remote(self) -> bool:
        return "://" in self.address

    def fingerprint(self) -> str:
        """Return the address of a server, or a hash over the files of a local folder."""
        if self._is_remote:
            return self.address.rstrip("/")
        check_input(Path(self.address), "Source", "Pass --source with the address or folder of a mirror", folder=True)
        names = [name for split in SPLITS for name in split.files]
        return _files_fingerprint([path for name in names if (path := in_folder(Path(self.address), name)).exists()])

    def collect(self, folder: Path, steps: Steps) -> None:
        """Download missing files, the small annotation files first, and unpack the photos."""
        for split in SPLITS:
            target = local_path(folder, split.annotations)
            _copy_file(self._fetch(split.annotations, folder, steps), target)
        for split in SPLITS:
            photos = folder / split.photos
            if self._is_remote and read_unpacked(photos) is not None:
                continue  # the archive may have been deleted since
            archive = self._fetch(split.archive, folder, steps)
            with steps(f"Unpacking {archive.name}", unit="bytes") as advance:
                unpack(archive, photos, members_under=split.photos, progress=advance)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Paint the masks of a split."""
        return paint_annotations(job, local_path(job.folder, job.split.annotations))

    def needs(self, folder: Path) -> Needs:
        """Ask the server for the sizes of what is missing, and count the photos in the archives that are there."""
        needs = Needs()
        for name in dict.fromkeys(name for split in SPLITS for name in split.files):
            target = local_path(folder, name)
            if self._is_remote and not target.is_file():
                size = None if needs.download is None else bytes_to_fetch(self.address, name, target)
                needs.download = None if size is None or needs.download is None else needs.download + size
        needs.unpack = needs.download or 0  # photos are as large in an archive
        for split in SPLITS:
            unpacked, archives = read_unpacked(folder / split.photos), [local_path(folder, split.archive)]
            archives += [] if self._is_remote else [in_folder(Path(self.address), split.archive)]
            archive = next((path for path in archives if path.is_file()), None)
            if unpacked is not None:
                needs.num_photos += unpacked.num_photos
            elif archive is not None:
                needs.add_archive(archive, split.photos)
        if needs.download and self.address.rstrip("/") == OFFICIAL_SOURCE:
            needs.num_photos = NUM_PHOTOS
        return needs

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return Fashionpedia's name and licence, or those that a mirror's annotation file states."""
        if self.address.rstrip("/") == OFFICIAL_SOURCE:
            return FASHIONPEDIA, LICENCE
        path = local_path(folder, TRAIN.annotations)
        description, licence = describe_annotations(path)
        return (description or Path(self.address).name).removesuffix(", train"), licence

    def _fetch(self, name: str, folder: Path, steps: Steps) -> Path:
        target = local_path(folder, name)
        if not self._is_remote or target.is_file():
            return fetch(self.address, name, target)
        with steps(f"Fetching {target.name}", unit="bytes") as advance:
            return fetch(self.address, name, target, progress=advance)


def find_source(address: str, folder: Path, *, val_share: float) -> Source:
    """Return the source that `--source` names: a server or mirror of Fashionpedia, or iMaterialist, by its files.

    Args:
        address: http(s) address, folder or archive.
        folder: the dataset's folder, which may have files of the download already.
        val_share: share of the photos to validate with, where the download has no validation photos.

    Raises:
        DataError: it has files of both, or of neither; the message names what it has.
    """
    root = Path(address)
    if "://" in address or not os.path.exists(root):  # noqa: PTH110 - Path.exists raises where a name is too long
        return Mirror(address)
    official = [name for split in SPLITS for name in split.files if in_folder(root, name).is_file()]
    found = {name: find_file(root, name) for name in (imaterialist.ROWS, imaterialist.LABELS, imaterialist.PHOTOS)}
    rows, _, photos = found.values()
    if rows and official:
        raise DataError(
            f"{address} has files of two datasets: {', '.join(official)} of Fashionpedia and {rows.name} of "
            "iMaterialist. Move one of them into a folder of its own"
        )
    if rows and photos and found[imaterialist.LABELS]:
        return CocoAnnotations(rows, photos, None, photos, val_share, kind="imaterialist")
    if rows:
        missing = [name for name, path in found.items() if path is None]
        raise DataError(
            f"{address} has {rows.name} of iMaterialist (Fashion), but not {' and '.join(missing)}, as it is or in a "
            "zip. Download it to this folder"
        )
    if official or any(local_path(folder, name).is_file() for split in SPLITS for name in split.files):
        return Mirror(address)
    names = sorted(path.name for path in root.iterdir()) if root.is_dir() else [root.name]
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise DataError(
        f"{address} is neither a mirror of Fashionpedia nor iMaterialist (Fashion): it has {shown or 'no file'}. A "
        f"mirror has {', '.join(TRAIN.files)} and the same for val; iMaterialist has {', '.join(found)}. For another "
        "dataset pass --annotations FILE.json or --masks FOLDER with --photos FOLDER"
    )


@dataclass(frozen=True)
class Sample(Mirror):
    """A small drawn dataset in the layout of the official download."""

    address: str = SAMPLE
    kind: str = SAMPLE
    counts: tuple[int, int, int] = (160, 40, 8)
    """Photos to train on, to validate on, and without annotations."""
    seed: int = 0

    def fingerprint(self) -> str:
        """Return the numbers that decide the drawing."""
        return f"{__version__}: {', '.join(map(str, self.counts))} from {self.seed}"

    def needs(self, folder: Path) -> Needs:
        """Return how many photos will be drawn."""
        return Needs(num_photos=sum(self.counts[:2]))

    def collect(self, folder: Path, steps: Steps) -> None:
        """Draw a mirror beside the final folders, collect its files, and remove it."""
        mirror = folder / ".sample.part"
        if mirror.exists():
            shutil.rmtree(mirror)
        with steps("Drawing photos") as advance:
            draw_sample(mirror, self.counts, seed=self.seed, progress=advance)
        Mirror(str(mirror)).collect(folder, steps)
        shutil.rmtree(mirror)


@dataclass(frozen=True)
class CustomSource:
    """Labels with photos, for training and, if they are given, for validation."""

    labels: Path
    """A COCO instance JSON, the rows of iMaterialist, or a folder of masks."""
    photos: Path
    """A folder, or, beside annotations, an archive."""
    val_labels: Path | None
    """Without them, `val_share` of the photos are used for validation."""
    val_photos: Path
    val_share: float

    @property
    def address(self) -> str:
        """The path of the labels."""
        return str(self.labels)

    def photos_of(self, split: OfficialSplit) -> Path:
        """Return the folder or archive with the photos of a split."""
        return self.photos if split == TRAIN else self.val_photos

    def needs(self, folder: Path) -> Needs:
        """Count the photos, and the bytes of archives and annotation files, and of photos on another disk."""
        labels = [path for path in (self.labels, self.val_labels) if path is not None and path.is_file()]
        needs = Needs(write=sum(2 * labels_size(path) for path in labels))
        for photos in dict.fromkeys([self.photos, self.val_photos]):
            if photos.is_file():
                needs.add_archive(photos, photo_folder(photos, TRAIN.photos))
                continue
            names = [name for same in names_by_stem(photos, PHOTO_SUFFIXES).values() for name in same]
            needs.num_photos += len(names)
            if photos.stat().st_dev != folder.stat().st_dev:  # no links between disks
                needs.write += sum((photos / name).stat().st_size for name in names if (photos / name).is_file())
        return needs


@dataclass(frozen=True)
class CocoAnnotations(CustomSource):
    """A COCO instance JSON, or the rows of iMaterialist, with a folder or an archive of photos."""

    kind: str = "coco"

    def fingerprint(self) -> str:
        """Return a hash over the names, sizes and times of the annotation files and all photos."""
        files = [path for path in (self.labels, self.val_labels) if path is not None]
        for path in files:
            check_annotation_file(path)
        share = self.val_share if self.val_labels is None else None
        return f"{_files_fingerprint(files)} {folders_fingerprint([self.photos, self.val_photos])} {share}"

    def collect(self, folder: Path, steps: Steps) -> None:
        """Copy or split the annotation files and link the photos that they name."""
        train, val = (_annotations_path(folder, split) for split in SPLITS)
        if self.val_labels is not None:
            _copy_annotations(self.labels, train, steps)
            _copy_annotations(self.val_labels, val, steps)
        elif _has_rows(self.labels):
            whole = folder / ".instances.part"
            _copy_annotations(self.labels, whole, steps)
            split_annotations(whole, train, val, val_share=self.val_share)
            whole.unlink()
        else:
            split_annotations(self.labels, train, val, val_share=self.val_share)
        for split in SPLITS:
            photos = self._unpacked_photos(split, folder, steps)
            names = PhotoNames(names_by_stem(photos, PHOTO_SUFFIXES), photos)
            images = open_annotations(_annotations_path(folder, split)).images
            files = {file for image in images for file in names.fitting(image.file_name)}
            link_photos(sorted(files), photos, folder / split.photos, steps)

    def write_masks(self, job: MaskJob) -> tuple[SplitReport, MaskCounts]:
        """Paint the masks of a split."""
        annotations, photos = _annotations_path(job.folder, job.split), self.photos_of(job.split)
        return paint_annotations(job, annotations, photo_source=photos if photos.is_dir() else None)

    def describe(self, folder: Path) -> tuple[str, str | None]:
        """Return the description and licence that the annotation file states, or its file name."""
        description, licence = describe_annotations(_annotations_path(folder, TRAIN))
        return description or self.labels.stem, licence

    def _unpacked_photos(self, split: OfficialSplit, folder: Path, steps: Steps) -> Path:
        """Return the folder of the photos of a split, after an archive of them was unpacked into the dataset's."""
        archive = self.photos_of(split)
        if not archive.is_file():
            return archive
        home = TRAIN if archive == self.photos else split  # one archive of all photos is unpacked once
        with steps(f"Unpacking {archive.name}", unit="bytes") as advance:
            unpack(archive, folder / home.photos, members_under=photo_folder(archive, home.photos), progress=advance)
        return folder / home.photos


def _has_rows(labels: Path) -> bool:
    return labels.suffix in (".csv", ".zip")


def _copy_annotations(labels: Path, target: Path, steps: Steps) -> None:
    if not _has_rows(labels):
        _copy_file(labels, target)
        return
    with steps(f"Reading {labels.name}", unit="rows") as advance:
        write_coco(labels, target, progress=advance)


def _annotations_path(folder: Path, split: OfficialSplit) -> Path:
    return folder / f"instances_{split.name}.json"


def _files_fingerprint(paths: Sequence[Path]) -> str:
    """Return a hash over the names, sizes and times of files, or the name alone where the system refuses a file."""
    rows = []
    for path in paths:
        try:
            found = path.stat()
            rows.append([str(path.resolve()), found.st_size, found.st_mtime_ns])
        except OSError as error:  # named in the error of whatever needs the file
            rows.append([str(path), error.errno or 0, 0])
    return hash_of(rows)


def folders_fingerprint(folders: Sequence[Path]) -> str:
    """Return a hash over the names, sizes and times of all photos and masks in folders, or of archives of them.

    Raises:
        MissingInputError, DataError: as `names_by_stem`.
    """
    archives = [path for path in folders if os.path.isfile(path)]  # noqa: PTH113 - as above
    names = {folder: names_by_stem(folder, PHOTO_SUFFIXES).values() for folder in folders if folder not in archives}
    files = [folder / name for folder in names for same in names[folder] for name in same]
    return _files_fingerprint([*archives, *files])


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically; a file copied to itself stays as it is."""
    if source.resolve() == target.resolve():
        return
    with whole_file(target, sync=True) as temporary:
        shutil.copyfile(source, temporary)


def link_photos(names: Sequence[str], source: Path, target: Path, steps: Steps) -> None:
    """Link photos into a folder, or copy them where the file system has no links between the two folders."""
    target.mkdir(parents=True, exist_ok=True)
    with steps(f"Linking photos of {source.name}") as advance:
        for number, name in enumerate(names, 1):
            _link_photo(source / name, target / name)
            if number % 100 == 0 or number == len(names):
                advance(number, len(names))


def _link_photo(source: Path, target: Path) -> None:
    # Renaming one link of a file over another has no effect and would leave the temporary name behind.
    if target.exists() and target.samefile(source):
        return
    with whole_file(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            os.link(source.resolve(), temporary)
        except OSError:  # another disk, or a file system without links
            if os.access(source, os.R_OK):
                shutil.copyfile(source, temporary)
            else:  # the mask's problem names the photo, and other photos are prepared
                temporary.symlink_to(source.resolve())
