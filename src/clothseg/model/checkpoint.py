"""Reading a model from a checkpoint: its description and its network, without running code or downloading."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clothseg.errors import ModelError, SettingError, command
from clothseg.model.description import ModelDescription
from clothseg.model.network import SegmentationNetwork, network_of
from clothseg.model.tensor_files import read_tensor_file

_HINT = f'Train one with "{command("train")}", or pass the path of another'
_PREFIX = "network."


def load_checkpoint(path: str | Path) -> tuple[ModelDescription, SegmentationNetwork]:
    """Read a checkpoint of `ClothSegmentationModel`, which contains all that is needed to use the model.

    Returns:
        The description, and the network in evaluation mode on the CPU.

    Raises:
        MissingModelError: there is no such file.
        ModelError: a folder, empty, text, cut off, damaged, with code, a bare state dict, of another network or class
            count than it says, or with weights that are NaN or infinite.
    """
    path = Path(path)
    description, tensors = read_checkpoint(path)
    try:
        network = network_of(description)
    except SettingError as error:
        raise ModelError(f"Checkpoint {path} describes a network that cannot be built here: {error}") from error
    _check_fit(path, description, tensors, network.state_dict())
    _check_numbers(path, tensors)
    network.load_state_dict(tensors)
    return description, network.eval()


def read_checkpoint(path: Path) -> tuple[ModelDescription, dict[str, Tensor]]:
    """Read the description and the network's tensors, without building the network.

    Raises:
        MissingModelError, ModelError: as `load_checkpoint`, without comparing with the network.
    """
    content = read_tensor_file(path, kind="Checkpoint", hint=_HINT)
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"Checkpoint {path} contains no model. {_HINT}")
    if "clothseg" not in content:
        raise ModelError(f"Checkpoint {path} {_foreign(content)}. {_HINT}")
    try:
        description = ModelDescription.from_dict(content["clothseg"])
    except ModelError as error:
        raise ModelError(f"Checkpoint {path}: {error}") from error
    weights = content.get("state_dict")
    if not isinstance(weights, Mapping):
        raise ModelError(f"Checkpoint {path} contains a description but no weights. {_HINT}")
    tensors = {
        name.removeprefix(_PREFIX): tensor
        for name, tensor in weights.items()
        if isinstance(name, str) and name.startswith(_PREFIX) and isinstance(tensor, Tensor)
    }
    return description, tensors


def _foreign(content: Mapping[Any, Any]) -> str:
    if all(isinstance(value, Tensor) for value in content.values()):
        return "is a bare state dict: weights without the classes and the network they belong to"
    return "was not written by clothseg: it does not describe its classes and network"


def _check_fit(
    path: Path, description: ModelDescription, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> None:
    fitting = [name for name, tensor in expected.items() if name in tensors and tensors[name].shape == tensor.shape]
    if len(fitting) == len(expected) == len(tensors):
        return
    shapes = [name for name in expected if name in tensors and tensors[name].shape != expected[name].shape]
    if shapes and all(name.startswith("network.segmentation_head.") for name in shapes):
        found, named = len(tensors[shapes[0]]), description.classes.num_classes
        raise ModelError(f"Checkpoint {path} names {named} classes, but its weights are for {found}. {_HINT}")
    raise ModelError(
        f"Checkpoint {path} does not fit what it describes: of the {len(expected)} tensors of "
        f"{description.architecture} with encoder {description.encoder_name}, {len(fitting)} are among its "
        f"{len(tensors)}. {_HINT}"
    )


def _check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    wrong = [name for name, one in tensors.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())]
    if wrong:
        raise ModelError(
            f"Checkpoint {path} has weights that are NaN or infinite in {len(wrong)} tensors, "
            f"first {wrong[0]}: its training went wrong. {_HINT}"
        )
