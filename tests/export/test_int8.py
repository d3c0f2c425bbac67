"""The network gives pixels the class of the nearest shade of grey: flat photos survive rounding, smooth ones not."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from clothseg import cli
from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_png
from clothseg.errors import MissingExtraError, ModelError, SettingError
from clothseg.export.export_command import Export
from clothseg.export.int8 import choose_calibration, quantize
from clothseg.labels import GROUPS
from clothseg.prediction.predictor import load
from clothseg.prediction.runtimes.model_file import ModelFile, add_metadata
from clothseg.starter import starter_model
from tests.export.small_model import DESCRIPTION

NUM_CLASSES = len(GROUPS)
NUM_PHOTOS = 16
SHADES = (np.arange(NUM_CLASSES) + 0.5) / NUM_CLASSES


def nearest_shade_graph():
    """Return a graph whose logit of a class is 2sx - s², the largest where its shade s is nearest to the shade x."""
    spread = np.zeros((8, 3, 3, 3), np.float32)
    spread[:, :, 1, 1] = 1 / 3
    logits = np.repeat(20 * SHADES[:, None] / 8, 8, axis=1).astype(np.float32)[..., None, None]
    tensors = {"unit": np.float32(1 / 255), "spread": spread, "scores": logits, "bias": np.float32(-10 * SHADES**2)}
    steps = [
        helper.make_node("Cast", ["image"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "unit"], ["shades"]),
        helper.make_node("Conv", ["shades", "spread"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "scores", "bias"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", NUM_CLASSES, "height", "width"])
    initializers = [numpy_helper.from_array(np.asarray(values), name) for name, values in tensors.items()]
    graph = helper.make_graph(steps, "shades", [image], [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def flat_photo(seed):
    """Return 64 x 64 pixels, 16 squares in the shades of all classes, and their class ids."""
    tiles = np.random.default_rng(seed).permutation(np.arange(16) % NUM_CLASSES).reshape(4, 4)
    ids = tiles.repeat(16, 0).repeat(16, 1).astype(np.uint8)
    return np.round(255 * SHADES[ids]).astype(np.uint8)[..., None].repeat(3, 2), ids


def smooth_photo(seed):
    row = np.linspace(seed, 255 - seed, 64).astype(np.uint8)
    return np.tile(row[None, :, None], (64, 1, 3)), None


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "shades.onnx"
    path.write_bytes(add_metadata(nearest_shade_graph(), DESCRIPTION, {"torch": "2.10", "opset": 20}))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of photos, by kind."""
    folders = {}
    for paint in (flat_photo, smooth_photo):
        folders[paint] = tmp_path_factory.mktemp(paint.__name__)
        for seed in range(NUM_PHOTOS):
            (folders[paint] / f"{seed:02}.png").write_bytes(encode_png(paint(seed)[0]))
    return folders


@pytest.fixture(scope="module")
def nncf():
    return pytest.importorskip("nncf", reason="needs the extra int8")


@pytest.mark.full
@pytest.mark.usefixtures("nncf")
def test_int8_is_written_where_it_keeps_the_masks_and_runs_everywhere(model_path, photos, tmp_path, capsys):
    words = [
        "export",
        model_path,
        "--precision",
        "int8",
        "--photos",
        photos[flat_photo],
        "--output",
        tmp_path,
        "--json",
    ]
    with pytest.raises(SystemExit) as left:
        cli.main(list(map(str, words)))
    printed = capsys.readouterr()
    assert left.value.code == 0, printed.err
    assert "int8 keeps the masks" in printed.err
    target = tmp_path / "shades-int8.onnx"
    file = ModelFile.read(target)
    assert json.loads(printed.out)["file"] == str(target)
    assert (file.description.precision, ModelFile.read(model_path).description.precision) == ("int8", "fp32")
    assert file.check["calibration"] == f"8 photos of {photos[flat_photo].name}"
    assert file.check["photos"] == f"8 other photos of {photos[flat_photo].name}"
    assert file.check["torch"] == "2.10"
    kinds = {tensor.data_type for tensor in onnx.load_from_string(file.content).graph.initializer}
    assert TensorProto.INT8 in kinds
    original = load(model_path)
    pixels, _ = flat_photo(99)
    for runtime, name in (("openvino", "OpenVINO on cpu"), ("onnxruntime", "ONNX Runtime on cpu")):
        predictor = load(target, runtime=runtime, precision="fp32")
        assert predictor.runtime_name == f"{name}, int8"
        for height, width in ((64, 64), (32, 64), (64, 20)):
            photo = pixels[:height, :width]
            assert (predictor.predict(photo).mask != original.predict(photo).mask).mean() <= 0.01
    with pytest.raises(ModelError, match="int8 already"):
        Export(target, number_format="int8", photos=(photos[flat_photo],), output=tmp_path / "again.onnx").run()


@pytest.mark.full
@pytest.mark.usefixtures("nncf")
def test_other_masks_are_refused_with_figures_and_nothing_is_written(model_path, photos, tmp_path):
    with pytest.raises(ModelError, match=r"another class on \d+\.\d+% .* No model was written; int8 may change 1%"):
        Export(model_path, tmp_path, number_format="int8", photos=(photos[smooth_photo],)).run()
    assert not list(tmp_path.iterdir())


def prepare(data_path, *, source="https://example.org"):
    folder, zeros, splits = data_path / DATASET_FOLDER, (0,) * NUM_CLASSES, {}
    for number, (name, photos, masks) in enumerate([("train", "train", "train_masks"), ("val", "test", "val_masks")]):
        for part in (photos, masks):
            (folder / part).mkdir(parents=True)
        for seed in range(8):
            pixels, ids = flat_photo(10 * number + seed)
            (folder / photos / f"{seed}.png").write_bytes(encode_png(pixels))
            (folder / masks / f"{seed}.png").write_bytes(encode_png(ids))
        splits[name] = Split(photos, masks, 8, zeros, zeros)
    Manifest("street", source, None, GROUPS, splits).write(folder)
    return data_path


@pytest.mark.full
@pytest.mark.usefixtures("nncf")
def test_a_dataset_calibrates_on_its_training_photos_and_checks_against_the_truth(model_path, tmp_path):
    calibration, checked = choose_calibration((), prepare(tmp_path), GROUPS, count=32)
    assert calibration.origin == "8 training photos of street"
    assert checked.origin == "8 validation photos of street"
    model = quantize(ModelFile.read(model_path), calibration, checked)
    assert model.file.check["truth"]
    assert model.agreements["fp32"].miou > 0.95
    assert abs(model.agreements["openvino"].miou_change) <= 0.005


def test_photos_that_calibrate_do_not_check(photos, tmp_path):
    calibration, checked = choose_calibration([photos[flat_photo]], tmp_path, GROUPS, count=8)
    used, others = ({path for path, _ in one.paths} for one in (calibration, checked))
    assert len(used) == len(others) == 8
    assert not used & others


def test_drawn_pictures_few_photos_and_a_missing_extra_are_refused(model_path, photos, tmp_path, monkeypatch):
    for given, data_path in (((), tmp_path), ((), prepare(tmp_path / "drawn", source="sample"))):
        with pytest.raises(SettingError, match=r"calibrated on 8 photos .*drawn pictures do not count.*--photos DIR"):
            Export(model_path, tmp_path / "out", number_format="int8", photos=given, data_path=data_path).run()
    with pytest.raises(SettingError, match=r"4 photos of .*, and 4 other photos of"):
        Export(model_path, tmp_path / "out", number_format="int8", photos=(photos[flat_photo],), count=4).run()
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"nncf is not installed.* int8"):
        Export(model_path, tmp_path / "out", number_format="int8", photos=(photos[flat_photo],)).run()
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_overwritten_and_smp_has_no_int8(model_path, photos):
    with pytest.raises(SettingError, match="the model that is read"):
        Export(model_path, model_path, number_format="int8", photos=(photos[flat_photo],)).run()
    with pytest.raises(SettingError, match="fp32 only"):
        Export(model_path, format="smp", number_format="int8").run()


def test_what_is_made_of_the_packaged_model_goes_into_the_current_folder():
    source, target = Export(Path("starter"), number_format="int8")._paths()
    assert (source, target) == (starter_model(), Path("clothseg-starter-int8.onnx"))
