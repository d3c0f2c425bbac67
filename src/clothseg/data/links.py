"""Which record an id or name of an annotation file means, and which photo a file name means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from clothseg.data.manifest import comparable_name, instead_of, lookalikes, names_by_stem, stem_of
from clothseg.data.report import RecordError
from clothseg.errors import DataError
from clothseg.pictures import PHOTO_SUFFIXES


def is_id(value: Any) -> bool:
    """Return whether a value can name a record: a number or text."""
    return isinstance(value, int | str | float) and not isinstance(value, bool)


class Links:
    """Finds the record that another record refers to: by its id, as number or text, or by its name.

    Exporters write `"image_id": "7"` beside `"id": 7`, or a photo's file name in place of its id. An id that fits
    several records, or none, links to nothing.

    Args:
        records: (id, name) of each record that others may refer to.

    >>> links = Links([(7, "street/a.jpg"), (8, "b.jpg")])
    >>> links.id_of("7"), links.id_of("a.jpg"), links.id_of("c.jpg")
    (7, 7, 'c.jpg')
    """

    def __init__(self, records: Iterable[tuple[Any, Any]]) -> None:
        self._records = [(key, name) for key, name in records if is_id(key)]
        self._ids = {key for key, _ in self._records}

    def id_of(self, value: Any) -> Any:
        """Return the id of the one record that `value` refers to, or else `value` itself."""
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
        """Refuse a file whose links are all off by the same number, so that most of them lead to another record.

        This is so where some links have no record, and every link plus one number has a record, as with `image_id`
        from 0 beside `id` from 1: it is not known which of the two was meant. `values` are the links as `id_of` returns
        them, and `field` is their name in the file.

        Raises:
            DataError: the links are off.
        """
        linked = {value for value in values if is_id(value)}
        ids, numbers, dangling = map(_whole_numbers, (self._ids, linked, linked - self._ids))
        if not dangling or not ids:
            return
        lowest = max(min(ids) - min(numbers), -2 * len(dangling))  # a larger offset would be a coincidence
        highest = min(max(ids) - max(numbers), 2 * len(dangling))
        for offset in range(lowest, highest + 1):
            if offset and all(number + offset in ids for number in numbers):
                advice = f"Add {offset} to" if offset > 0 else f"Subtract {-offset} from"
                shown = ", ".join(map(str, sorted(dangling)[:5])) + (", …" if len(dangling) > 5 else "")
                raise DataError(
                    f"{path}: the annotations have {field} {min(numbers)} to {max(numbers)}, but the ids are "
                    f"{min(ids)} to {max(ids)}. If each is off by {abs(offset)}, most annotations would be linked "
                    f"wrongly. {advice} each {field}; or, if only those with {field} {shown} are wrong, remove them"
                )


def _whole_numbers(ids: Iterable[Any]) -> set[int]:
    """Return the ids that are whole numbers, or text with one."""
    texts = (_comparable_id(value) for value in ids)
    return {int(text) for text in texts if text.isascii() and text.removeprefix("-").isdecimal()}


def _comparable_id(value: int | str | float) -> str:
    """Return an id as text that is the same for 7, 7.0, "7" and "0007"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return text.lstrip("0") or "0" if text.isascii() and text.isdecimal() else comparable_name(text)


def _name_forms(name: str) -> set[str]:
    """Return a name with and without its folders, each with and without its suffix, but for bare numbers."""
    whole = comparable_name(name.strip())
    forms = {whole, stem_of(whole)} if PurePosixPath(whole).name else set()
    forms |= {form.rsplit("/", 1)[-1] for form in forms}
    return {form for form in forms if not form.isdecimal()}


def plain_file_name(file_name: Any) -> str:
    r"""Return a photo's file name, relative and with slashes, if it stays inside the photo folder.

    Exporters on Windows write backslashes between folders.

    Raises:
        RecordError: it leads out of the folder, is hidden, or is no text.

    >>> plain_file_name("./street/a.jpg"), plain_file_name("street\\a.jpg")
    ('street/a.jpg', 'street/a.jpg')
    """
    if not isinstance(file_name, str) or not file_name.strip():
        raise RecordError("file name", f"its file_name is {file_name!r}, no text")
    name = file_name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        raise RecordError("file name", f"its file_name {file_name!r} leads out of the photo folder")
    if not parts or "\0" in name or any(part.startswith(".") for part in parts):
        raise RecordError("file name", f"its file_name {file_name!r} is hidden or no file's name")
    return "/".join(parts)


_DRIVE = re.compile("[A-Za-z]:")


class PhotoNames:
    """Finds the files of a photo folder by names that other programs and systems wrote.

    Args:
        by_stem: the files, as `manifest.names_by_stem` returns them.
        source: the folder that the photos came from. Names may start with the folder's name, as in `images/a.jpg` where
            the photos are in `images`, and messages name similar files in it.
    """

    def __init__(self, by_stem: Mapping[str, list[str]], source: Path) -> None:
        self._by_stem = by_stem
        self._source = source
        self._folder = [comparable_name(part) for part in source.absolute().parts[1:]]

    def stem(self, file_name: Any) -> str | None:
        """Return the stem of the photo that a record's file name means, or the name's own; None if it is invalid."""
        try:
            return self._stem(plain_file_name(file_name))
        except RecordError:
            return None

    def fitting(self, file_name: Any) -> list[str]:
        """Return the files of a name's stem and suffix; upper and lower case of the suffix are the same."""
        stem = self.stem(file_name)
        return [] if stem is None else self._with_suffix(stem, file_name)

    def find(self, file_name: Any) -> str:
        """Return the file that a record's file name means.

        Raises:
            RecordError: there is none, or several would share one mask; or as `plain_file_name`.
        """
        name = plain_file_name(file_name)
        stem = self._stem(name)
        if len(self._by_stem.get(stem, [])) > 1:
            raise RecordError("shared stem", f"several photos are called {stem!r} and would share one mask")
        fitting = self._with_suffix(stem, name)
        if not fitting:
            instead = instead_of(stem, self._lookalikes)
            raise RecordError("missing photo", f"{name!r} is not in the photo folder{instead}")
        return fitting[0]

    def _stem(self, name: str) -> str:
        stem = stem_of(name)
        if stem in self._by_stem:
            return stem
        parts = stem.split("/")
        for count in range(1, len(parts)):
            inner = "/".join(parts[count:])
            if inner in self._by_stem and self._folder[-count:] == parts[:count]:
                return inner
        return stem

    def _with_suffix(self, stem: str, name: str) -> list[str]:
        suffix = PurePosixPath(name).suffix.lower()
        files = self._by_stem.get(stem, [])
        return [file for file in files if PurePosixPath(file).suffix.lower() == suffix]

    @cached_property
    def _lookalikes(self) -> dict[str, str]:
        return lookalikes(names_by_stem(self._source, PHOTO_SUFFIXES))
