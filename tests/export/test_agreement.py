import math
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import DataError, InputError, ModelError, SettingError
from clothseg.export.agreement import NUM_DRAWN, Agreement, check_sizes, choose_photos, compare, refuse_disagreement
from clothseg.labels import CATEGORIES, GROUPS
from clothseg.pictures import read_picture
from clothseg.prediction.predictor import open_runtime
from clothseg.prediction.runtimes.model_file import add_metadata
from tests.export.small_model import DESCRIPTION, photo_of, write_checkpoint

ARCHIVE = Path(__file__).parents[3] / "shared" / "street-unlabelled" / "photos.zip"


class Shades:
    """A runtime of NumPy alone: each class has a shade of grey, a logit is the distance to it."""

    name = "shades"
    description = DESCRIPTION

    def __init__(self, shift=0.0, where=lambda batch: True):
        self.shift = shift
        self.where = where

    def logits(self, batch):
        shades = np.arange(GROUPS.num_classes, dtype=np.float32) * 20
        logits = -np.abs(batch.mean(axis=-1, dtype=np.float32)[:, None] - shades[:, None, None]) / 20
        if self.where(batch):
            logits[:, 2] += self.shift
        return logits


PHOTOS = [(photo_of(90, 60), None), (photo_of(64, 64), None)]


def test_a_runtime_agrees_with_itself():
    agreement = compare({"torch": Shades(), "other": Shades()}, PHOTOS)["other"]
    assert agreement.is_close
    assert agreement.largest_logit_difference == agreement.share_differing == agreement.miou_change == 0
    assert agreement.miou == 1
    assert agreement.runtime == "shades"
    refuse_disagreement(agreement)


def test_differences_are_those_counted_by_hand():
    gray = np.repeat(np.arange(0, 64, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    # A shift by 0.5 moves each border of class 2, shade 40, outwards by 5 shades: 10 of 64 columns change.
    agreement = compare({"torch": Shades(), "other": Shades(0.5)}, [(gray, None)])["other"]
    assert agreement.largest_logit_difference == 0.5
    assert agreement.share_differing == pytest.approx(10 / 64, abs=1 / 64)
    assert not agreement.is_close
    assert agreement.miou_change == pytest.approx(agreement.miou - 1)
    with pytest.raises(ModelError, match=r"disagrees with the original: shades gives logits that differ by up to 0\.5"):
        refuse_disagreement(agreement)


def test_with_truth_a_change_may_be_for_the_better():
    gray = np.full((64, 64, 3), 28, np.uint8)  # nearest to shade 20, class 1; the truth says 2
    truth = np.full((64, 64), 2, np.uint8)
    agreements = compare({"torch": Shades(), "better": Shades(0.5), "worse": Shades(-3)}, [(gray, truth)])
    assert agreements["torch"].miou == 0
    assert agreements["better"].miou_change == 1
    assert agreements["worse"].miou_change == 0
    assert agreements["better"].share_differing == 1
    assert agreements["worse"].share_differing == 0
    assert not agreements["worse"].is_close, "a logit differs by 3, though no mask shows it"


def test_each_limit_alone_decides_what_is_close():
    close = Agreement(
        "shades",
        largest_logit=10.0,
        largest_logit_difference=0.01,
        share_differing=1e-3,
        miou=0.9,
        miou_change=-1e-3,
        milliseconds=1.0,
    )
    assert close.is_close
    assert replace(close, largest_logit=0.1, largest_logit_difference=1e-3).is_close
    for name, value in [
        ("largest_logit_difference", 0.011),
        ("largest_logit_difference", math.nan),
        ("share_differing", 1.1e-3),
        ("miou_change", 1.1e-3),
        ("miou_change", -1.1e-3),
        ("miou_change", math.nan),
    ]:
        assert not replace(close, **{name: value}).is_close, name
    int8 = replace(close, largest_logit_difference=5.0, share_differing=0.01, miou_change=-0.005)
    for changes, has_truth in (({}, True), ({"miou_change": -0.5}, False)):
        refuse_disagreement(replace(int8, **changes), "int8", has_truth=has_truth)
    for changes, has_truth in (
        ({"share_differing": 0.011}, True),
        ({"share_differing": 0.011}, False),
        ({"miou_change": 0.006}, True),
    ):
        with pytest.raises(ModelError, match="int8 may change 1% of the pixels"):
            refuse_disagreement(replace(int8, **changes), "int8", has_truth=has_truth)


@pytest.mark.parametrize("order", [1, -1])
def test_a_nan_on_one_photo_is_never_close(order):
    broken = Shades(math.nan, where=lambda batch: batch.shape[1:3] == (64, 64))
    agreement = compare({"torch": Shades(), "broken": broken}, PHOTOS[::order])["broken"]
    assert math.isnan(agreement.largest_logit_difference)
    assert not agreement.is_close


def test_a_size_or_number_of_photos_that_goes_wrong_is_named():
    check_sizes(Shades(), Shades())
    with pytest.raises(ModelError, match=r"disagrees with the original on 3 photos of 32 x 160 pixels: shades"):
        check_sizes(Shades(), Shades(2.0, where=lambda batch: len(batch) == 3))
    with pytest.raises(ModelError, match=r"on 1 photos of 32 x 32 pixels"):
        check_sizes(Shades(), Shades(math.nan))


@pytest.mark.slow
@pytest.mark.real_photos
@pytest.mark.skipif(not ARCHIVE.is_file(), reason="../shared/street-unlabelled is not there")
def test_real_photos_give_the_same_masks_as_torch(tmp_path, small_graph):
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][::150]
        photos = [(read_picture(archive.read(name)).pixels, None) for name in names]
    (tmp_path / "small.onnx").write_bytes(add_metadata(small_graph, DESCRIPTION, {}))
    torch_runtime = open_runtime(write_checkpoint(tmp_path / "small.ckpt"), device="cpu")
    others = {name: open_runtime(tmp_path / "small.onnx", runtime=name) for name in ("openvino", "onnxruntime")}
    agreements = compare({"torch": torch_runtime, **others}, photos)
    for name in others:
        assert agreements[name].share_differing < 1e-4
        refuse_disagreement(agreements[name])


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


def test_photos_of_the_user_come_first(photo_folder, tmp_path):
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
