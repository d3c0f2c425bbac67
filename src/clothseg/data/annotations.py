"""A COCO annotation file of any size, opened without decoding its outlines; broken records are set aside."""

from __future__ import annotations

import codecs
import contextlib
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from clothseg.data.problems import Problem
from clothseg.errors import DataError, check_input, one_line

IMAGE_RECORD = "image record"
ANNOTATION_RECORD = "annotation record"
CATEGORY_RECORD = "category record"


# Fields are Any, so that one wrong type costs one record and not the file; `gc=False` since JSON makes no circles.
class ImageRecord(msgspec.Struct, gc=False):
    """A row of `images`, as it stands in the file."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class AnnotationRecord(msgspec.Struct, gc=False):
    """A row of `annotations`, as it stands in the file; its outline is not decoded."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    area: Any = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class CategoryRecord(msgspec.Struct, gc=False):
    """A row of `categories`, as it stands in the file."""

    id: Any = None
    name: Any = None
    supercategory: Any = ""


@dataclass(frozen=True)
class AnnotationFile:
    """What an annotation file holds."""

    path: Path
    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[CategoryRecord]
    problems: list[Problem]
    """Rows that are no records at all, and so are in none of the lists."""
    description: str | None
    """`info.description`, or None where the file does not say."""
    licences: tuple[str, ...]
    """The names under `licenses`."""


class _Content(msgspec.Struct):
    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[CategoryRecord]
    info: msgspec.Raw = msgspec.Raw(b"")
    licenses: msgspec.Raw = msgspec.Raw(b"")


class Rows(msgspec.Struct):
    """An annotation file as rows of JSON, nothing in them decoded."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    info: msgspec.Raw = msgspec.Raw(b"")
    licenses: msgspec.Raw = msgspec.Raw(b"")


class _OnlyId(msgspec.Struct):
    id: Any = None


def open_annotations(path: Path) -> AnnotationFile:
    """Open an annotation file.

    The file is mapped, not read: outlines stay in it, as raw JSON, until they are asked for, so the file must not be
    changed in place meanwhile.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no JSON object with the lists images, annotations and categories.
    """
    problems: list[Problem] = []
    with _named_failures(path):
        decoded = _decode(_mapped(path), problems)
    return AnnotationFile(
        path,
        decoded.images,
        decoded.annotations,
        decoded.categories,
        problems,
        _description(decoded.info),
        _licences(decoded.licenses),
    )


def open_rows(path: Path) -> Rows:
    """Open an annotation file as rows of JSON; NaN and Infinity, which JSON does not have, become null.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no JSON object with the lists images, annotations and categories.
    """
    with _named_failures(path):
        content = _mapped(path)
        try:
            return msgspec.json.decode(content, type=Rows)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            without = _without_bare_words(content)
            if without is None:
                raise
            return msgspec.json.decode(without, type=Rows)


@contextlib.contextmanager
def _named_failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            f"{path} is not a COCO annotation file: {one_line(error)}. It takes a JSON object with the lists images, "
            "annotations and categories"
        ) from error


def check_annotation_file(path: Path) -> None:
    """Refuse a path that is no file to read.

    Raises:
        MissingInputError, DataError: as `check_input`.
    """
    check_input(path, "Annotation file", "Pass the path of a COCO instance JSON")


def _mapped(path: Path) -> memoryview:
    check_annotation_file(path)
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise DataError(f"Annotation file is empty (0 bytes): {path}. Fetch or export it again")
        content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    if bytes(content[:2]) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as Windows PowerShell writes text
        return memoryview(str(content, "utf-16").encode())
    return content[3:] if bytes(content[:3]) == codecs.BOM_UTF8 else content


def _decode(content: memoryview | bytes, problems: list[Problem]) -> _Content:
    try:
        return msgspec.json.decode(content, type=_Content)
    except (msgspec.ValidationError, UnicodeDecodeError):
        return _decode_one_by_one(content, problems)
    except msgspec.DecodeError:
        without = _without_bare_words(content)
        if without is None:
            raise
        return _decode(without, problems)


def _decode_one_by_one(content: memoryview | bytes, problems: list[Problem]) -> _Content:
    raw = msgspec.json.decode(content, type=Rows)
    return _Content(
        _records(raw.images, ImageRecord, IMAGE_RECORD, problems),
        _records(raw.annotations, AnnotationRecord, ANNOTATION_RECORD, problems),
        _records(raw.categories, CategoryRecord, CATEGORY_RECORD, problems),
        raw.info,
        raw.licenses,
    )


_Record = TypeVar("_Record", bound=msgspec.Struct)


def _records(rows: list[msgspec.Raw], kind: type[_Record], reason: str, problems: list[Problem]) -> list[_Record]:
    decoder = msgspec.json.Decoder(kind)
    records = []
    for number, row in enumerate(rows):
        try:
            records.append(decoder.decode(row))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            detail = f"row {number} cannot be read: {one_line(error)}"
            known = _id_of(row)
            if reason == ANNOTATION_RECORD:
                problems.append(Problem(reason, detail, annotation_id=known))
            else:
                problems.append(Problem(reason, detail, image_id=known if reason == IMAGE_RECORD else None))
    return records


def _id_of(row: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(row, type=_OnlyId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_BARE_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)', re.DOTALL)


def _without_bare_words(content: memoryview | bytes) -> bytes | None:
    """Return JSON with the NaN and Infinity that Python's json writes as null, or None where there are none."""
    found = False

    def replaced(match: re.Match[bytes]) -> bytes:
        nonlocal found
        if match[0].startswith(b'"'):
            return match[0]
        found = True
        return b"null"

    result = _BARE_WORD.sub(replaced, content)
    return result if found else None


def _description(info: msgspec.Raw) -> str | None:
    try:
        description = msgspec.json.decode(info, type=dict[str, Any]).get("description")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return description.strip() or None if isinstance(description, str) else None


def _licences(licenses: msgspec.Raw) -> tuple[str, ...]:
    try:
        rows = msgspec.json.decode(licenses, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()
    names = (row.get("name") for row in rows)
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))
