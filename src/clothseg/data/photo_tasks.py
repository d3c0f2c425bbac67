"""An annotation file's records, checked and gathered by photo: what there is to paint, and what is set aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from clothseg.data.annotations import CATEGORY_RECORD, AnnotationFile, AnnotationRecord, CategoryRecord, ImageRecord
from clothseg.data.manifest import stem_of
from clothseg.data.problems import Problem, RecordError
from clothseg.errors import DataError, nearest
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import MAX_PIXELS


@dataclass(frozen=True, slots=True)
class Instance:
    """One annotation of a photo."""

    annotation_id: Any
    class_id: int
    area: float | None
    """Pixels it covers, as the file says; None where it does not say."""
    segmentation: bytes
    """Its outline as raw JSON, not checked yet."""


@dataclass(frozen=True, slots=True)
class PhotoTask:
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


def gather_tasks(
    file: AnnotationFile, classes: ClassList, photos: Mapping[str, list[str]], *, strict_categories: bool
) -> PhotoTasks:
    """Check every record of an annotation file, outlines excepted, and gather the annotations by photo.

    - An image id that occurs twice costs all photos that have it: nothing says whose the annotations are. Of
      annotations with one id the first is taken: the id is only a name.
    - Two photos with one stem, such as a.jpg and a.png, are both set aside: they would share a mask.
    - Categories are taken by name, never by id.

    Args:
        file: the annotation file.
        classes: into which the categories are sorted.
        photos: the files of the photo folder by stem, as `manifest.names_by_stem` returns them.
        strict_categories: set aside annotations whose category falls into no class; otherwise they are left out and
            counted.

    Raises:
        DataError: no category falls into any class.
    """
    problems = list(file.problems)
    class_ids = _class_of_categories(file, classes, problems)
    images, bad_ids = _usable_images(file.images, photos, problems)
    known = {image.id for image in images}
    gathered: dict[Any, list[tuple[AnnotationRecord, int, float | None]]] = {}
    num_set_aside: Counter[Any] = Counter()
    left_out: Counter[str] = Counter()
    seen: set[Any] = set()
    for record in file.annotations:
        try:
            _check_annotation(record, known, bad_ids, seen)
            class_id, category = _class_of(record, class_ids, strict_categories=strict_categories)
            area = _area_of(record)
        except RecordError as error:
            image_id = record.image_id if _is_id(record.image_id) else None
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


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str | float) and not isinstance(value, bool)


def _class_of_categories(
    file: AnnotationFile, classes: ClassList, problems: list[Problem]
) -> dict[Any, tuple[int | None, str, str]]:
    """Return (class id or None, category, super-category) by category id."""
    names: dict[Any, tuple[str, str]] = {}
    doubtful: set[Any] = set()
    for record in file.categories:
        problem = _category_problem(record, names)
        if problem:
            problems.append(Problem(CATEGORY_RECORD, f"{problem}: id {record.id!r}, name {record.name!r}"))
            if _is_id(record.id):
                doubtful.add(record.id)
        else:
            names[record.id] = (record.name, record.supercategory or "")
    by_id: dict[Any, tuple[int | None, str, str]] = {
        key: (classes.id_for_category(*pair), *pair) for key, pair in names.items() if key not in doubtful
    }
    if not any(class_id is not None for class_id, _, _ in by_id.values()):
        asked = [name for one in classes.classes for name in (*one.categories, *one.supercategories)]
        found = sorted({name for name, _ in names.values()})
        raise DataError(
            f"No category of {file.path} falls into a class. It has {', '.join(map(repr, found[:8])) or 'none'}; the "
            f"classes take {', '.join(map(repr, asked[:8])) or 'none'}. Pass --classes with a YAML file that sorts them"
        )
    return by_id


def _category_problem(record: CategoryRecord, names: Mapping[Any, tuple[str, str]]) -> str | None:
    if not _is_id(record.id):
        return "the id is no number or text"
    if not isinstance(record.name, str) or not isinstance(record.supercategory or "", str):
        return "the name or super-category is no text"
    if names.get(record.id, (record.name, record.supercategory or "")) != (record.name, record.supercategory or ""):
        return "the id has two names"
    return None


def _usable_images(
    images: Iterable[ImageRecord], photos: Mapping[str, list[str]], problems: list[Problem]
) -> tuple[list[ImageRecord], set[Any]]:
    """Return the images that can be painted, their file names made plain, and the ids of the others."""
    images = list(images)
    num_by_id = Counter(image.id for image in images if _is_id(image.id))
    num_by_stem = Counter(stem for image in images if (stem := _stem(image.file_name)) is not None)
    usable, bad_ids = [], set()
    for image in images:
        try:
            _check_image(image, num_by_id)
            image.file_name = plain_file_name(image.file_name)
            _check_photo(image.file_name, num_by_stem, photos)
            usable.append(image)
        except RecordError as error:
            if _is_id(image.id):
                bad_ids.add(image.id)
            name = image.file_name if isinstance(image.file_name, str) else None
            problems.append(Problem(error.reason, error.detail, image.id, file_name=name))
    return usable, bad_ids


def _check_image(image: ImageRecord, num_by_id: Counter[Any]) -> None:
    if not _is_id(image.id):
        raise RecordError("image id", f"its id is {image.id!r}, no number or text")
    if num_by_id[image.id] > 1:
        raise RecordError("duplicate image id", f"{num_by_id[image.id]} images have the id {image.id!r}")
    if image.height is None or image.width is None:
        raise RecordError("image size", f"width {image.width!r}, height {image.height!r}: one is missing")
    if not all(type(side) is int and side > 0 for side in (image.height, image.width)):
        raise RecordError("image size", f"width {image.width!r}, height {image.height!r}: no whole numbers above 0")
    if image.height * image.width > MAX_PIXELS:
        raise RecordError("image size", f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")


def _stem(file_name: Any) -> str | None:
    try:
        return stem_of(plain_file_name(file_name))
    except RecordError:
        return None


def plain_file_name(file_name: Any) -> str:
    """Return a photo's file name, relative and with slashes, if it stays inside the photo folder.

    Raises:
        RecordError: it does not, or it is no text.

    >>> plain_file_name("./street/a.jpg")
    'street/a.jpg'
    """
    if not isinstance(file_name, str) or not file_name.strip():
        raise RecordError("file name", f"its file_name is {file_name!r}, no text")
    path = PurePosixPath(file_name)
    windows = PureWindowsPath(file_name)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or "\\" in file_name:
        raise RecordError("file name", f"its file_name {file_name!r} leads out of the photo folder")
    if not path.name or "\0" in file_name or any(part.startswith(".") for part in path.parts):
        raise RecordError("file name", f"its file_name {file_name!r} is hidden or no file's name")
    return path.as_posix()


def _check_photo(file_name: str, num_by_stem: Counter[str], photos: Mapping[str, list[str]]) -> None:
    stem = stem_of(file_name)
    there = photos.get(stem, [])
    if num_by_stem[stem] > 1 or len(there) > 1:
        raise RecordError("shared stem", f"several photos are called {stem!r} and would share one mask")
    if there != [file_name]:
        raise RecordError("missing photo", f"{file_name!r} is not in the photo folder")


def _check_annotation(record: AnnotationRecord, known: set[Any], bad_ids: set[Any], seen: set[Any]) -> None:
    if not _is_id(record.image_id) or (record.image_id not in known and record.image_id not in bad_ids):
        raise RecordError("missing image", f"its image_id is {record.image_id!r}, and no image has it")
    if record.id is None:
        return
    if not _is_id(record.id):
        raise RecordError("annotation id", f"its id is {record.id!r}, no number or text")
    if record.id in seen:
        raise RecordError("duplicate annotation id", f"another annotation before it has the id {record.id!r}")
    seen.add(record.id)


def _class_of(
    record: AnnotationRecord, class_ids: Mapping[Any, tuple[int | None, str, str]], *, strict_categories: bool
) -> tuple[int | None, str]:
    if not _is_id(record.category_id) or record.category_id not in class_ids:
        raise RecordError("unknown category", f"its category_id is {record.category_id!r}, and no category has it")
    class_id, category, supercategory = class_ids[record.category_id]
    if class_id is None and strict_categories:
        raise RecordError(
            "category without class",
            f"no class takes the category {category!r} or the super-category {supercategory!r}",
        )
    return class_id, category


def _area_of(record: AnnotationRecord) -> float | None:
    """Return the area that the file states; None, and 0 as some exporters write, leave it to the outline."""
    if record.area is None:
        return None
    if isinstance(record.area, bool) or not isinstance(record.area, int | float) or not 0 <= record.area < 2**63:
        raise RecordError("area", f"its area is {record.area!r}, no number of pixels")
    return record.area or None


def unknown_names(file: AnnotationFile, classes: ClassList) -> list[str]:
    """Return what a class list asks for and an annotation file does not have, each with the nearest that it has."""
    names = {record.name for record in file.categories if isinstance(record.name, str)}
    groups = {record.supercategory for record in file.categories if isinstance(record.supercategory, str)}
    found = []
    for class_id, one in enumerate(classes.classes):
        if class_id == BACKGROUND_ID:
            continue
        found += [
            f"category {name!r} (nearest: {nearest(name, names, 2)})" for name in one.categories if name not in names
        ]
        found += [
            f"super-category {name!r} (nearest: {nearest(name, groups, 2)})"
            for name in one.supercategories
            if name not in groups
        ]
    return found
