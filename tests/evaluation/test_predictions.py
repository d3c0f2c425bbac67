import re

import pytest

from clothseg.errors import DataError, MissingInputError, SettingError
from clothseg.evaluation.predictions import UNKNOWN, read_class_map, table_of_ids, table_of_model
from tests.evaluation.conftest import CLASSES


def known(table):
    return {key: value for key, value in enumerate(table.tolist()) if value != UNKNOWN}


def test_ids_of_masks_are_kept_or_mapped():
    assert known(table_of_ids(CLASSES, None)) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert known(table_of_ids(CLASSES, {0: "background", 7: "dress", 9: "dress"})) == {0: 0, 7: 1, 9: 1}
    with pytest.raises(SettingError, match="names 'gown', but masks have ids"):
        table_of_ids(CLASSES, {"gown": "dress"})


def test_classes_of_a_model_are_mapped_by_name_or_id_and_the_others_keep_their_names():
    assert known(table_of_model(CLASSES.names, CLASSES, None, model="m")) == {0: 0, 1: 1, 2: 2, 3: 3}
    names = ("background", "gown", "boot", "hat", "shoe")
    table = table_of_model(names, CLASSES, {"gown": "dress", 2: "shoe"}, model="m")
    assert known(table) == {0: 0, 1: 1, 2: 2, 3: 3, 4: 2}


def test_classes_that_do_not_fit_are_named():
    gown = ("background", "gown")
    wrong = []
    for names, class_map, kind, message in [
        (CLASSES.names[:3], None, DataError, "m has other classes .*: 3 classes, the dataset has 4.*--class-map"),
        (("background", "shoe", "dress", "hat"), None, DataError, "id 1 is 'shoe' in the model and 'dress' in the"),
        (gown, {"gown": "dres"}, SettingError, "names 'dres', which the dataset does not have. Nearest: dress"),
        (gown, {"cape": "dress"}, SettingError, "names 'cape', which m does not have"),
        (gown, {2: "dress"}, SettingError, "names 2, which m does not have"),
        (gown, {0: "background"}, DataError, "has no line for 'gown' of m"),
    ]:
        with pytest.raises(kind) as raised:
            table_of_model(names, CLASSES, class_map, model="m")
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
