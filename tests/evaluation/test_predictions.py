import re

import pytest

from clothseg.errors import DataError, MissingInputError, SettingError
from clothseg.evaluation.predictions import UNKNOWN, read_class_map, table_of_ids, table_of_model
from clothseg.labels import CATEGORIES, GROUPS, named_classes
from tests.evaluation.conftest import CLASSES


def named(*names):
    return named_classes(names)


# Source: the model cards of mattmdjaga/segformer_b2_clothes and fashn-ai/fashn-human-parser.
ATR = named(
    *("Background", "Hat", "Hair", "Sunglasses", "Upper-clothes", "Skirt", "Pants", "Dress", "Belt", "Left-shoe"),
    *("Right-shoe", "Face", "Left-leg", "Right-leg", "Left-arm", "Right-arm", "Bag", "Scarf"),
)
FASHN = named(
    *("background", "face", "hair", "top", "dress", "skirt", "pants", "belt", "bag", "hat", "scarf", "glasses"),
    *("arms", "hands", "legs", "feet", "torso", "jewelry"),
)


def known(table):
    return {key: value for key, value in enumerate(table.tolist()) if value != UNKNOWN}


def test_ids_of_masks_are_kept_or_mapped():
    assert known(table_of_ids(CLASSES, None)) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert known(table_of_ids(CLASSES, {0: "background", 7: "dress", 9: "dress"})) == {0: 0, 7: 1, 9: 1}
    with pytest.raises(SettingError, match="names 'gown', but masks have ids"):
        table_of_ids(CLASSES, {"gown": "dress"})


def test_classes_of_a_model_are_mapped_by_name_or_id_and_the_others_keep_their_names():
    assert known(table_of_model(CLASSES, CLASSES, None, model="m")) == {0: 0, 1: 1, 2: 2, 3: 3}
    own = named("background", "gown", "boot", "hat", "shoe")
    table = table_of_model(own, CLASSES, {"gown": "dress", 2: "shoe"}, model="m")
    assert known(table) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 2}


@pytest.mark.parametrize(
    ("own", "classes", "expected"),
    [
        (ATR, GROUPS, "0 3 0 3 2 10 10 12 11 4 4 0 0 0 0 0 9 9"),
        (FASHN, GROUPS, "0 0 0 2 12 10 10 11 9 3 9 3 0 0 0 0 0 9"),
        (
            CATEGORIES,
            GROUPS,
            "0 "
            + 6 * "2 "
            + 3 * "10 "
            + 4 * "12 "
            + 3 * "3 "
            + "8 6 6 11 4 4 4 4 9 9 9 "
            + "5 " * 7
            + "1 1"
            + " 7" * 10,
        ),
        (named("background", "shoe", "dress"), CLASSES, "0 2 1"),
    ],
)
def test_known_labels_need_no_class_map(own, classes, expected):
    assert table_of_model(own, classes, None, model="m")[: len(own)].tolist() == [int(one) for one in expected.split()]


def test_classes_that_do_not_fit_are_named():
    gown = named("background", "gown")
    wrong = []
    for own, class_map, kind, message in [
        (
            ATR,
            None,
            DataError,
            "m has other classes .*: none of background, .* its class 'Sunglasses'.*--class-map",
        ),
        (named("background", "thing", "hat"), None, DataError, "its class 'thing'"),
        (named("background", "face"), None, DataError, "its class 'face'"),
        (gown, {"gown": "dres"}, SettingError, "names 'dres', which the dataset does not have. Nearest: dress"),
        (gown, {"cape": "dress"}, SettingError, "names 'cape', which m does not have"),
        (gown, {2: "dress"}, SettingError, "names 2, which m does not have"),
        (gown, {0: "background"}, DataError, "has no line for 'gown' of m"),
    ]:
        with pytest.raises(kind) as raised:
            table_of_model(own, CLASSES, class_map, model="m")
        wrong += [str(raised.value)] if not re.search(message, str(raised.value)) else []
    assert not wrong


def test_a_class_map_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "map.yaml"
    with pytest.raises(MissingInputError, match="Class map not found"):
        read_class_map(path)
    wrong = []
    for content, message in [
        (b"{", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"", "is not a table"),
        (b"- 3", "is not a table"),
        (b"255: dress", "has the line 255: 'dress'"),
        (b"-1: dress", "has the line -1: 'dress'"),
    ]:
        path.write_bytes(content)
        with pytest.raises(SettingError) as raised:
            read_class_map(path)
        wrong += [str(raised.value)] if message not in str(raised.value) else []
    assert not wrong


def test_names_that_yaml_reads_as_other_types_are_text(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text('3: 1\n"3": no\nno: null\nyes: 2024-05-01\n1.5: dress\n', encoding="utf-8-sig")
    expected = {3: "1", "3": "no", "no": "null", "yes": "2024-05-01", "1.5": "dress"}
    assert read_class_map(path) == expected
