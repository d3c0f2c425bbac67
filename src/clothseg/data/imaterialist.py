"""iMaterialist (Fashion) of Kaggle, which has Fashionpedia's photos: its files, and its rows as COCO annotations."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from clothseg.data.unzip import contents_of
from clothseg.errors import DataError, MissingInputError, check_input, one_line
from clothseg.pictures import PHOTO_SUFFIXES, whole_file
from clothseg.progress import Advance

ROWS = "train.csv"
LABELS = "label_descriptions.json"
PHOTOS = "train"
"""Names in the download. Source: kaggle.com/c/imaterialist-fashion-2020-fgvc7/data, and …-2019-FGVC6/data."""

COLUMNS = ("ImageId", "EncodedPixels", "Height", "Width", "ClassId")
"""Columns of `ROWS` that are read. 2020 also has AttributesIds; 2019 appends attributes to ClassId: `6_115_136`."""

_PROGRESS_EVERY = 1000
"""Rows between two calls of `progress`."""
_LONGEST_FIELD = 1 << 27
"""Characters of EncodedPixels; a photo of 100 million pixels has no more than 50 million runs."""


class _Labels(msgspec.Struct):
    categories: list[dict[str, Any]]
    info: dict[str, Any] = {}


def find_file(root: Path, name: str) -> Path | None:
    """Return where a download has a file or folder: as it is, or the zip archive that contains it, or None.

    Args:
        root: the folder of the download, or one archive with all of it.
        name: such as `ROWS`; of a folder, the archive has photos in it or is called after it.
    """
    if (root / name).exists():
        return root / name
    archives = [root] if root.suffix == ".zip" and root.is_file() else sorted(root.glob("*.zip"))
    return next((one for one in archives if one.stem == name or _contains(one, name)), None)


def _contains(archive: Path, name: str) -> bool:
    with contents_of(archive) as contents:
        return any(member == name or member.startswith(f"{name}/") for member in contents.namelist())


def labels_size(path: Path) -> int:
    """Return the bytes of an annotation file, or of the rows in an archive."""
    if path.suffix != ".zip":
        return path.stat().st_size
    with contents_of(path) as contents:
        return sum(info.file_size for info in contents.infolist() if info.filename == ROWS)


def write_coco(rows: Path, target: Path, *, progress: Advance) -> None:
    """Write rows, each an instance, as a COCO annotation file; the run lengths stay as they are, and are not checked.

    The rows are read one by one and in any order; photos take memory, rows take none. An annotation's id is the number
    of its row, from 1. `label_descriptions.json` is beside the rows, or in the same archive.

    Args:
        rows: a CSV file with the columns `COLUMNS`, or an archive with `ROWS`.
        target: the file to write. Outlines are `{"size": [H, W], "encoded_pixels": "START LENGTH START LENGTH …"}`,
            which `segmentations.read_outlines` reads beside COCO's own codes.
        progress: called now and then with how many rows were written.

    Raises:
        MissingInputError: there are no rows, or no labels.
        DataError: one of them is not what its name says.
        MachineError: the disk is full or cannot be written.
    """
    labels = _read_labels(rows)
    images: dict[str, dict[str, Any]] = {}
    with whole_file(target, sync=True) as temporary, temporary.open("wb") as stream:
        stream.write(b'{"annotations": [')
        for number, row in enumerate(_read_rows(rows), 1):
            stream.write(b",\n" if number > 1 else b"\n")
            stream.write(msgspec.json.encode(_annotation(number, row, images) if row else f"row {number} is cut off"))
            if number % _PROGRESS_EVERY == 0:
                progress(number, None)
        stream.write(b'],\n"images": ' + msgspec.json.encode(list(images.values())))
        stream.write(b',\n"categories": ' + msgspec.json.encode(labels.categories))
        stream.write(b',\n"info": ' + msgspec.json.encode(labels.info) + b"}\n")


def _annotation(number: int, row: Sequence[str], images: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the annotation of a row; a photo that is not in `images` is added."""
    name, encoded_pixels, height, width, class_id = row
    size = _number(height), _number(width)
    file_name = name if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES else f"{name}.jpg"  # 2020 has no suffix
    image = images.setdefault(
        name, {"id": len(images) + 1, "file_name": file_name, "height": size[0], "width": size[1]}
    )
    outline = {"size": size, "encoded_pixels": encoded_pixels}
    category_id = _number(class_id.partition("_")[0])
    return {"id": number, "image_id": image["id"], "category_id": category_id, "segmentation": outline}


def _number(text: str) -> int | str:
    """Return a whole number, or the text that is none, which the check of the records names."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else text


def _read_rows(path: Path) -> Iterator[Sequence[str]]:
    """Yield the fields `COLUMNS` of each row; empty where the row has fewer fields than the header."""
    before = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with _opened(path, ROWS) as binary:
            rows = csv.reader(io.TextIOWrapper(binary, encoding="utf-8-sig", newline=""))
            header = next(rows, [])
            missing = [name for name in COLUMNS if name not in header]
            if missing:
                raise DataError(
                    f"{path} is no {ROWS} of iMaterialist (Fashion): it lacks the columns {', '.join(missing)}; "
                    f"its first line has {', '.join(header)[:200] or 'nothing'}. Pass the {ROWS} of 2019 or 2020"
                )
            columns = [header.index(name) for name in COLUMNS]
            for row in rows:
                yield [row[column] for column in columns] if len(row) == len(header) else ()
    except (UnicodeDecodeError, csv.Error, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} cannot be read: {one_line(error)}. Download it again") from error
    finally:
        csv.field_size_limit(before)


def _read_labels(rows: Path) -> _Labels:
    found = rows if rows.suffix == ".zip" and _contains(rows, LABELS) else find_file(rows.parent, LABELS)
    if found is None:
        raise MissingInputError(
            f"{LABELS} is not beside {rows}. It names the categories; put the one of the same download there"
        )
    with _opened(found, LABELS) as stream:
        try:
            return msgspec.json.decode(stream.read(), type=_Labels)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{found} is no {LABELS} of iMaterialist: {one_line(error)}. Download it again") from error


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file, or the file called `name` in an archive, which is not unpacked for it."""
    check_input(path, "Annotation file", f"Pass the path of {name}, or of the archive that contains it")
    if path.suffix != ".zip":
        with path.open("rb") as stream:
            yield stream
        return
    with contents_of(path) as contents:
        if name not in contents.namelist():
            raise DataError(f"{path} has no {name}. Pass the archive that contains it")
        with contents.open(name) as stream:
            yield stream
