import json

import numpy as np
import onnx
import pytest
import segmentation_models_pytorch as smp
import torch

from clothseg.errors import InputError, MachineError, MissingModelError, ModelError, SettingError
from clothseg.export import portable
from clothseg.export.export_command import Export
from clothseg.export.portable import smp_files
from clothseg.model.best import BestCheckpoint
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.description import ModelDescription
from clothseg.prediction.predictor import load
from clothseg.prediction.runtimes.model_file import ModelFile
from tests.export.small_model import DESCRIPTION, photo_of, small_network, write_checkpoint


@pytest.fixture
def quick(monkeypatch, graph_of):
    """The export's first step, done before."""
    monkeypatch.setattr(portable, "to_onnx", graph_of)


@pytest.mark.slow
def test_the_command_exports_in_a_process_of_its_own(exported, small_checkpoint_path, photo_folder, run_in, tmp_path):
    words = ("export", str(small_checkpoint_path), "--output", str(tmp_path), "--photos", str(photo_folder), "--json")
    ended = run_in("-m", "clothseg.cli", *words, PYTHONWARNINGS="default")
    assert ended.returncode == 0, ended.stderr
    file, expected = ModelFile.read(tmp_path / "small.onnx"), ModelFile.read(exported[0])
    assert json.loads(ended.stdout)["check"] == file.check
    assert file.description == expected.description
    assert file.check.keys() == expected.check.keys()
    assert "The exported model agrees with the original" in ended.stderr


def test_the_file_describes_itself_and_its_check(exported):
    path, printed, _ = exported
    assert [one.name for one in path.parent.iterdir()] == ["small.onnx"]
    file = ModelFile.read(path)
    assert file.description == DESCRIPTION
    assert file.check["photos"].startswith("5 photos of photos")
    assert (file.check["real_photos"], file.check["truth"]) == (True, False)
    assert printed["file"] == str(path)
    assert printed["check"] == file.check
    assert printed["bf16_by_default"] == file.allows_bf16


def test_every_runtime_was_compared_with_torch(exported):
    _, printed, shown = exported
    assert {"torch", "openvino", "onnxruntime"} <= printed["runtimes"].keys()
    for name in ("openvino", "onnxruntime"):
        one = printed["runtimes"][name]
        assert 0 < one["largest_logit_difference"] < 1e-3
        assert one["share_differing"] < 1e-3
        assert abs(one["miou_change"]) < 1e-3
        assert f"{one['share_differing']:.4%}" in shown
    assert "The exported model agrees with the original" in shown
    if "openvino bf16" in printed["runtimes"]:
        rounded = printed["runtimes"]["openvino bf16"]
        assert printed["check"]["bf16_miou_change"] == rounded["miou_change"]
        assert printed["check"]["bf16_share_differing"] == rounded["share_differing"]
        assert printed["bf16_by_default"] == (abs(rounded["miou_change"]) < 0.002 and rounded["share_differing"] < 0.02)


def test_it_predicts_what_the_checkpoint_predicts(exported, small_checkpoint_path):
    checkpoint, model = load(small_checkpoint_path, device="cpu"), load(exported[0])
    assert model.description == checkpoint.description
    if model.runtime_name == "OpenVINO on cpu":
        photo = photo_of(333, 200)
        assert (model.predict(photo).mask != checkpoint.predict(photo).mask).mean() < 1e-3


def test_smp_loads_its_own_format_with_equal_logits(small_checkpoint_path, tmp_path, capsys):
    """The normalisation is in the description, as its input is normalised pixels."""
    assert Export(small_checkpoint_path, tmp_path / "folder", format="smp").run() == 0
    assert capsys.readouterr().out == f"{tmp_path / 'folder'}\n"
    described = json.loads((tmp_path / "folder" / "clothseg.json").read_text())
    assert ModelDescription.from_dict(described) == DESCRIPTION
    loaded = smp.from_pretrained(tmp_path / "folder").eval()
    photo = torch.from_numpy(photo_of(96, 64)).permute(2, 0, 1)[None]
    mean, std = (torch.tensor(described["normalization"][name]).view(3, 1, 1) for name in ("mean", "std"))
    with torch.inference_mode():
        given, expected = loaded((photo / 255 - mean) / std), small_network()(photo)
    torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-4)


def test_a_network_that_smp_would_load_otherwise_is_refused(small_checkpoint_path):
    """A hook is not in the saved file."""
    description, network = load_checkpoint(small_checkpoint_path)
    network.network.segmentation_head[0].register_forward_hook(lambda module, given, logits: logits + 1)
    with pytest.raises(ModelError, match="disagrees with the original"):
        smp_files(description, network)


def test_a_model_that_disagrees_is_refused_and_nothing_is_written(
    small_graph, small_checkpoint_path, photo_folder, tmp_path, monkeypatch
):
    """One weight of the last layer differs by a twentieth: too little to see in a mask, and no longer the same."""
    model = onnx.load_from_string(small_graph)
    (weight,) = (one for one in model.graph.initializer if one.name.endswith("segmentation_head.0.weight"))
    values = onnx.numpy_helper.to_array(weight).copy()
    values[3, 0, 0, 0] += 0.05
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    monkeypatch.setattr(portable, "to_onnx", lambda network: model.SerializeToString())
    with pytest.raises(ModelError, match=r"disagrees with the original .* No model was written"):
        Export(small_checkpoint_path, tmp_path / "model.onnx", photos=(photo_folder,), count=1).run()
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quick")
def test_drawn_pictures_say_nothing_of_bf16(small_checkpoint_path, tmp_path, capsys):
    target = tmp_path / "named.onnx"
    assert Export(small_checkpoint_path, target, data_path=tmp_path / "none").run() == 0
    printed = capsys.readouterr()
    assert printed.out == f"{target}\n"
    assert "no real photos" in printed.err
    file = ModelFile.read(target)
    assert file.check["bf16_miou_change"] is file.check["bf16_share_differing"] is None
    assert not file.allows_bf16


@pytest.mark.usefixtures("quick")
def test_without_names_the_best_checkpoint_is_exported_beside_itself(exported, tmp_path, photo_folder, capsys):
    write_checkpoint(tmp_path / "clothseg-007.ckpt")
    BestCheckpoint("clothseg-007.ckpt", 0.5, 0.5, 7).write(tmp_path)
    assert Export(photos=(photo_folder,), count=2, checkpoints_path=tmp_path).run() == 0
    assert capsys.readouterr().out == f"{tmp_path / 'clothseg-007.onnx'}\n"
    assert load(tmp_path / "clothseg-007.onnx").predict(photo_of(40, 30)).mask.shape == (40, 30)
    file, other = ModelFile.read(tmp_path / "clothseg-007.onnx"), ModelFile.read(exported[0])
    assert file.description == other.description
    assert file.check.keys() == other.check.keys()


def test_what_cannot_be_exported_is_named(small_checkpoint_path, photo_folder, tmp_path):
    with pytest.raises(MissingModelError, match="clothseg export CKPT"):
        Export(checkpoints_path=tmp_path).run()
    with pytest.raises(MissingModelError, match="or pass the path of another"):
        Export(tmp_path / "none.ckpt").run()
    with pytest.raises(SettingError, match="is an exported model already"):
        Export(tmp_path / "model.onnx").run()
    with pytest.raises(SettingError, match="--count 1"):
        Export(small_checkpoint_path, photos=(photo_folder,), count=0).run()
    with pytest.raises(InputError, match=r"none\.jpg"):
        Export(small_checkpoint_path, photos=(tmp_path / "none.jpg",)).run()


@pytest.mark.usefixtures("quick")
def test_a_broken_photo_or_target_leaves_no_file(small_checkpoint_path, photo_folder, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        Export(small_checkpoint_path, tmp_path / "out", photos=(tmp_path / "broken.jpg",)).run()
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(MachineError, match="Cannot write"):
        Export(tmp_path / "read_later.ckpt", tmp_path / "file").run()
    with pytest.raises(MachineError, match="Cannot write"):
        Export(tmp_path / "read_later.ckpt", tmp_path / "file" / "new", format="smp").run()
    assert (tmp_path / "file").read_text() == "in the way"


def test_the_checkpoint_is_left_as_it_was(small_checkpoint_path, exported):
    weights = small_network().state_dict()
    _, network = load_checkpoint(small_checkpoint_path)
    for name, tensor in network.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name].numpy())
