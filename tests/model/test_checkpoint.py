import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clothseg.errors import MissingModelError, ModelError
from clothseg.labels import GROUPS
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.module import ClothSegmentationModel

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


def test_what_is_no_model_is_named(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingModelError, match=r'Checkpoint not found: .*a\.ckpt\. Train one with "uv run train\.py"'):
        load_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="is a folder"):
        load_checkpoint(tmp_path)
    (tmp_path / "a.ckpt").write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(ModelError, match="cut off or damaged"):
        load_checkpoint(tmp_path / "a.ckpt")
    for value in ({}, [1, 2], torch.zeros(2)):
        torch.save(value, tmp_path / "a.ckpt")
        with pytest.raises(ModelError, match="contains no model"):
            load_checkpoint(tmp_path / "a.ckpt")


def test_a_bare_state_dict(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(torch.load(checkpoint, weights_only=True)["state_dict"], tmp_path / "bare.pth")
    with pytest.raises(ModelError, match="is a bare state dict"):
        load_checkpoint(tmp_path / "bare.pth")


def test_content_that_does_not_fit_is_named(changed: Callable[[Change], Path]) -> None:
    wrong = []
    changes: dict[str, Change] = {
        "was not written by clothseg": lambda content: content.pop("clothseg"),
        "no weights": lambda content: content.pop("state_dict"),
        r"changed\.ckpt.*wrong image_size: 'big'": lambda content: content["clothseg"].update(image_size="big"),
        "names 12 classes, but its weights are for 13": lambda content: content["clothseg"]["classes"].pop(),
        r"does not fit what it describes: of the .* with encoder resnet18": lambda content: content["clothseg"].update(
            encoder_name="resnet18"
        ),
        "cannot be built here: Unknown ENCODER_NAME 'resnet43'": lambda content: content["clothseg"].update(
            encoder_name="resnet43"
        ),
        "does not fit": lambda content: content["state_dict"].popitem(),
        r"does not fit .* of the (\d+) tensors .*, \1 are among": lambda content: content["state_dict"].update(
            {"network.network.extra": torch.zeros(1)}
        ),
    }
    for value in (float("nan"), float("inf")):
        message = rf"NaN or infinite in 1 tensors, first network\.segmentation_head\.0\.bias|{value}"
        changes[message] = lambda content, value=value: content["state_dict"][
            "network.network.segmentation_head.0.bias"
        ].__setitem__(3, value)
    for message, change in changes.items():
        try:
            load_checkpoint(changed(change))
        except ModelError as error:
            if not re.search(message, str(error)):
                wrong.append((message, str(error)))
        else:
            wrong.append((message, "not refused"))
    assert not wrong, wrong
