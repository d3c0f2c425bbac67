"""COCO annotation files of any size: opened without decoding their outlines, and split in two."""

from __future__ import annotations

import codecs
import hashlib
import mmap
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from clothseg.data.links import Links, is_id
from clothseg.data.report import Problem
from clothseg.errors import DataError, check_input, one_line
from clothseg.pictures import whole_file

IMAGE_RECORD = "image record"
ANNOTATION_RECORD = "annotation record"
CATEGORY_RECORD = "category record"

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# Fields are Any, so that one wrong type costs one record and not the file; `gc=False` since JSON makes no circles.
class ImageRecord(msgspec.Struct, gc=False):
    """A row of `images`, as it is in the file."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class AnnotationRecord(msgspec.Struct, gc=False):
    """A row of `annotations`, as it is in the file; its outline is not decoded."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    area: Any = None
    segmentation: msgspec.Raw = msgspec.Raw(b"")


class CategoryRecord(msgspec.Struct, gc=False):
    """A row of `categories`, as it is in the file."""

    id: Any = None
    name: Any = None
    supercategory: Any = ""


@dataclass(frozen=True)
class AnnotationFile:
    """The records of an annotation file."""

    path: Path
    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[CategoryRecord]
    problems: list[Problem]
    """Rows that are no records and so are in none of the lists."""


class Rows(msgspec.Struct):
    """An annotation file as rows of JSON that are not decoded."""

    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]
    info: msgspec.Raw = msgspec.Raw(b"{}")
    licenses: msgspec.Raw = msgspec.Raw(b"[]")


_Record = TypeVar("_Record", bound=msgspec.Struct)


def open_annotations(path: Path) -> AnnotationFile:
    """Open an annotation file.

    The file is mapped, not read: outlines stay in it as raw JSON until they are needed, so the file must not be changed
    in place meanwhile.

    Raises:
        MissingInputError, DataError: as `open_rows`.
    """
    rows = open_rows(path)
    problems: list[Problem] = []
    return AnnotationFile(
        path,
        _records(rows.images, ImageRecord, IMAGE_RECORD, problems),
        _records(rows.annotations, AnnotationRecord, ANNOTATION_RECORD, problems),
        _records(rows.categories, CategoryRecord, CATEGORY_RECORD, problems),
        problems,
    )


def open_rows(path: Path) -> Rows:
    """Open an annotation file as rows of JSON; NaN and Infinity, which JSON does not have, become null.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no JSON object with the lists images, annotations and categories.
    """
    try:
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
    except _UNREADABLE as error:
        raise DataError(
            f"{path} is not a COCO annotation file: {one_line(error)}. A COCO annotation file is a JSON object with "
            "the lists images, annotations and categories"
        ) from error


def check_annotation_file(path: Path) -> None:
    """Refuse a path that is no readable file.

    Raises:
        MissingInputError, DataError: as `check_input`.
    """
    check_input(path, "Annotation file", "Pass the path of a COCO instance JSON")


def describe_annotations(path: Path) -> tuple[str | None, str | None]:
    """Return the description and the names of the licences that an annotation file states, each None if it does not.

    Raises:
        MissingInputError, DataError: as `open_rows`.
    """
    rows = open_rows(path)
    info, licences = _decoded(rows.info, dict[str, Any], {}), _decoded(rows.licenses, list[dict[str, Any]], [])
    description = info.get("description")
    names = (licence.get("name") for licence in licences)
    unique = dict.fromkeys(name for name in names if isinstance(name, str) and name)
    return (description.strip() or None) if isinstance(description, str) else None, "; ".join(unique) or None


def _mapped(path: Path) -> memoryview:
    check_annotation_file(path)
    with path.open("rb") as stream:
        if not path.stat().st_size:
            raise DataError(f"Annotation file is empty (0 bytes): {path}. Download or export it again")
        content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    if bytes(content[:2]) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # as Windows PowerShell writes text
        return memoryview(str(content, "utf-16").encode())
    return content[3:] if bytes(content[:3]) == codecs.BOM_UTF8 else content


_BARE_WORD = re.compile(rb'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)', re.DOTALL)


def _without_bare_words(content: memoryview) -> bytes | None:
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


def _records(rows: list[msgspec.Raw], kind: type[_Record], reason: str, problems: list[Problem]) -> list[_Record]:
    decoder = msgspec.json.Decoder(kind)
    records = []
    for number, row in enumerate(rows):
        try:
            records.append(decoder.decode(row))
        except _UNREADABLE as error:
            detail = f"row {number} cannot be read: {one_line(error)}"
            known = {IMAGE_RECORD: "image_id", ANNOTATION_RECORD: "annotation_id"}.get(reason)
            key = _decoded(row, _OnlyId, _OnlyId()).id
            problems.append(Problem(reason, detail, **({known: key} if known else {})))
    return records


class _OnlyId(msgspec.Struct):
    id: Any = None


def _decoded(row: msgspec.Raw, kind: type[Any], default: Any) -> Any:
    try:
        return msgspec.json.decode(row, type=kind)
    except _UNREADABLE:
        return default


def choose_share(names: Collection[str], share: float) -> set[str]:
    """Return about `share` of `names`, at least one: always the same for the same names in any order.

    Raises:
        DataError: there are fewer than two names.
    """
    if len(names) < 2:
        raise DataError(f"A dataset needs 2 photos or more, one of them to validate with; this one has {len(names)}")
    return choose(names, min(max(1, round(len(names) * share)), len(names) - 1))


def choose(names: Collection[str], count: int) -> set[str]:
    """Return `count` of `names`, or all if there are fewer: always the same for the same names in any order."""
    shuffled = sorted(set(names), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    return set(shuffled[:count])


def split_annotations(source: Path, train: Path, val: Path, *, val_share: float) -> None:
    """Write the rows of a COCO annotation file into two files, each row unchanged; broken rows go to `train`.

    Photos are chosen by file name, so that two records of one photo stay together.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no annotation file, has fewer than two photos, or its links are off by one number.
        MachineError: the disk is full or cannot be written.
    """
    rows = open_rows(source)
    images = [_decoded(row, ImageRecord, ImageRecord()) for row in rows.images]
    chosen = choose_share({image.file_name for image in images if isinstance(image.file_name, str)}, val_share)
    in_val = [isinstance(image.file_name, str) and image.file_name in chosen for image in images]
    val_ids = {image.id for image, is_val in zip(images, in_val, strict=True) if is_val and is_id(image.id)}
    links = Links((image.id, image.file_name) for image in images)
    annotations = (_decoded(row, AnnotationRecord, AnnotationRecord()) for row in rows.annotations)
    image_ids = [links.id_of(annotation.image_id) for annotation in annotations]
    links.check_offset(image_ids, "image_id", source)
    of_val = [is_id(image_id) and image_id in val_ids for image_id in image_ids]
    for path, is_val in ((train, False), (val, True)):
        with whole_file(path, sync=True) as temporary, temporary.open("wb") as stream:
            stream.write(b'{"info": ' + bytes(rows.info) + b', "licenses": ' + bytes(rows.licenses))
            _write_rows(stream, b"categories", rows.categories)
            _write_rows(stream, b"images", _where(rows.images, in_val, is_val))
            _write_rows(stream, b"annotations", _where(rows.annotations, of_val, is_val))
            stream.write(b"}\n")


def _where(rows: Sequence[msgspec.Raw], marks: Sequence[bool], wanted: bool) -> Iterator[msgspec.Raw]:
    return (row for row, mark in zip(rows, marks, strict=True) if mark == wanted)


def _write_rows(stream: IO[bytes], name: bytes, rows: Iterable[msgspec.Raw]) -> None:
    stream.write(b',\n"' + name + b'": [')
    for number, row in enumerate(rows):
        stream.write(b",\n" if number else b"\n")
        stream.write(row)
    stream.write(b"]")
