"""Each record of an annotation file checked on its own: ids, names, sizes, categories and areas of any type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from clothseg.data.annotations import (
    CATEGORY_RECORD,
    AnnotationFile,
    AnnotationRecord,
    CategoryRecord,
    ImageRecord,
)
from clothseg.data.manifest import comparable_name, stem_of
from clothseg.data.problems import Problem, RecordError
from clothseg.errors import DataError, nearest
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import MAX_PIXELS


def is_id(value: Any) -> bool:
    """Return whether a value can name a record: a number or text."""
    return isinstance(value, int | str | float) and not isinstance(value, bool)


class Links:
    """Finds the record that another one means: by its id, as number or text, or by its name.

    Exporters write `"image_id": "7"` beside `"id": 7`, or a photo's file name in place of its id. An id that several
    records fit, or none, links to nothing.

    Args:
        records: (id, name) of each record that may be meant.

    >>> links = Links([(7, "street/a.jpg"), (8, "b.jpg")])
    >>> links.id_of("7"), links.id_of("a.jpg"), links.id_of("c.jpg")
    (7, 7, 'c.jpg')
    """

    def __init__(self, records: Iterable[tuple[Any, Any]]) -> None:
        self._records = [(key, name) for key, name in records if is_id(key)]
        self._ids = {key for key, _ in self._records}

    def id_of(self, value: Any) -> Any:
        """Return the id of the one record that `value` means, or else `value` as it is."""
        if not is_id(value) or value in self._ids:
            return value
        text = _comparable_id(value)
        fitting = self._ids_by_text.get(text) or (self._ids_by_name.get(text) if isinstance(value, str) else None)
        return next(iter(fitting)) if fitting and len(fitting) == 1 else value

    @cached_property
    def _ids_by_text(self) -> dict[str, set[Any]]:
        found: dict[str, set[Any]] = {}
        for key, _ in self._records:
            found.setdefault(_comparable_id(key), set()).add(key)
        return found

    @cached_property
    def _ids_by_name(self) -> dict[str, set[Any]]:
        found: dict[str, set[Any]] = {}
        for key, name in self._records:
            for form in _name_forms(name) if isinstance(name, str) else ():
                found.setdefault(form, set()).add(key)
        return found

    def check_offset(self, values: Iterable[Any], field: str, path: Path) -> None:
        """Refuse a file whose links are all off by one number, so that most of them lead to another record.

        Where some links have no record and every link plus one number has one, as with `image_id` from 0 beside `id`
        from 1, nothing says which of the two was meant. A link without a record that lies between others is none.

        Args:
            values: the links, as `id_of` returns them.
            field: what the file calls them.
            path: the file, for the error.

        Raises:
            DataError: the links are off.
        """
        linked = {value for value in values if is_id(value)}
        ids, numbers, dangling = map(_whole_numbers, (self._ids, linked, linked - self._ids))
        if not dangling or not ids:
            return
        lowest = max(min(ids) - min(numbers), -2 * len(dangling))  # farther off, it would be chance
        highest = min(max(ids) - max(numbers), 2 * len(dangling))
        for offset in range(lowest, highest + 1):
            if all(number + offset in ids for number in numbers):
                advice = f"Add {offset} to" if offset > 0 else f"Subtract {-offset} from"
                shown = ", ".join(map(str, sorted(dangling)[:5])) + (", …" if len(dangling) > 5 else "")
                raise DataError(
                    f"{path}: the annotations have {field} {min(numbers)} to {max(numbers)}, but the ids are "
                    f"{min(ids)} to {max(ids)}. If each is off by {abs(offset)}, most annotations would be linked "
                    f"wrongly. {advice} each {field}; or, if only those with {field} {shown} are wrong, remove them"
                )


def _whole_numbers(ids: Iterable[Any]) -> set[int]:
    """Return the ids that are whole numbers, or text that says one."""
    texts = (_comparable_id(value) for value in ids)
    return {int(text) for text in texts if text.isascii() and text.removeprefix("-").isdecimal()}


def _comparable_id(value: int | str | float) -> str:
    """Return an id as text that is the same for 7, 7.0, "7" and "0007"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else comparable_name(text)


def _name_forms(name: str) -> set[str]:
    """Return a name as it is and without folders, each with and without its suffix; a bare number is no name."""
    whole = comparable_name(name.strip())
    forms = {whole, stem_of(whole)} if PurePosixPath(whole).name else set()
    forms |= {form.rsplit("/", 1)[-1] for form in forms}
    return {form for form in forms if not form.isdecimal()}


def check_image(image: ImageRecord, num_by_id: Counter[Any]) -> None:
    """Check the id and the size of an image; sides such as 64.0 become whole numbers.

    Args:
        image: the record.
        num_by_id: how many images have each id.

    Raises:
        RecordError: it cannot be used.
    """
    if not is_id(image.id):
        raise RecordError("image id", f"its id is {image.id!r}, no number or text")
    if num_by_id[image.id] > 1:
        raise RecordError("duplicate image id", f"{num_by_id[image.id]} images have the id {image.id!r}")
    if image.height is None or image.width is None:
        raise RecordError("image size", f"width {image.width!r}, height {image.height!r}: one is missing")
    image.height, image.width = whole_number(image.height), whole_number(image.width)
    if not all(type(side) is int and side > 0 for side in (image.height, image.width)):
        raise RecordError("image size", f"width {image.width!r}, height {image.height!r}: no whole numbers above 0")
    if image.height * image.width > MAX_PIXELS:
        raise RecordError("image size", f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")


def plain_file_name(file_name: Any) -> str:
    r"""Return a photo's file name, relative and with slashes, if it stays inside the photo folder.

    Exporters on Windows write backslashes between folders.

    Raises:
        RecordError: it does not, or it is no text.

    >>> plain_file_name("./street/a.jpg"), plain_file_name("street\\a.jpg")
    ('street/a.jpg', 'street/a.jpg')
    """
    if not isinstance(file_name, str) or not file_name.strip():
        raise RecordError("file name", f"its file_name is {file_name!r}, no text")
    path = PurePosixPath(file_name.replace("\\", "/"))
    windows = PureWindowsPath(file_name)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts:
        raise RecordError("file name", f"its file_name {file_name!r} leads out of the photo folder")
    if not path.name or "\0" in file_name or any(part.startswith(".") for part in path.parts):
        raise RecordError("file name", f"its file_name {file_name!r} is hidden or no file's name")
    return path.as_posix()


def check_annotation(record: AnnotationRecord, known: set[Any], bad_ids: set[Any], seen: set[Any]) -> None:
    """Check the ids of an annotation.

    Args:
        record: the annotation.
        known: ids of the images that can be used.
        bad_ids: ids of the images that are set aside.
        seen: ids of the annotations before; gets this one's.

    Raises:
        RecordError: it cannot be used.
    """
    if not is_id(record.image_id) or (record.image_id not in known and record.image_id not in bad_ids):
        raise RecordError("missing image", f"its image_id is {record.image_id!r}, and no image has it")
    if record.id is None:
        return
    if not is_id(record.id):
        raise RecordError("annotation id", f"its id is {record.id!r}, no number or text")
    if record.id in seen:
        raise RecordError("duplicate annotation id", f"another annotation before it has the id {record.id!r}")
    seen.add(record.id)


def class_of(
    record: AnnotationRecord, class_ids: Mapping[Any, tuple[int | None, str, str]], *, strict_categories: bool
) -> tuple[int | None, str]:
    """Return the class id of an annotation, or None, and its category.

    Raises:
        RecordError: there is no such category, or, if `strict_categories`, no class takes it.
    """
    if not is_id(record.category_id) or record.category_id not in class_ids:
        raise RecordError("unknown category", f"its category_id is {record.category_id!r}, and no category has it")
    class_id, category, supercategory = class_ids[record.category_id]
    if class_id is None and strict_categories:
        raise RecordError(
            "category without class",
            f"no class takes the category {category!r} or the super-category {supercategory!r}",
        )
    return class_id, category


def whole_number(value: Any) -> Any:
    """Return 64 for 64.0, as programs write that know one kind of number only, and anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def area_of(record: AnnotationRecord) -> float | None:
    """Return the area that the file states; None, and 0 as some exporters write, leave it to the outline.

    Raises:
        RecordError: it is no number of pixels.
    """
    if record.area is None:
        return None
    if isinstance(record.area, bool) or not isinstance(record.area, int | float) or not 0 <= record.area < 2**63:
        raise RecordError("area", f"its area is {record.area!r}, no number of pixels")
    return record.area or None


def class_of_categories(
    file: AnnotationFile, classes: ClassList, problems: list[Problem]
) -> dict[Any, tuple[int | None, str, str]]:
    """Return (class id or None, category, super-category) by category id.

    Raises:
        DataError: no category falls into any class.
    """
    names: dict[Any, tuple[str, str]] = {}
    doubtful: set[Any] = set()
    for record in file.categories:
        problem = _category_problem(record, names)
        if problem:
            problems.append(Problem(CATEGORY_RECORD, f"{problem}: id {record.id!r}, name {record.name!r}"))
            if is_id(record.id):
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
    if not is_id(record.id):
        return "the id is no number or text"
    if not isinstance(record.name, str) or not isinstance(record.supercategory or "", str):
        return "the name or super-category is no text"
    if names.get(record.id, (record.name, record.supercategory or "")) != (record.name, record.supercategory or ""):
        return "the id has two names"
    return None


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
