"""The manifest of a prepared dataset: its classes, splits and counts; and photos paired with masks by file name."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from clothseg.errors import DataError, SettingError, check_input, command, path_problem, walk
from clothseg.labels import ClassList
from clothseg.pictures import PHOTO_SUFFIXES, write_whole

Item = TypeVar("Item")

DATASET_FOLDER = "fashionist"
"""Folder of a prepared dataset inside DATA_PATH."""
MANIFEST_NAME = "dataset.json"
VERSION = 1

_PREPARE = f'Run "{command("prepare")}" (add --sample to try it in minutes)'


@dataclass(frozen=True)
class Split:
    """One part of a dataset, such as its training photos: two folders and what is in them."""

    photos: str
    """Folder of the photos, relative to the dataset's folder."""
    masks: str
    """Folder of the masks, relative to the dataset's folder."""
    count: int
    """Number of masks; photos without a mask do not count."""
    pixels_per_class: tuple[int, ...]
    """Pixels of each class id over all masks."""
    photos_per_class: tuple[int, ...]
    """Number of masks in which each class id occurs."""


@dataclass(frozen=True)
class Manifest:
    """The description of a prepared dataset."""

    name: str
    source: str
    """Where the photos and annotations came from."""
    licence: str | None
    classes: ClassList
    splits: dict[str, Split]
    """By name: train and val."""

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of the dataset in `folder`, which is `DATA_PATH / DATASET_FOLDER`.

        Raises:
            MissingInputError: there is no prepared dataset in `folder`.
            DataError: the manifest is damaged or of a later version.
        """
        path = folder / MANIFEST_NAME
        check_input(path, "Prepared dataset", _PREPARE)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls.from_dict(values)
        except (ValueError, TypeError, KeyError, AttributeError, SettingError, RecursionError) as error:
            reason = error.args[0] if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
            raise DataError(f"{path} is not the manifest of a dataset ({reason}). {_PREPARE} again") from error

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder` atomically.

        Raises:
            MachineError: the folder cannot be written.
        """
        write_whole(folder / MANIFEST_NAME, self.to_json())

    def summary(self) -> dict[str, Any]:
        """Return the description of the training data for a model file, as plain values."""
        train = self.splits.get("train")
        pixels, photos = (train.pixels_per_class, train.photos_per_class) if train else ((), ())
        return {
            "name": self.name,
            "source": self.source,
            "licence": self.licence,
            "counts": {name: split.count for name, split in self.splits.items()},
            "known_classes": [name for name, count in zip(self.classes.names, pixels, strict=False) if count],
            "photos_per_class": {name: count for name, count in zip(self.classes.names, photos, strict=False) if count},
        }

    def to_json(self) -> bytes:
        """Return the manifest as the bytes that `write` stores."""
        splits = {name: asdict(split) for name, split in self.splits.items()}
        values = {"version": VERSION, **vars(self), "classes": self.classes.to_dicts(), "splits": splits}
        return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Manifest:
        """Return the manifest of the plain values that `to_json` stores.

        Raises:
            DataError, SettingError, ValueError, TypeError, KeyError, AttributeError: they are not those of a manifest.
        """
        if values["version"] != VERSION:
            raise DataError(f"its version is {values['version']!r}, this clothseg reads {VERSION}")
        classes = ClassList.from_dicts(values["classes"])
        splits = {str(name): _split_from_dict(row, len(classes)) for name, row in values["splits"].items()}
        if not splits:
            raise DataError("it names no split")
        licence = values["licence"]
        return cls(
            str(values["name"]), str(values["source"]), None if licence is None else str(licence), classes, splits
        )


def _split_from_dict(row: Mapping[str, Any], num_classes: int) -> Split:
    values = {field.name: row[field.name] for field in fields(Split)}
    for name in ("photos", "masks"):
        parts = PurePosixPath(values[name]).parts
        if not parts or ".." in parts or PurePosixPath(values[name]).is_absolute():
            raise DataError(f"its {name} folder {values[name]!r} is outside the dataset")
    for name in ("pixels_per_class", "photos_per_class"):
        values[name] = tuple(values[name])
        if len(values[name]) != num_classes or not all(type(count) is int and count >= 0 for count in values[name]):
            raise DataError(f"its {name} does not have one count for each of the {num_classes} classes")
    if type(values["count"]) is not int or values["count"] < 0:
        raise DataError(f"its count is {values['count']!r}")
    return Split(**values)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` of the items, spread evenly from the first to the last, or all if there are fewer.

    >>> spread(range(700), 4)
    [0, 233, 466, 699]
    """
    count = min(count, len(items))
    step = (len(items) - 1) / max(count - 1, 1)
    return [items[index] for index in sorted({round(number * step) for number in range(count)})]


def pairs(folder: Path, split: Split) -> list[tuple[Path, Path]]:
    """Return (photo, mask) of every mask of `split`, sorted by stem; photos without a mask are ignored.

    The stem is the path inside its folder without the suffix, so `a/b.jpg` is paired with `a/b.png`. One
    missing file does not shift all later pairs, as it would if pairs were made by order.

    Raises:
        MissingInputError: the split's photo or mask folder is not there.
        DataError: a mask has no photo, or two photos share a stem that has a mask; the stems are named. Or there are
            more masks than were prepared, such as those of a prediction, which are no ground truth.
    """
    photo_folder, mask_folder = folder / split.photos, folder / split.masks
    photos = names_by_stem(photo_folder, PHOTO_SUFFIXES)
    masks = names_by_stem(mask_folder, (".png",))
    unpaired = [stem for stem in masks if stem not in photos]
    if unpaired:
        raise DataError(
            f"{_named(unpaired)} in {mask_folder} without a photo in {photo_folder}. "
            f'Run "{command("prepare")}" again, or "{command("verify")}" for the whole list'
        )
    ambiguous = [stem for stem in masks if len(photos[stem]) > 1]
    if ambiguous:
        raise DataError(
            f"{_named(ambiguous)} in {mask_folder} with several photos, such as "
            f"{' and '.join(photos[ambiguous[0]])}. Keep one photo for each mask"
        )
    if len(masks) > split.count:
        raise DataError(
            f"{len(masks)} masks in {mask_folder}, but {split.count} were prepared; others, such as those of a "
            f'prediction, are no ground truth. Remove them, or run "{command("prepare")}" again'
        )
    return [(photo_folder / photos[stem][0], mask_folder / masks[stem][0]) for stem in sorted(masks)]


def names_by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, list[str]]:
    """Return the files below `folder` that end in one of `suffixes`, relative and with slashes, by their `stem_of`.

    The suffixes are in lower case; the case of a file's does not matter. Hidden files and folders, such as those still
    being written, are ignored.

    Raises:
        MissingInputError: there is no such folder.
        DataError: it, or a folder in it, cannot be listed.
    """
    check_input(folder, "Folder", _PREPARE, folder=True)
    found: dict[str, list[str]] = {}
    for parent, names in walk(folder, _refuse_folder):
        inside = parent.relative_to(folder).as_posix()
        for name in names:
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 - a Path for each of 45,000 names takes a second
            if suffix.lower() in suffixes and not name.startswith("."):
                relative = "" if inside == "." else f"{inside}/"
                found.setdefault(comparable_name(relative + stem), []).append(relative + name)
    return found


def _refuse_folder(error: OSError) -> None:
    raise DataError(
        f"Folder cannot be listed: {error.filename} ({path_problem(error)}). Make it readable, or move it elsewhere"
    ) from error


def stem_of(relative: str) -> str:
    r"""Return a relative path without its suffix, by which photos and masks are paired.

    It has slashes, also where Windows wrote the path, and composed accents: macOS stores "é" as two characters.

    >>> stem_of("street/a.b.jpg"), stem_of("street\\cafe\u0301.jpg")
    ('street/a.b', 'street/café')
    """
    return str(PurePosixPath(comparable_name(relative)).with_suffix(""))


def comparable_name(name: str) -> str:
    """Return a name in the form in which names are compared: with slashes and composed accents."""
    return name if name.isascii() and "\\" not in name else unicodedata.normalize("NFC", name.replace("\\", "/"))


def lookalikes(names_by_stem: Mapping[str, list[str]]) -> dict[str, str]:
    """Return a file for each similar name, as `instead_of` takes them."""
    return {_similar(stem): names[0] for stem, names in names_by_stem.items()}


def instead_of(stem: str, lookalikes: Mapping[str, str]) -> str:
    """Return in words which file has a similar name to a missing one, for the end of a sentence."""
    there = lookalikes.get(_similar(stem))
    return f", but {there!r} is there" if there else ""


def _similar(stem: str) -> str:
    """Return what similar stems have in common: folders and case are ignored."""
    return stem.rsplit("/", 1)[-1].casefold()


def _named(stems: Iterable[str], count: int = 5) -> str:
    stems = sorted(stems)
    more = f" and {len(stems) - count} more" if len(stems) > count else ""
    return f"{len(stems)} mask{'s' * (len(stems) != 1)} ({', '.join(stems[:count])}{more})"
