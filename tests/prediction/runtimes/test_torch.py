import hashlib
import sys

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clothseg.errors import MissingExtraError, MissingModelError, ModelError, SettingError
from clothseg.model.checkpoint import load_checkpoint
from clothseg.prediction.predictor import load, open_runtime
from clothseg.prediction.runtimes.torch import TorchRuntime
from clothseg.transforms import resize_mask


@pytest.fixture(scope="module")
def loaded(checkpoint_path):
    return load(checkpoint_path)


def photo_of(height, width):
    rng = np.random.default_rng(height)
    return cv2.resize(rng.integers(0, 256, (12, 9, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("size", [(64, 64), (64, 48), (150, 100), (97, 133), (40, 20), (20, 200)])
def test_masks_equal_the_plain_way(loaded, checkpoint_path, size):
    photo = photo_of(*size)
    segmentation = loaded.predict(photo)

    _, network = load_checkpoint(checkpoint_path)
    height, width = (max(1, round(side * 64 / max(size))) for side in size)
    interpolation = cv2.INTER_AREA if max(size) > 64 else cv2.INTER_LINEAR
    scaled = cv2.resize(photo, (width, height), interpolation=interpolation)
    padded = np.empty((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.uint8)
    padded[:] = (124, 116, 104)  # ImageNet's mean colour
    padded[:height, :width] = scaled
    with torch.inference_mode():
        logits = network(torch.from_numpy(padded).permute(2, 0, 1)[None])[..., :height, :width]
        enlarged = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)[0]
    first, second = enlarged.topk(2, dim=0).values
    decided = (first - second > 1e-3).numpy()
    assert decided.mean() > 0.98
    np.testing.assert_array_equal(segmentation.mask[decided], enlarged.argmax(dim=0).numpy()[decided])
    assert len(segmentation.labels) > 3, "many classes take part"
    seen = torch.from_numpy(resize_mask(segmentation.mask, (height, width)).copy())
    expected = {
        label.class_id: logits.softmax(dim=1)[0, label.class_id][seen == label.class_id]
        for label in segmentation.labels
    }
    assert sum(len(one) > 0 for one in expected.values()) > 3
    for label in segmentation.labels:
        if len(expected[label.class_id]):
            assert label.score == pytest.approx(expected[label.class_id].mean().item(), abs=1e-4)


def test_a_batch_equals_its_photos_one_by_one(checkpoint_path):
    runtime = TorchRuntime.open(checkpoint_path, device="cpu")
    batch = np.stack([photo_of(64, 96), photo_of(65, 97)[1:, 1:]])
    together = runtime.logits(batch)
    assert together.shape == (2, 13, 64, 96)
    assert together.dtype == np.float32
    for number in range(2):
        np.testing.assert_allclose(together[number], runtime.logits(batch[number : number + 1])[0], atol=1e-4)


def test_bf16_is_close(checkpoint_path):
    batch = photo_of(64, 64)[None]
    exact = TorchRuntime.open(checkpoint_path, device="cpu").logits(batch)
    rounded_runtime = TorchRuntime.open(checkpoint_path, device="cpu", bf16=True)
    rounded = rounded_runtime.logits(batch)
    assert rounded_runtime.name == "torch on cpu, bf16"
    assert 0 < np.abs(exact - rounded).max() < 0.5


def test_the_model_is_named_with_its_sha256(loaded, checkpoint_path):
    sha256 = hashlib.sha256(checkpoint_path.read_bytes()).hexdigest()
    assert loaded.model == {"name": "tiny.ckpt", "version": loaded.description.version, "sha256": sha256}
    assert loaded.predict(photo_of(9, 9)).to_coco()["model"] == loaded.model
    assert loaded.origin == str(checkpoint_path)
    assert loaded.runtime_name.startswith("torch on ")


def test_prediction_leaves_no_gradients_and_no_training_mode(checkpoint_path):
    runtime = TorchRuntime.open(checkpoint_path)
    runtime.logits(photo_of(64, 64)[None])
    assert not any(module.training for module in runtime.network.modules())


def test_models_that_do_not_fit_are_refused(checkpoint_path, tmp_path):
    with pytest.raises(MissingModelError, match=r"Model not found: .*train one"):
        open_runtime(tmp_path / "none.ckpt")
    (tmp_path / "model.tflite").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"Not a model file: .*model\.tflite\. Allowed endings: \.ckpt"):
        open_runtime(tmp_path / "model.tflite")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"empty\.ckpt"):
        open_runtime(tmp_path / "empty.ckpt")
    (tmp_path / "folder.ckpt").mkdir()
    with pytest.raises(ModelError, match=r"folder\.ckpt"):
        open_runtime(tmp_path / "folder.ckpt")
    with pytest.raises(SettingError, match=r"runtime 'onnx' does not run tiny.ckpt. Allowed: auto, torch"):
        open_runtime(checkpoint_path, runtime="onnx")


@pytest.mark.parametrize("device", ["gpu", "cuda:77", "meta7"])
def test_a_device_that_is_not_there_is_refused(checkpoint_path, device):
    with pytest.raises(SettingError, match=f"cannot use the device '{device}'"):
        open_runtime(checkpoint_path, device=device)


def test_without_torch_the_install_line_is_named(checkpoint_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match="uv sync --extra train"):
        open_runtime(checkpoint_path)
    with pytest.raises(SettingError, match=r"does not compute in int8\. Export it with: .*--precision int8"):
        open_runtime(checkpoint_path, precision="int8")
