import pytest

from clothseg.errors import ClothsegError, DataError, MissingInputError, SettingError
from clothseg.evaluation.predictions import UNKNOWN, read_class_map, table_of_ids, table_of_model
from tests.evaluation.conftest import CLASSES


def test_ids_stay_what_they_are_without_a_map():
    table = table_of_ids(CLASSES, None)
    assert table[:4].tolist() == [0, 1, 2, 3]
    assert (table[4:] == UNKNOWN).all()


def test_a_map_of_ids_leaves_nothing_else_known(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text("0: background\n7: dress\n9: dress\n")
    table = table_of_ids(CLASSES, read_class_map(path))
    assert (table[0], table[7], table[9]) == (0, 1, 1)
    assert (table != UNKNOWN).sum() == 3


def test_a_model_with_the_same_classes_needs_no_map():
    assert table_of_model(CLASSES.names, CLASSES, None, model="m")[:4].tolist() == [0, 1, 2, 3]


def test_a_model_s_classes_are_mapped_by_name_or_id_and_the_others_keep_theirs():
    names = ("background", "gown", "boot", "hat", "shoe")
    table = table_of_model(names, CLASSES, {"gown": "dress", 2: "shoe"}, model="m")
    assert table[:5].tolist() == [0, 1, 2, 3, 2]
    assert (table[5:] == UNKNOWN).all()


def test_other_classes_are_refused_without_a_map():
    for names, message in [
        (("background", "dress", "shoe"), "3 classes, the data set has 4"),
        (("background", "shoe", "dress", "hat"), "id 1 is 'shoe' in the model and 'dress' in the data set"),
    ]:
        with pytest.raises(DataError, match=f"m.onnx has other classes than the data set: {message}.*--class-map"):
            table_of_model(names, CLASSES, None, model="m.onnx")


def test_a_wrong_map_of_a_model_is_named():
    for class_map, kind, message in [
        ({"gown": "dres"}, SettingError, "names 'dres', which the data set does not have. Nearest: dress"),
        ({"cape": "dress"}, SettingError, "names 'cape', which m does not have"),
        ({2: "dress"}, SettingError, "names 2, which m does not have"),
        ({0: "background"}, DataError, "has no line for 'gown' of m"),
    ]:
        with pytest.raises(kind, match=message):
            table_of_model(("background", "gown"), CLASSES, class_map, model="m")


def test_masks_have_no_names():
    with pytest.raises(SettingError, match="names 'gown', but masks have ids"):
        table_of_ids(CLASSES, {"gown": "dress"})


def test_a_broken_map_is_named(tmp_path):
    path = tmp_path / "map.yaml"
    for content, message in [
        (b"{", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (b"", "is not a table"),
        (b"- 3", "is not a table"),
        (b"255: dress", "has the line 255: 'dress'"),
        (b"-1: dress", "has the line -1: 'dress'"),
    ]:
        path.write_bytes(content)
        with pytest.raises(SettingError, match=message):
            read_class_map(path)


def test_a_missing_map_is_named(tmp_path):
    with pytest.raises(MissingInputError, match="Class map not found"):
        read_class_map(tmp_path / "map.yaml")
    assert issubclass(MissingInputError, ClothsegError)


def test_names_that_yaml_takes_for_something_else_are_text(tmp_path):
    path = tmp_path / "map.yaml"
    path.write_text('3: 1\n"3": no\nno: null\nyes: 2024-05-01\n1.5: dress\n', encoding="utf-8-sig")
    expected = {3: "1", "3": "no", "no": "null", "yes": "2024-05-01", "1.5": "dress"}
    assert read_class_map(path) == expected
