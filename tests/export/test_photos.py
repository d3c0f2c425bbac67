import numpy as np
import pytest

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import DataError, InputError, SettingError
from clothseg.export.agreement import NUM_DRAWN, choose_photos
from clothseg.labels import CATEGORIES, GROUPS
from tests.export.small_model import photo_of


def prepare(data_path, *, source="https://example.org", classes=GROUPS, count=6):
    folder = data_path / DATASET_FOLDER
    for name in ("test", "val_masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        (folder / "test" / f"{number}.jpg").write_bytes(encode_jpeg(photo_of(20 + number, 30)))
        (folder / "val_masks" / f"{number}.png").write_bytes(encode_png(np.full((20 + number, 30), 2, np.uint8)))
    zeros = (0,) * len(classes)
    Manifest("street", source, None, classes, {"val": Split("test", "val_masks", count, zeros, zeros)}).write(folder)
    return data_path


def test_photos_of_ones_own_come_first(photo_folder, tmp_path):
    chosen = choose_photos([photo_folder], prepare(tmp_path), GROUPS, count=3)
    assert [path.name for path, _ in chosen.paths] == ["0.jpg", "2.jpg", "4.jpg"]
    assert (chosen.is_real, chosen.has_truth, len(chosen)) == (True, False, 3)
    assert chosen.origin == f"3 photos of {photo_folder.name}"
    assert str(photo_folder.parent) not in chosen.origin
    assert [truth for _, truth in chosen] == [None] * 3


def test_validation_photos_come_with_their_truth(tmp_path):
    chosen = choose_photos([], prepare(tmp_path), GROUPS, count=4)
    assert (chosen.is_real, chosen.has_truth, len(chosen)) == (True, True, 4)
    assert chosen.origin == "4 validation photos of street"
    for pixels, truth in chosen:
        assert pixels.shape[:2] == truth.shape
        assert np.unique(truth) == [2]


def test_truth_in_other_classes_is_none(tmp_path):
    chosen = choose_photos([], prepare(tmp_path, classes=CATEGORIES), GROUPS, count=4)
    assert (chosen.is_real, chosen.has_truth, len(chosen)) == (True, False, 4)


def test_a_drawn_data_set_is_not_real(tmp_path):
    chosen = choose_photos([], prepare(tmp_path, source="sample"), GROUPS, count=4)
    assert (chosen.is_real, chosen.has_truth) == (False, True)


def test_without_photos_some_are_drawn(tmp_path):
    chosen = choose_photos([], tmp_path, GROUPS, count=32)
    assert (chosen.is_real, chosen.has_truth, len(chosen)) == (False, False, NUM_DRAWN)
    assert [pixels.shape for pixels, _ in chosen] == [(720, 480, 3)] * NUM_DRAWN


def test_what_cannot_be_used_is_named(tmp_path, photo_folder):
    with pytest.raises(InputError, match=r"none\.jpg"):
        choose_photos([photo_folder, tmp_path / "none.jpg"], tmp_path, GROUPS, count=3)
    with pytest.raises(SettingError, match="--count 1 or more"):
        choose_photos([photo_folder], tmp_path, GROUPS, count=0)
    data_path = prepare(tmp_path)
    (data_path / DATASET_FOLDER / "test" / "3.jpg").unlink()
    with pytest.raises(DataError, match="without a photo"):
        choose_photos([], data_path, GROUPS, count=3)
