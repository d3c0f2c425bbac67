import os
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save, save_file
from segmentation_models_pytorch.encoders import encoders as smp_encoders
from torch import Tensor, nn

from clothseg.errors import MachineError, MissingModelError, ModelError, SettingError
from clothseg.model import weights
from clothseg.model.network import build_network
from clothseg.model.weights import find_imagenet_weights, fit_state_dict, imagenet_source, read_state_dict
from tests.hub import Hub, use_endpoint

SHARED_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "mobilenet_v2-imagenet.pth"
MOBILENET_REVISION = smp_encoders["mobilenet_v2"]["pretrained_settings"]["imagenet"]["revision"]


def encoder_of(name: str, path: Path | str) -> nn.Module:
    return build_network("unet", name, encoder_weights=path, num_classes=3, decoder_width=0.25).network.get_submodule(
        "encoder"
    )


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, Tensor]:
    """torchvision's MobileNetV2, classifier included, with weights unlike any that a new network has."""
    torch.manual_seed(3)
    return torchvision.models.mobilenet_v2().state_dict()


def test_a_state_dict_from_elsewhere_loads(mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    path, expected = tmp_path / "weights.pth", None
    for prefix in ("network.network.encoder.", "", "module.", "backbone."):
        tensors = {prefix + name: tensor for name, tensor in mobilenet.items()}
        for key in ("state_dict", "model", None):
            torch.save(tensors if key is None else {key: tensors, "epoch": 3}, path)
            if expected is None:  # once as a user does
                expected = encoder_of("mobilenet_v2", path).state_dict()
                loaded = expected
            else:
                loaded = fit_state_dict(read_state_dict(path), expected)
            assert loaded.keys() == expected.keys()
            assert all(torch.equal(tensor, mobilenet[name]) for name, tensor in loaded.items()), (prefix, key)


def test_safetensors_load(mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    without_counters = {name: tensor for name, tensor in mobilenet.items() if "num_batches" not in name}  # an old file
    save_file(without_counters, tmp_path / "weights.safetensors")
    loaded = encoder_of("mobilenet_v2", tmp_path / "weights.safetensors").state_dict()
    assert all(torch.equal(tensor, mobilenet[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize(
    "name",
    [
        "mobilenetv3_small_050",
        pytest.param("resnet18", marks=pytest.mark.slow),
        pytest.param("convnext_atto", marks=pytest.mark.slow),
    ],
)
def test_a_whole_model_of_timm_loads(name: str, tmp_path: Path) -> None:
    """timm renames tensors where it takes features from a model, so the outputs are compared, not the names."""
    source = timm.create_model(name).eval()
    for one in source.buffers():
        if one.is_floating_point():
            one += 0.1
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    encoder = encoder_of(f"tu-{name}", tmp_path / "weights.pth").eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = source.forward_intermediates(image, intermediates_only=True)[-1]
        torch.testing.assert_close(encoder(image)[-1], expected)


def test_an_encoder_of_a_checkpoint_loads_into_timms(tmp_path: Path) -> None:
    source = build_network("unet", "tu-mobilenetv3_small_050", encoder_weights=None, num_classes=13)
    torch.save({"state_dict": {f"network.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "own.ckpt")
    loaded = encoder_of("tu-mobilenetv3_small_050", tmp_path / "own.ckpt").state_dict()
    expected = source.network.get_submodule("encoder").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


@pytest.mark.real_photos
def test_the_published_mobilenet_loads() -> None:
    if not SHARED_WEIGHTS.exists():
        pytest.skip(f"{SHARED_WEIGHTS} is not beside the project")
    expected = torch.load(SHARED_WEIGHTS, weights_only=True)
    loaded = encoder_of("mobilenet_v2", SHARED_WEIGHTS).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("name", ["resnet18", "tu-resnet18"])
def test_weights_of_another_encoder_are_refused(name: str, mobilenet: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(mobilenet, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=rf"do not fit {name}: \d+ of its 1\d\d tensors"):
        encoder_of(name, tmp_path / "weights.pth")
    torch.save(torchvision.models.mobilenet_v2(width_mult=1.4).state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="do not fit mobilenet_v2"):
        encoder_of("mobilenet_v2", tmp_path / "weights.pth")


def test_a_file_without_a_state_dict_is_refused(tmp_path: Path) -> None:
    for content in ([1, 2], {}, {"epoch": 3}, {"state_dict": []}, torch.zeros(3)):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(ModelError, match="no state dict"):
            read_state_dict(tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="no state dict"):
        encoder_of("tu-mobilenetv3_small_050", tmp_path / "weights.pth")
    with pytest.raises(MissingModelError, match=r"Encoder weights not found: .*nowhere\.pth"):
        encoder_of("resnet18", tmp_path / "nowhere.pth")


def test_the_prefix_under_which_most_fit_is_taken_off() -> None:
    expected = {"conv.weight": torch.zeros(2), "norm.weight": torch.zeros(3)}
    tensors = {"a.conv.weight": torch.ones(2), "b.conv.weight": torch.ones(2), "b.norm.weight": torch.ones(3)}
    assert fit_state_dict(tensors, expected).keys() == expected.keys()


@pytest.mark.parametrize("name", ["resnext101_32x32d", "tu-vgg11_nowhere"])
def test_no_published_weights_is_said(name: str) -> None:
    with pytest.raises(SettingError, match=f"no imagenet weights for the encoder {name}"):
        imagenet_source(name)


def test_the_cache_is_enough(hub_cache: Path, mobilenet: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    folder = hub_cache / "models--smp-hub--mobilenet_v2.imagenet" / "snapshots" / MOBILENET_REVISION
    folder.mkdir(parents=True)
    save_file(mobilenet, folder / "model.safetensors")
    loaded = encoder_of("mobilenet_v2", "imagenet").state_dict()
    assert all(torch.equal(tensor, mobilenet[name]) for name, tensor in loaded.items())


@pytest.mark.parametrize("name", ["mit_b1", "tu-resnet18", "tu-gcvit_xxtiny"])
def test_an_unreachable_hub_is_an_error(
    name: str, hub_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint("http://127.0.0.1:9", monkeypatch)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # for the one whose weights are not on the hub
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MachineError, match=f"ImageNet weights of {name} cannot be downloaded.*ENCODER_WEIGHTS"):
        find_imagenet_weights(name)


@pytest.mark.slow
def test_the_environment_names_the_hub(tmp_path: Path) -> None:
    """End to end: variables set before the start of a process, one error of exit code 5."""
    code = (
        "from clothseg.errors import MachineError\n"
        "from clothseg.model.network import build_network\n"
        "try:\n"
        "    build_network('unet', 'mit_b1', encoder_weights='imagenet', num_classes=13)\n"
        "except MachineError as error:\n"
        "    print(error.exit_code, error)\n"
    )
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("5 ImageNet weights of mit_b1 cannot be downloaded from http://127.0.0.1:9")


def test_offline_mode_asks_nobody(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="HF_HUB_OFFLINE forbids"):
        find_imagenet_weights("resnet18")


def test_a_hub_that_never_answers_is_given_up(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_CONNECTION_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_endpoint(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        with pytest.raises(MachineError, match=r"cannot be downloaded from .*: no answer within 0\.2 seconds"):
            find_imagenet_weights("resnet18")


def test_published_weights_are_downloaded_once(hub: type[Hub], mobilenet: dict[str, Tensor]) -> None:
    address = f"/smp-hub/mobilenet_v2.imagenet/resolve/{MOBILENET_REVISION}/model.safetensors"
    hub.files[address] = save(mobilenet)
    loaded = encoder_of("mobilenet_v2", "imagenet").state_dict()
    assert all(torch.equal(tensor, mobilenet[name]) for name, tensor in loaded.items())


def test_the_second_file_name_is_tried(hub: type[Hub], tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "resnet18.bin")
    content = (tmp_path / "resnet18.bin").read_bytes()
    hub.files["/timm/resnet18.a1_in1k/resolve/main/pytorch_model.bin"] = content
    assert find_imagenet_weights("tu-resnet18").read_bytes() == content
    assert len(encoder_of("tu-resnet18", "imagenet").state_dict())


def test_a_hub_without_the_file_is_asked_once_and_named(hub: type[Hub]) -> None:
    with pytest.raises(MachineError, match="ImageNet weights of resnet18 cannot be downloaded from http"):
        find_imagenet_weights("resnet18")
    assert len(hub.asked) == 1
