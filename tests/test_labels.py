import doctest
import re

import numpy as np
import pytest

import clothseg.labels
from clothseg.errors import MissingInputError, SettingError
from clothseg.labels import (
    CATEGORIES,
    FASHIONPEDIA_CATEGORIES,
    GROUPS,
    ClassList,
    load_classes,
    named_classes,
    spread_color,
)

SEED_CLASSES = [
    *("background", "closures", "upperbody", "head", "legs_and_feet", "garment_parts", "arms_and_hands"),
    *("decorations", "neck", "others", "lowerbody", "waist", "wholebody"),
]


def test_examples_in_docstrings():
    assert doctest.testmod(clothseg.labels).failed == 0


def test_groups_are_the_13_classes_of_the_seed_in_its_order():
    assert [name.replace(" ", "_") for name in GROUPS.names] == SEED_CLASSES


def test_every_fashionpedia_category_falls_into_its_group():
    for group, categories in FASHIONPEDIA_CATEGORIES.items():
        for category in categories:
            assert GROUPS.id_for_category(category, group) == GROUPS.id_of(group)


def test_categories_are_fashionpedias_46_and_background():
    assert CATEGORIES.num_classes == 47
    assert CATEGORIES.names[1] == "shirt, blouse"
    assert CATEGORIES.names[24] == "shoe"
    assert CATEGORIES.names[46] == "tassel"
    assert all(CATEGORIES.id_for_category(name, "any") == place for place, name in enumerate(CATEGORIES.names) if place)


def test_colors_differ_and_plain_values_give_the_same_list():
    for classes in (GROUPS, CATEGORIES):
        assert len({tuple(color) for color in classes.palette.tolist()}) == len(classes)
        assert classes.palette.dtype == np.uint8
        assert ClassList.from_dicts(classes.to_dicts()) == classes


def test_spread_colors_are_255_different_ones():
    assert len({spread_color(number) for number in range(255)}) == 255


def test_labels_of_human_parsing_get_groups_aliases_and_body_parts():
    lip = named_classes(
        [
            *("Background", "Hat", "Hair", "Glove", "Sunglasses", "Upper-clothes", "Dress", "Coat", "Socks", "Pants"),
            *("Jumpsuits", "Scarf", "Skirt", "Face", "Left-arm", "Right-arm", "Left-leg", "Right-leg", "Left-shoe"),
            "Right-shoe",
        ]
    )
    assert [one.name for one in lip.classes if one.is_body_part] == [
        *("Hair", "Face", "Left-arm", "Right-arm", "Left-leg", "Right-leg"),
    ]
    assert lip.garment_ids == (1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 18, 19)
    assert [lip.classes[number].group for number in lip.garment_ids] == [
        *("head", "arms and hands", "head", "upperbody", "wholebody", "wholebody", "legs and feet", "lowerbody"),
        *("wholebody", "others", "lowerbody", "legs and feet", "legs and feet"),
    ]
    assert [lip.names[lip.id_of(alias)] for alias in ("hoodie", "jeans", "gown", "beanie")] == [
        *("Upper-clothes", "Pants", "Dress", "Hat"),
    ]
    pascal = named_classes(["background", "head", "torso", "upper arms", "lower arms", "upper legs", "lower legs"])
    assert not pascal.garment_ids
    assert not any(one.is_body_part for one in (*GROUPS.classes, *CATEGORIES.classes))
    assert [GROUPS.id_of_class(one) for one in pascal.classes] == [0] * 7
    assert named_classes(GROUPS.names) is GROUPS
    assert named_classes(["unlabelled", *CATEGORIES.names[1:]]).classes[1:] == CATEGORIES.classes[1:]
    assert ClassList.from_dicts(lip.to_dicts()) == lip
    with pytest.raises(SettingError, match="first class is 'wall', not the background"):
        named_classes(["wall", "background"])


def test_an_unknown_class_lists_the_nearest():
    for name, near in (
        ("uperbody", "upperbody"),
        ("dres", "dress"),
        ("trouser skirt", "trousers and skirts"),
        ("", ""),
    ):
        with pytest.raises(SettingError, match=f"No class covers '{name}'. Nearest: .*{near}"):
            GROUPS.id_of(name)


def test_names_that_people_use_mean_the_class_that_covers_them():
    mine = ClassList.from_dicts(
        [{"name": "background"}, {"name": "Dress", "categories": ["dress", "sari"]}, {"name": "bag"}, {"name": "bags"}]
    )
    expected = (
        *((GROUPS, one, "wholebody") for one in ("dress", "Dresses", "gown", "dresses and coats", "coats")),
        *((GROUPS, one, "lowerbody") for one in ("trousers", "jeans", "Skirts", "trousers and skirts")),
        *((GROUPS, one, "upperbody") for one in ("blouse", "T-Shirts", "shirt, blouse", "hoodie")),
        *((GROUPS, one, "legs and feet") for one in ("legs_and_feet", "boots", "stockings", "legs and feet")),
        *((GROUPS, one, "others") for one in ("bag", "scarves", "umbrella")),
        *((CATEGORIES, one, "pants") for one in ("trousers", "Pants")),
        *((CATEGORIES, one, "bag, wallet") for one in ("wallet", "handbags")),
        *((mine, one, "Dress") for one in ("sari", "dresses", "gown")),
        *((mine, one, one) for one in ("bag", "bags")),
    )
    wrong = [(word, name) for classes, word, name in expected if classes.names[classes.id_of(word)] != name]
    assert not wrong
    for group, categories in FASHIONPEDIA_CATEGORIES.items():
        for word in (name for category in categories for name in category.split(",")):
            assert GROUPS.names[GROUPS.id_of(f" {word.upper()} ")] == group
    assert mine.meaning("sari") == "'sari' is part of the class Dress"
    assert {one.display_name for one in CATEGORIES.classes} == set(CATEGORIES.names)
    assert len({one.display_name for one in GROUPS.classes}) == 13


def test_a_yaml_file_names_classes(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "classes:\n"
        "  - name: background\n"
        "  - {name: dress, color: [1, 2, 3], categories: [dress, jumpsuit]}\n"
        "  - {name: shoes, categories: [shoe]}\n"
        "  - {name: other clothes, supercategories: [upperbody, wholebody]}\n"
    )
    classes = load_classes(path)
    assert classes.names == ("background", "dress", "shoes", "other clothes")
    assert classes.classes[1].color == (1, 2, 3)
    assert classes.id_for_category("dress", "wholebody") == 1, "a category wins over its super-category"
    assert classes.id_for_category("coat", "wholebody") == 3
    assert classes.id_for_category("belt", "waist") is None


def test_a_wrong_yaml_file_is_refused(tmp_path):
    wrong = []
    path = tmp_path / "mine.yaml"
    for content, message in (
        ("classes: [", "not YAML"),
        ("names: []", "no list called classes"),
        ("classes: [{name: a}]", "background first; this one has 1"),
        ("classes: [{name: a}, {name: a}]", "'a' is twice"),
        ("classes: [{name: a}, {title: b}]", "has no name"),
        ("classes: [{name: a}, {name: b, colour: [1, 2, 3]}]", "unknown key 'colour'"),
        ("classes: [{name: a}, {name: b, color: [1, 2, 300]}]", "three numbers"),
        ("classes: [{name: a}, {name: b, color: [1, 2]}]", "three numbers"),
        ("classes: [{name: a}, {name: b, categories: dress}]", "write a list"),
        ("classes: [{name: a}, {name: b, supercategories: neck}]", "write a list"),
        ("classes: [{name: a, categories: [x]}, {name: b, categories: [x]}]", "'x' is twice"),
        ("classes: [{name: a, supercategories: [x]}, {name: b, supercategories: [x]}]", "'x' is twice"),
    ):
        path.write_text(content)
        with pytest.raises(SettingError) as caught:
            load_classes(path)
        if message not in str(caught.value):
            wrong.append((content, str(caught.value)))
    assert not wrong, wrong


def test_unknown_class_lists_are_refused(tmp_path):
    with pytest.raises(SettingError, match="Allowed: groups, categories"):
        load_classes("group")
    with pytest.raises(MissingInputError, match="Class file not found"):
        load_classes(tmp_path / "none.yaml")


def test_names_that_yaml_reads_as_other_types_are_text(tmp_path):
    path = tmp_path / "classes.yaml"
    path.write_text(
        "classes:\n  - name: background\n  - name: 1\n    color: [1, 2, 3]\n    categories: [no, null, 2024-05-01, 7]\n"
        "  - name: yes\n    supercategories: [1.50, ~, 007]\n",
        encoding="utf-8",
    )
    _, first, second = load_classes(path).classes
    assert (first.name, first.color, first.categories) == ("1", (1, 2, 3), ("no", "null", "2024-05-01", "7"))
    assert (second.name, second.supercategories) == ("yes", ("1.50", "~", "007"))


def test_an_entry_given_twice_is_refused(tmp_path):
    """YAML would take the last one without a word."""
    path = tmp_path / "classes.YAML"
    path.write_text("classes: [{name: background}, {name: hat, categories: [cap]}]", encoding="utf-8-sig")
    assert load_classes(path).names == ("background", "hat")
    path.write_text("classes:\n  - name: background\n  - name: hat\n    categories: [cap]\n    categories: [beanie]\n")
    with pytest.raises(SettingError, match=r"'categories' is twice"):
        load_classes(path)


def test_a_value_that_is_no_text_is_named_with_what_to_quote():
    for value in (None, True, 1.5, ["a"]):
        with pytest.raises(
            SettingError, match=re.escape(f"{value!r} among its categories is no text. Write it in quo")
        ):
            ClassList.from_dicts([{"name": "background"}, {"name": "hat", "categories": [value]}])
