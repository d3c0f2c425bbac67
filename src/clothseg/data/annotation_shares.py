"""One annotation file becomes two: the photos to train on and a share of them to validate with."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from clothseg.data.annotations import open_rows
from clothseg.data.records import Links
from clothseg.errors import DataError
from clothseg.pictures import whole_file


def choose_share(names: Collection[str], share: float) -> set[str]:
    """Return about `share` of `names`, at least one: always the same of the same names, in no order of theirs.

    Raises:
        DataError: there are fewer than two names.
    """
    if len(names) < 2:
        raise DataError(f"A data set takes 2 photos or more, one of them to validate with; this one has {len(names)}")
    shuffled = sorted(set(names), key=lambda name: hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())
    return set(shuffled[: min(max(1, round(len(shuffled) * share)), len(shuffled) - 1)])


class _Image(msgspec.Struct):
    id: Any = None
    file_name: Any = None


class _Annotation(msgspec.Struct):
    image_id: Any = None


def split_annotations(source: Path, train: Path, val: Path, *, val_share: float) -> None:
    """Write the rows of a COCO annotation file into two, each row as it stands; broken rows go to `train`.

    Photos are chosen by file name, so that two records of one photo stay together.

    Raises:
        MissingInputError: there is no such file.
        DataError: it is no annotation file, has fewer than two photos, or its links are off by one number.
        MachineError: the disk is full or cannot be written.
    """
    content = open_rows(source)
    names = [_key(row) for row in content.images]
    chosen = choose_share({name for name, _ in names if name is not None}, val_share)
    in_val = [name in chosen for name, _ in names]
    val_ids = {image_id for (_, image_id), is_val in zip(names, in_val, strict=True) if is_val} - {None}
    links = Links((image_id, name) for name, image_id in names)
    image_ids = [links.id_of(_image_id(row)) for row in content.annotations]
    links.check_offset(image_ids, "image_id", source)
    belongs_to_val = [image_id in val_ids for image_id in image_ids]
    for path, is_val in ((train, False), (val, True)):
        with whole_file(path, sync=True) as temporary, temporary.open("wb") as stream:
            stream.write(b'{"info": ' + (bytes(content.info) or b"{}"))
            stream.write(b', "licenses": ' + (bytes(content.licenses) or b"[]"))
            _write_rows(stream, b"categories", content.categories)
            _write_rows(stream, b"images", _where(content.images, in_val, is_val))
            _write_rows(stream, b"annotations", _where(content.annotations, belongs_to_val, is_val))
            stream.write(b"}\n")


def _key(row: msgspec.Raw) -> tuple[str | None, Any]:
    try:
        image = msgspec.json.decode(row, type=_Image)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None, None
    name = image.file_name if isinstance(image.file_name, str) else None
    return name, image.id if isinstance(image.id, int | str | float) else None


def _image_id(row: msgspec.Raw) -> Any:
    try:
        image_id = msgspec.json.decode(row, type=_Annotation).image_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return image_id if isinstance(image_id, int | str | float) else None


def _where(rows: Sequence[msgspec.Raw], marks: Sequence[bool], wanted: bool) -> Iterable[msgspec.Raw]:
    return (row for row, mark in zip(rows, marks, strict=True) if mark == wanted)


def _write_rows(stream: Any, name: bytes, rows: Iterable[msgspec.Raw]) -> None:
    stream.write(b',\n"' + name + b'": [')
    for number, row in enumerate(rows):
        stream.write(b",\n" if number else b"\n")
        stream.write(row)
    stream.write(b"]")
