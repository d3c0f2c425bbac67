"""The records of an annotation file, checked one by one and gathered by photo: what to paint and what is skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from clothseg.data.annotations import CATEGORY_RECORD, AnnotationFile, AnnotationRecord, CategoryRecord, ImageRecord
from clothseg.data.links import Links, PhotoNames, is_id
from clothseg.data.report import Problem, RecordError
from clothseg.errors import DataError, nearest
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import MAX_PIXELS


# Named tuples, not dataclasses: they go to another process and back in a tenth of the time.
class Instance(NamedTuple):
    """One annotation of a photo."""

    annotation_id: Any
    class_id: int
    area: float | None
    """Pixels of its region, as the file states; None where it does not."""
    segmentation: msgspec.Raw
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
    num_skipped: int
    """Annotations of this photo that are skipped already."""


@dataclass(frozen=True)
class CheckedRecords:
    """The checked records of one annotation file."""

    tasks: list[PhotoTask]
    """In the order of the file."""
    problems: list[Problem]
    left_out: Counter[str]
    """Annotations by category that the class list leaves out on purpose."""


class _Category(NamedTuple):
    class_id: int | None
    name: str
    supercategory: str


def check_records(
    file: AnnotationFile, classes: ClassList, photos: PhotoNames, *, strict_categories: bool
) -> CheckedRecords:
    """Check every record of an annotation file, outlines excepted, and gather the annotations by photo.

    - Where several images have one id, all of them are skipped: it is not known to which the annotations belong. Of
      annotations with one id the first is used: the id is only a name.
    - Two photos with one stem, such as a.jpg and a.png, are both skipped: they would share a mask.
    - Categories are sorted into classes by name, never by id.
    - Ids are linked as `Links` does, and photos found as `PhotoNames` does.

    Args:
        file: the annotation file. Ids and file names in its records are replaced by those that they mean.
        classes: into which the categories are sorted.
        photos: the files of the photo folder.
        strict_categories: skip annotations whose category is in no class, each with its reason; otherwise they are left
            out and counted.

    Raises:
        DataError: no category is in any class, or the links are off by one number.
    """
    problems = list(file.problems)
    categories = _sort_categories(file, classes, problems)
    _link(file)
    images, bad_ids = _usable_images(file.images, photos, problems)
    instances: dict[Any, list[Instance]] = {image.id: [] for image in images}
    num_skipped: Counter[Any] = Counter()
    left_out: Counter[str] = Counter()
    seen: set[Any] = set()
    for record in file.annotations:
        try:
            _check_annotation(record, instances, bad_ids, seen)
            category = _category_of(record, categories, strict=strict_categories)
            area = _area_of(record)
        except RecordError as error:
            image_id = record.image_id if is_id(record.image_id) else None
            num_skipped[image_id] += 1
            problems.append(Problem(error.reason, error.detail, image_id, record.id))
            continue
        if record.image_id in bad_ids:  # skipped with its photo
            continue
        if category.class_id is None:
            left_out[category.name] += 1
        else:
            instance = Instance(record.id, category.class_id, area, record.segmentation)
            instances[record.image_id].append(instance)
    tasks = [
        PhotoTask(one.id, one.file_name, one.height, one.width, tuple(instances[one.id]), num_skipped[one.id])
        for one in images
    ]
    return CheckedRecords(tasks, problems, left_out)


def _link(file: AnnotationFile) -> None:
    """Replace ids in annotations by the ids of the records that they mean."""
    images = Links((image.id, image.file_name) for image in file.images)
    categories = Links((category.id, category.name) for category in file.categories)
    for record in file.annotations:
        record.image_id = images.id_of(record.image_id)
        record.category_id = categories.id_of(record.category_id)
    images.check_offset((record.image_id for record in file.annotations), "image_id", file.path)
    categories.check_offset((record.category_id for record in file.annotations), "category_id", file.path)


def _usable_images(
    images: Sequence[ImageRecord], photos: PhotoNames, problems: list[Problem]
) -> tuple[list[ImageRecord], set[Any]]:
    """Return the images that can be painted, with the names of their files, and the ids of the other images."""
    num_by_id = Counter(image.id for image in images if is_id(image.id))
    stems = [photos.stem(image.file_name) for image in images]
    num_by_stem = Counter(stems)
    usable, bad_ids = [], set()
    for image, stem in zip(images, stems, strict=True):
        try:
            _check_image(image, num_by_id)
            if stem is not None and num_by_stem[stem] > 1:
                raise RecordError("shared stem", f"several images are called {stem!r} and would share one mask")
            image.file_name = photos.find(image.file_name)
            usable.append(image)
        except RecordError as error:
            if is_id(image.id):
                bad_ids.add(image.id)
            name = image.file_name if isinstance(image.file_name, str) else None
            problems.append(Problem(error.reason, error.detail, image.id, file_name=name))
    return usable, bad_ids


def _check_image(image: ImageRecord, num_by_id: Counter[Any]) -> None:
    """Check the id and the size of an image; a height or width such as 64.0 becomes a whole number."""
    if not is_id(image.id):
        raise RecordError("image id", f"its id is {image.id!r}, no number or text")
    if num_by_id[image.id] > 1:
        raise RecordError("duplicate image id", f"{num_by_id[image.id]} images have the id {image.id!r}")
    size = f"width {image.width!r}, height {image.height!r}"
    if image.height is None or image.width is None:
        raise RecordError("image size", f"{size}: one is missing")
    image.height, image.width = _whole_number(image.height), _whole_number(image.width)
    if not all(type(side) is int and side > 0 for side in (image.height, image.width)):
        raise RecordError("image size", f"{size}: no whole numbers above 0")
    if image.height * image.width > MAX_PIXELS:
        raise RecordError("image size", f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")


def _whole_number(value: Any) -> Any:
    """Return 64 for 64.0, which programs write that have only one type of number, and any other value unchanged."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _check_annotation(record: AnnotationRecord, known: Mapping[Any, Any], bad_ids: set[Any], seen: set[Any]) -> None:
    """Check the ids of an annotation; `seen` are those of the annotations before, and this one's is added."""
    if not is_id(record.image_id) or (record.image_id not in known and record.image_id not in bad_ids):
        raise RecordError("missing image", f"its image_id is {record.image_id!r}, and no image has it")
    if record.id is None:
        return
    if not is_id(record.id):
        raise RecordError("annotation id", f"its id is {record.id!r}, no number or text")
    if record.id in seen:
        raise RecordError("duplicate annotation id", f"another annotation before it has the id {record.id!r}")
    seen.add(record.id)


def _category_of(record: AnnotationRecord, categories: Mapping[Any, _Category], *, strict: bool) -> _Category:
    """Return the category of an annotation."""
    if not is_id(record.category_id) or record.category_id not in categories:
        raise RecordError("unknown category", f"its category_id is {record.category_id!r}, and no category has it")
    category = categories[record.category_id]
    if category.class_id is None and strict:
        detail = f"no class has the category {category.name!r} or the super-category {category.supercategory!r}"
        raise RecordError("category without class", detail)
    return category


def _area_of(record: AnnotationRecord) -> float | None:
    """Return the stated area; None, and 0 as some exporters write, mean that the pixels of the outline are counted."""
    if record.area is None:
        return None
    if isinstance(record.area, bool) or not isinstance(record.area, int | float) or not 0 <= record.area < 2**63:
        raise RecordError("area", f"its area is {record.area!r}, no number of pixels")
    return record.area or None


def _sort_categories(file: AnnotationFile, classes: ClassList, problems: list[Problem]) -> dict[Any, _Category]:
    """Return the usable categories by id."""
    names: dict[Any, tuple[str, str]] = {}
    ambiguous: set[Any] = set()
    for record in file.categories:
        problem = _category_problem(record, names)
        if problem:
            problems.append(Problem(CATEGORY_RECORD, f"{problem}: id {record.id!r}, name {record.name!r}"))
            if is_id(record.id):
                ambiguous.add(record.id)
        else:
            names[record.id] = (record.name, record.supercategory or "")
    categories = {
        key: _Category(classes.id_for_category(*pair), *pair) for key, pair in names.items() if key not in ambiguous
    }
    if all(category.class_id is None for category in categories.values()):
        asked = [name for one in classes.classes for name in (*one.categories, *one.supercategories)]
        found = sorted({name for name, _ in names.values()})
        raise DataError(
            f"No category of {file.path} is in a class. The file has {', '.join(map(repr, found[:8])) or 'none'}; the "
            f"classes have {', '.join(map(repr, asked[:8])) or 'none'}. Pass --classes with a YAML file that has them"
        )
    return categories


def _category_problem(record: CategoryRecord, names: Mapping[Any, tuple[str, str]]) -> str | None:
    if not is_id(record.id):
        return "the id is no number or text"
    if not isinstance(record.name, str) or not isinstance(record.supercategory or "", str):
        return "the name or super-category is no text"
    pair = (record.name, record.supercategory or "")
    return "the id has two names" if names.get(record.id, pair) != pair else None


def unknown_names(file: AnnotationFile, classes: ClassList) -> list[str]:
    """Return the names of a class list that an annotation file does not have, each with the nearest that it has."""
    categories = {record.name for record in file.categories if isinstance(record.name, str)}
    groups = {record.supercategory for record in file.categories if isinstance(record.supercategory, str)}
    unknown = []
    for one in classes.classes[BACKGROUND_ID + 1 :]:
        for kind, names, known in (
            ("category", one.categories, categories),
            ("super-category", one.supercategories, groups),
        ):
            unknown += [f"{kind} {name!r} (nearest: {nearest(name, known, 2)})" for name in names if name not in known]
    return unknown
