"""The classes: id, name and colour of each, and which Fashionpedia categories fall into it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from clothseg.errors import SettingError, check_input, nearest, require
from clothseg.garment_names import BODY_PARTS, DISPLAY_NAMES, FASHIONPEDIA_CATEGORIES, PARSING_GROUPS, SYNONYMS

if TYPE_CHECKING:  # the web server has class lists, and does without NumPy
    from clothseg.types import UInt8Array

CLOTHES = "clothes"
"""What everything worn is called, where a class could be named."""
BACKGROUND_ID = 0
IGNORED_ID = 255
"""Mask value of pixels that count in no loss and no score: the padding around a photo."""


@dataclass(frozen=True)
class ClothingClass:
    """One class of a mask."""

    name: str
    color: tuple[int, int, int]
    """RGB, 0 to 255, in palettes, overlays and legends."""
    supercategories: tuple[str, ...] = ()
    """Fashionpedia super-categories whose instances get this class."""
    categories: tuple[str, ...] = ()
    """Fashionpedia categories whose instances get this class; they take precedence over super-categories."""

    @property
    def display_name(self) -> str:
        """Its name for people: "dresses and coats" for wholebody; its own name unless it is a super-category."""
        return DISPLAY_NAMES.get(self.name, self.name) if self.supercategories == (self.name,) else self.name

    @property
    def only_category(self) -> str:
        """The Fashionpedia category of everything in it; empty where it may be one of several."""
        within = [name for group in self.supercategories for name in FASHIONPEDIA_CATEGORIES.get(group, (group, ""))]
        found = [*self.categories, *within]
        return found[0] if len(found) == 1 else ""

    @property
    def is_body_part(self) -> bool:
        """Whether it is hair, skin or a limb, not a garment: by its name, where it has no category of garments."""
        return not (self.categories or self.supercategories) and _without_side(self.name) in BODY_PARTS

    @property
    def group(self) -> str:
        """The super-category that it falls into; empty for the background, body parts, and where it is not known.

        >>> ClothingClass("Left-shoe", (0, 0, 0)).group
        'legs and feet'
        """
        within = {name for name, all_of_it in FASHIONPEDIA_CATEGORIES.items() if set(all_of_it) & set(self.categories)}
        within |= set(self.supercategories)
        if within or self.is_body_part:
            return within.pop() if len(within) == 1 else ""
        plain = _without_side(self.name)
        class_id = GROUPS.find(plain)
        return PARSING_GROUPS.get(plain) or (GROUPS.names[class_id] if class_id else "")


@dataclass(frozen=True)
class ClassList:
    """The classes of a dataset or a model; a class's id is its position in the list.

    Raises:
        SettingError: fewer than two classes, more than 255, a name or category given twice, or a wrong colour.

    >>> GROUPS.names[2], GROUPS.id_of("upperbody"), GROUPS.num_classes
    ('upperbody', 2, 13)
    """

    classes: tuple[ClothingClass, ...]

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= IGNORED_ID:
            raise SettingError(
                f"A class list has 2 to {IGNORED_ID} classes, background first; this one has {len(self)}"
            )
        for kind, values in (
            ("class name", list(self.names)),
            ("category", [name for one in self.classes for name in one.categories]),
            ("super-category", [name for one in self.classes for name in one.supercategories]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise SettingError(f"The {kind} {twice[0]!r} is twice in the class list; give it one class")
        for one in self.classes:
            if len(one.color) != 3 or not all(isinstance(part, int) and 0 <= part <= 255 for part in one.color):
                raise SettingError(f"The colour of class {one.name!r} is {one.color}; give three numbers from 0 to 255")

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def num_classes(self) -> int:
        """How many classes there are, background counted."""
        return len(self.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The class names in the order of their ids."""
        return tuple(one.name for one in self.classes)

    @cached_property
    def palette(self) -> UInt8Array:
        """(num_classes, 3) uint8 RGB: the colour of each class id."""
        import numpy as np

        return np.array([one.color for one in self.classes], dtype=np.uint8)

    @property
    def garment_ids(self) -> tuple[int, ...]:
        """The ids of all classes but the background and parts of the body."""
        return tuple(number for number, one in enumerate(self.classes) if number and not one.is_body_part)

    def id_of_class(self, other: ClothingClass) -> int | None:
        """Return the id of the class that contains a class of another list; None where none does or it is not known.

        Parts of the body are background. Categories and super-categories decide, and where there are none, the name.
        """
        if other.is_body_part or _plain(other.name) in _BACKGROUNDS:
            return BACKGROUND_ID
        found = {self.id_for_category(name, other.group) for name in other.categories or ("",)}
        if found == {None}:
            return self.aliases.get(_plain(other.name))
        return found.pop() if len(found) == 1 else None

    @cached_property
    def aliases(self) -> Mapping[str, int]:
        """The class id of each name that people use, in lower case: display names, categories, and their synonyms."""
        found: dict[str, int] = {}
        for class_id, one in enumerate(self.classes):
            for name in (one.name, one.display_name, *one.categories):
                found.setdefault(_plain(name), class_id)
        for supercategory, categories in FASHIONPEDIA_CATEGORIES.items():
            for category in categories:
                covering = self.id_for_category(category, supercategory)
                if covering is not None:
                    for name in (category, *category.split(","), *SYNONYMS.get(category, ())):
                        found.setdefault(_plain(name), covering)
        return found

    def find(self, name: str) -> int | None:
        """Return the id of a class as `id_of` does, or None where no class covers the name."""
        if not isinstance(name, str):
            raise SettingError(f"{name!r} is no name of a class. Pass a text, such as {self.names[-1]!r}")
        if name in self.names:
            return self.names.index(name)
        plain = _plain(name)
        forms = (plain, plain.removesuffix("s"), plain.removesuffix("es"))
        return next((self.aliases[form] for form in forms if form in self.aliases), None)

    def id_of(self, name: str) -> int:
        """Return the id of a class from its name, its display name, a category in it, or a synonym of one.

        Case, hyphens and plurals do not matter, unless two classes differ by them only.

        Raises:
            SettingError: no class covers it; the message lists the nearest names.

        >>> GROUPS.id_of("upperbody"), GROUPS.id_of("T-shirts"), CATEGORIES.id_of("jeans")
        (2, 2, 7)
        """
        class_id = self.find(name)
        if class_id is None:
            close = nearest(_plain(name), dict.fromkeys((*self.names[1:], *self.aliases)))
            raise SettingError(f"No class covers {name[:100]!r}. Nearest: {close}")
        return class_id

    def meaning(self, name: str) -> str:
        """Return what a name stands for, in words; empty where it is a class's own name.

        Raises:
            SettingError: no class covers it.

        >>> GROUPS.meaning("jeans"), GROUPS.meaning("lowerbody")
        ("'jeans' is part of the class lowerbody (trousers and skirts)", '')
        """
        one = self.classes[self.id_of(name)]
        if name == one.name:
            return ""
        shown = one.name if one.display_name == one.name else f"{one.name} ({one.display_name})"
        return f"{name!r} is part of the class {shown}"

    def id_for_category(self, category: str, supercategory: str) -> int | None:
        """Return the class id of a Fashionpedia category, or None where no class takes it.

        Names decide, never ids: early Fashionpedia samples number their categories differently.
        """
        for class_id, one in enumerate(self.classes):
            if category in one.categories:
                return class_id
        for class_id, one in enumerate(self.classes):
            if supercategory in one.supercategories:
                return class_id
        return None

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the list as plain values, as manifests and model files store it."""
        return [{key: list(v) if isinstance(v, tuple) else v for key, v in asdict(one).items()} for one in self.classes]

    @classmethod
    def from_dicts(cls, rows: Sequence[Mapping[str, Any]]) -> ClassList:
        """Build a class list from what `to_dicts` returned, or from the `classes` of a YAML file.

        A class without a colour gets one that differs from the others.

        Raises:
            SettingError: a row has no name, or a key or value that is not allowed.
        """
        return cls(tuple(_class_from_row(number, row) for number, row in enumerate(rows)))


def named_classes(names: Sequence[str]) -> ClassList:
    """Return the class list of a model of other people from the names of its classes, with colours.

    Names that Fashionpedia or a dataset of human parsing uses get their category or super-category, and so aliases and
    groups. Source: `PARSING_GROUPS` and `CATEGORIES`.

    Raises:
        SettingError: the first is no background, a name is twice, or there are too few or too many.

    >>> named_classes(["Background", "Hat", "Hair", "Upper-clothes"]).id_of("jacket")
    3
    """
    if tuple(names) == GROUPS.names:
        return GROUPS
    if names and _plain(names[0]) not in _BACKGROUNDS:
        raise SettingError(
            f"The first class is {names[0]!r}, not the background. Class 0 must be one of: {', '.join(_BACKGROUNDS)}"
        )
    classes, taken = list[ClothingClass](), set[str]()
    for class_id, name in enumerate(names):
        plain = _plain(name)
        group = PARSING_GROUPS.get(plain, "")
        number = CATEGORIES.find(plain)
        category = "" if group or plain in BODY_PARTS else CATEGORIES.names[number] if number else ""
        new = {group, category} - taken - {""}
        taken |= new
        classes.append(ClothingClass(name, spread_color(class_id), tuple(new & {group}), tuple(new & {category})))
    return ClassList(tuple(classes))


_BACKGROUNDS = ("background", "unlabelled", "unlabeled")


def _without_side(name: str) -> str:
    plain = _plain(name).removeprefix("left ").removeprefix("right ")
    return plain.removesuffix("s") if plain.removesuffix("s") in BODY_PARTS else plain


def _plain(name: str) -> str:
    """Return a name in lower case, with single spaces for hyphens and the like."""
    return " ".join(re.sub(r"[\s_-]+", " ", name).casefold().split())


def _class_from_row(number: int, row: Mapping[str, Any]) -> ClothingClass:
    allowed = ("name", "color", "supercategories", "categories")
    if not isinstance(row, Mapping) or row.get("name") in (None, ""):
        raise SettingError(f"Class {number} has no name: {row!r}. Write it as: name: dress")
    for key in row:
        if key not in allowed:
            raise SettingError(f"Class {row['name']!r} has an unknown key {key!r}. Allowed: {', '.join(allowed)}")
    for key in ("color", "supercategories", "categories"):
        if not isinstance(row.get(key, []), list | tuple):
            raise SettingError(f"Class {row['name']!r}: {key} is {row[key]!r}; write a list, as in [a, b]")
    return ClothingClass(
        _text(row["name"], number, "name"),
        tuple(row["color"]) if row.get("color") else spread_color(number),
        tuple(_text(one, number, "supercategories") for one in row.get("supercategories", ())),
        tuple(_text(one, number, "categories") for one in row.get("categories", ())),
    )


def _text(value: Any, number: int, key: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise SettingError(f'Class {number}: {value!r} among its {key} is no text. Write it in quotes: "{value}"')
    return str(value)


def spread_color(class_id: int) -> tuple[int, int, int]:
    """Return an RGB colour for a class id; ids close together get colours far apart, and 0 is black.

    The bits of the id are dealt to the three channels from the top.
    Source: the colour map of the PASCAL VOC development kit (Everingham et al., 2010).

    >>> spread_color(0), spread_color(1), spread_color(2)
    ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    """
    color = [0, 0, 0]
    for bit in range(8):
        for channel in range(3):
            color[channel] |= (class_id >> (3 * bit + channel) & 1) << (7 - bit)
    return color[0], color[1], color[2]


GROUPS = ClassList(
    (
        ClothingClass("background", (0, 0, 0)),
        ClothingClass("closures", (250, 190, 212), ("closures",)),
        ClothingClass("upperbody", (0, 130, 200), ("upperbody",)),
        ClothingClass("head", (145, 30, 180), ("head",)),
        ClothingClass("legs and feet", (170, 110, 40), ("legs and feet",)),
        ClothingClass("garment parts", (70, 240, 240), ("garment parts",)),
        ClothingClass("arms and hands", (255, 250, 200), ("arms and hands",)),
        ClothingClass("decorations", (240, 50, 230), ("decorations",)),
        ClothingClass("neck", (210, 245, 60), ("neck",)),
        ClothingClass("others", (255, 225, 25), ("others",)),
        ClothingClass("lowerbody", (60, 180, 75), ("lowerbody",)),
        ClothingClass("waist", (245, 130, 48), ("waist",)),
        ClothingClass("wholebody", (230, 25, 75), ("wholebody",)),
    )
)
"""The 13 classes of clothseg: background and Fashionpedia's 12 super-categories."""


def _fashionpedia_categories() -> ClassList:
    names = ["background", *(name for group in FASHIONPEDIA_CATEGORIES.values() for name in group)]
    return ClassList(
        tuple(
            ClothingClass(name, spread_color(number), categories=(name,) if number else ())
            for number, name in enumerate(names)
        )
    )


CATEGORIES = _fashionpedia_categories()
"""Background and Fashionpedia's 46 categories: class id = official category id + 1."""

CLASS_LISTS = {"groups": GROUPS, "categories": CATEGORIES}
"""The class lists that have a name."""


def read_yaml(path: Path, what: str, hint: str) -> Any:
    """Read a YAML file in which every value is text, except whole numbers.

    YAML itself would make a bool of `no`, nothing of `null` and a date of `2024-05-01`.

    Args:
        path: as the user gave it.
        what: what the file is meant to be, first in every error.
        hint: what to do where there is no such file.

    Raises:
        MissingInputError, DataError: there is no such file, or it cannot be read.
        SettingError: it is not YAML.
    """
    check_input(path, what, hint)
    yaml = require("yaml", "train")

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]  # the module is imported on request
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
                raise ValueError(f"{twice[0]!r} is twice in one mapping; keep one of them")
            return super().construct_mapping(node, deep)

    Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile("(?:0|-?[1-9][0-9]*)$"), list("-0123456789"))
    Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<$"), ["<"])
    try:
        return yaml.load(path.read_bytes(), Loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise SettingError(f"{what} {path} is not YAML: {' '.join(str(error).split())}") from error


def load_classes(source: str | Path) -> ClassList:
    """Return the class list of a name in `CLASS_LISTS`, or the one that a YAML file describes.

    A YAML file contains `classes:`, a list of `name`, `color` (optional), `categories` and `supercategories`; the first
    is the background. Instances of a category that no class takes are not painted.

    Raises:
        SettingError: neither a known name nor a readable class file.
        MissingInputError: the file is not there.
    """
    if str(source) in CLASS_LISTS:
        return CLASS_LISTS[str(source)]
    path = Path(source)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise SettingError(
            f"Unknown class list {str(source)!r}. Allowed: {', '.join(CLASS_LISTS)}, or a path ending in .yaml"
        )
    content = read_yaml(path, "Class file", "Pass --classes groups, or the path of a YAML file")
    if not isinstance(content, Mapping) or not isinstance(content.get("classes"), list):
        raise SettingError(f"Class file {path} has no list called classes; see docs/how-to/custom-data.md for the form")
    return ClassList.from_dicts(content["classes"])
