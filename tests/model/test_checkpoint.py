import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clothseg.errors import MissingModelError, ModelError
from clothseg.labels import GROUPS
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.lightning import ClothSegmentationModel
from clothseg.model.seal import seal

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated.*"),
]

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def changed(checkpoint: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Write a copy of the checkpoint with something in it changed."""

    def change_copy(change: Change) -> Path:
        content = torch.load(checkpoint, weights_only=True)
        change(content)
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return change_copy


def test_a_checkpoint_is_enough(checkpoint: Path) -> None:
    description, network = load_checkpoint(checkpoint)
    assert description.classes == GROUPS
    assert (description.architecture, description.image_size) == ("unet", 64)
    assert description.training_data == {"name": "rectangles", "counts": {"train": 5}}
    assert description.scores["val_iou"] > 0
    assert description.scores["iou"]["waist"] is None
    assert not network.training
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    expected = ClothSegmentationModel.load_from_checkpoint(checkpoint).eval()(image)
    torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-4)


def test_a_sealed_checkpoint_reads_the_same(checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path))
    seal(path)
    assert load_checkpoint(path)[0] == load_checkpoint(checkpoint)[0]


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("place", [0.3, 0.6])
def test_a_flipped_byte_is_noticed(sealed: bool, place: float, checkpoint: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoint, tmp_path))
    if sealed:
        seal(path)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 16
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r'Checkpoint not found: .*a\.ckpt\. Train one with "uv run train\.py"'):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"text", "not a PyTorch file"), (b"PK\3\4rest", "cut off or damaged")]
)
def test_no_model_at_all(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load_checkpoint(tmp_path / "a.ckpt")


def test_truncated(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut off or damaged"):
        load_checkpoint(path)


@pytest.mark.parametrize("content", [{}, [1, 2], torch.zeros(2)])
def test_nothing_of_a_model(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="holds no model"):
        load_checkpoint(tmp_path / "a.ckpt")


def test_a_bare_state_dict(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(torch.load(checkpoint, weights_only=True)["state_dict"], tmp_path / "bare.pth")
    with pytest.raises(ModelError, match="is a bare state dict"):
        load_checkpoint(tmp_path / "bare.pth")


def test_a_checkpoint_of_another_program(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match="is not clothseg's"):
        load_checkpoint(changed(lambda content: content.pop("clothseg")))


def test_without_weights(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match="no weights"):
        load_checkpoint(changed(lambda content: content.pop("state_dict")))


def test_a_wrong_description(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match=r"changed\.ckpt.*wrong image_size: 'big'"):
        load_checkpoint(changed(lambda content: content["clothseg"].update(image_size="big")))


def test_another_class_count(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match="names 12 classes, but its weights are for 13"):
        load_checkpoint(changed(lambda content: content["clothseg"]["classes"].pop()))


def test_another_encoder(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match=r"does not fit what it describes: of the .* with encoder resnet18"):
        load_checkpoint(changed(lambda content: content["clothseg"].update(encoder_name="resnet18")))


def test_an_unknown_encoder(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match="cannot be built here: Unknown ENCODER_NAME 'resnet43'"):
        load_checkpoint(changed(lambda content: content["clothseg"].update(encoder_name="resnet43")))


def test_a_missing_tensor(changed: Callable[[Change], Path]) -> None:
    with pytest.raises(ModelError, match="does not fit"):
        load_checkpoint(changed(lambda content: content["state_dict"].popitem()))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value: float, changed: Callable[[Change], Path]) -> None:
    def spoil(content: dict[str, Any]) -> None:
        content["state_dict"]["network.network.segmentation_head.0.bias"][3] = value

    with pytest.raises(ModelError, match=r"no numbers .* in 1 tensors, first network\.segmentation_head\.0\.bias"):
        load_checkpoint(changed(spoil))
