"""An annotation file's records, checked and gathered by photo: what there is to paint, and what is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from clothseg.data.annotations import AnnotationFile, AnnotationRecord, ImageRecord
from clothseg.data.manifest import comparable_name, instead_of, lookalikes, names_by_stem, stem_of
from clothseg.data.problems import Problem, RecordError
from clothseg.data.records import (
    Links,
    area_of,
    check_annotation,
    check_image,
    class_of,
    class_of_categories,
    is_id,
    plain_file_name,
)
from clothseg.labels import ClassList
from clothseg.pictures import PHOTO_SUFFIXES


# Named tuples, not dataclasses: they go to another process and back in a tenth of the time.
class Instance(NamedTuple):
    """One annotation of a photo."""

    annotation_id: Any
    class_id: int
    area: float | None
    """Pixels it covers, as the file says; None where it does not say."""
    segmentation: bytes
    """Its outline as raw JSON, not checked yet."""


class PhotoTask(NamedTuple):
    """A photo whose mask is to be painted."""

    image_id: Any
    file_name: str
    """Relative to the photo folder, with slashes."""
    height: int
    width: int
    instances: tuple[Instance, ...]
    """In the order of the file."""
    num_set_aside: int
    """Annotations of this photo that are set aside already."""


@dataclass
class PhotoTasks:
    """The checked records of one annotation file."""

    file: AnnotationFile
    problems: list[Problem]
    left_out: Counter[str]
    """Annotations by category that the class list has no place for, on purpose."""
    _images: list[ImageRecord]
    _annotations_by_image: dict[Any, list[tuple[AnnotationRecord, int, float | None]]] = field(repr=False)
    _num_set_aside: Counter[Any]

    def __len__(self) -> int:
        return len(self._images)

    @property
    def file_names(self) -> list[str]:
        """The photos, relative to their folder, in the order of the file."""
        return [image.file_name for image in self._images]

    def __iter__(self) -> Iterator[PhotoTask]:
        """Yield one photo after the other, in the order of the file; outlines are read from the file as it goes."""
        for image in self._images:
            instances = tuple(
                Instance(record.id, class_id, area, bytes(record.segmentation))
                for record, class_id, area in self._annotations_by_image.get(image.id, ())
            )
            yield PhotoTask(
                image.id, image.file_name, image.height, image.width, instances, self._num_set_aside[image.id]
            )


class PhotoNames:
    """The files of a photo folder, found by names that other programs and systems wrote.

    Args:
        by_stem: the files, as `manifest.names_by_stem` returns them.
        source: the folder that the photos came from. Names may begin with its own name, as in `images/a.jpg` where
            the photos are in `images`, and its files are named in place of a missing one.
    """

    def __init__(self, by_stem: Mapping[str, list[str]], source: Path) -> None:
        self._by_stem = by_stem
        self._source = source
        self._folder = tuple(map(comparable_name, source.absolute().parts[1:]))

    def stem(self, plain_name: str) -> str:
        """Return the stem of the photo that a plain name means, or the name's own where there is none."""
        own = stem_of(plain_name)
        if own in self._by_stem:
            return own
        parts = PurePosixPath(own).parts
        for count in range(1, len(parts)):
            inner = "/".join(parts[count:])
            if self._folder[-count:] == parts[:count] and inner in self._by_stem:
                return inner
        return own

    def fitting(self, plain_name: str) -> list[str]:
        """Return the files of a name's stem and suffix; how the suffix is written does not matter."""
        suffix = PurePosixPath(plain_name).suffix.lower()
        return [one for one in self.of_stem(self.stem(plain_name)) if PurePosixPath(one).suffix.lower() == suffix]

    def of_stem(self, stem: str) -> list[str]:
        """Return the files of a stem."""
        return self._by_stem.get(stem, [])

    def instead(self, stem: str) -> str:
        """Return in words which file of nearly the stem's name there is, for the end of a message."""
        return instead_of(stem, self._lookalikes)

    @cached_property
    def _lookalikes(self) -> dict[str, str]:
        return lookalikes(names_by_stem(self._source, PHOTO_SUFFIXES))


def gather_tasks(
    file: AnnotationFile,
    classes: ClassList,
    photos: PhotoNames,
    *,
    strict_categories: bool,
) -> PhotoTasks:
    """Check every record of an annotation file, outlines excepted, and gather the annotations by photo.

    - An image id that occurs twice costs all photos that have it: nothing says whose the annotations are. Of
      annotations with one id the first is taken: the id is only a name.
    - Two photos with one stem, such as a.jpg and a.png, are both set aside: they would share a mask.
    - Categories are taken by name, never by id.
    - Ids are linked as `Links` does, and photos found as `PhotoNames` does.

    Args:
        file: the annotation file.
        classes: into which the categories are sorted.
        photos: the files of the photo folder.
        strict_categories: set aside annotations whose category falls into no class; otherwise they are left out and
            counted.

    Raises:
        DataError: no category falls into any class, or the links are off by one number.
    """
    problems = list(file.problems)
    class_ids = class_of_categories(file, classes, problems)
    image_links = Links((image.id, image.file_name) for image in file.images)
    category_links = Links((category.id, category.name) for category in file.categories)
    for record in file.annotations:
        record.image_id = image_links.id_of(record.image_id)
        record.category_id = category_links.id_of(record.category_id)
    image_links.check_offset((record.image_id for record in file.annotations), "image_id", file.path)
    category_links.check_offset((record.category_id for record in file.annotations), "category_id", file.path)
    images, bad_ids = _usable_images(file.images, photos, problems)
    known = {image.id for image in images}
    gathered: dict[Any, list[tuple[AnnotationRecord, int, float | None]]] = {}
    num_set_aside: Counter[Any] = Counter()
    left_out: Counter[str] = Counter()
    seen: set[Any] = set()
    for record in file.annotations:
        try:
            check_annotation(record, known, bad_ids, seen)
            class_id, category = class_of(record, class_ids, strict_categories=strict_categories)
            area = area_of(record)
        except RecordError as error:
            image_id = record.image_id if is_id(record.image_id) else None
            if image_id in known:
                num_set_aside[image_id] += 1
            problems.append(Problem(error.reason, error.detail, image_id, record.id))
            continue
        if record.image_id in bad_ids:  # counted with its photo
            continue
        if class_id is None:
            left_out[category] += 1
            continue
        gathered.setdefault(record.image_id, []).append((record, class_id, area))
    return PhotoTasks(file, problems, left_out, images, gathered, num_set_aside)


def _usable_images(
    images: Iterable[ImageRecord], photos: PhotoNames, problems: list[Problem]
) -> tuple[list[ImageRecord], set[Any]]:
    """Return the images that can be painted, their file names made those of the files, and the ids of the others."""
    images = list(images)
    num_by_id = Counter(image.id for image in images if is_id(image.id))
    num_by_stem = Counter(stem for image in images if (stem := _stem(image.file_name, photos)) is not None)
    usable, bad_ids = [], set()
    for image in images:
        try:
            check_image(image, num_by_id)
            image.file_name = _find_photo(plain_file_name(image.file_name), num_by_stem, photos)
            usable.append(image)
        except RecordError as error:
            if is_id(image.id):
                bad_ids.add(image.id)
            name = image.file_name if isinstance(image.file_name, str) else None
            problems.append(Problem(error.reason, error.detail, image.id, file_name=name))
    return usable, bad_ids


def _stem(file_name: Any, photos: PhotoNames) -> str | None:
    try:
        return photos.stem(plain_file_name(file_name))
    except RecordError:
        return None


def _find_photo(plain_name: str, num_by_stem: Counter[str], photos: PhotoNames) -> str:
    """Return the file of a photo.

    Raises:
        RecordError: there is none, or it would share its mask with another.
    """
    stem = photos.stem(plain_name)
    if num_by_stem[stem] > 1 or len(photos.of_stem(stem)) > 1:
        raise RecordError("shared stem", f"several photos are called {stem!r} and would share one mask")
    fitting = photos.fitting(plain_name)
    if not fitting:
        raise RecordError("missing photo", f"{plain_name!r} is not in the photo folder{photos.instead(stem)}")
    return fitting[0]
