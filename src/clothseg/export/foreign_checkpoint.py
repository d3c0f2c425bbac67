"""Checkpoints of transformers and segmentation-models-pytorch, from a folder or the hub, opened without their code."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import torch
from huggingface_hub.errors import EntryNotFoundError
from msgspec.structs import replace
from PIL import Image
from torch import Tensor, nn

from clothseg.errors import MachineError, ModelError, SettingError, check_input, one_line, require
from clothseg.export.agreement import quietly
from clothseg.export.original import OriginalModel, SourceDescription, labels_of, read_json
from clothseg.export.portable import to_onnx
from clothseg.model.description import ModelDescription
from clothseg.model.encoders import normalization_of
from clothseg.model.network import SegmentationNetwork
from clothseg.model.tensor_files import read_tensor_file
from clothseg.model.weights import HubFile, find_on_hub
from clothseg.prediction.runtimes.torch import TorchRuntime
from clothseg.types import UInt8Array

SEGFORMER_LICENCE = (
    "NVIDIA's SegFormer weights, and what was trained from them, are for non-commercial use only. "
    "Source: github.com/NVlabs/SegFormer/blob/master/LICENSE"
)

_DESCRIPTION = "clothseg.json"
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_FILES = (("config.json",), ("preprocessor_config.json",), _WEIGHTS, ("README.md",), (_DESCRIPTION,))
_HUB_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_SOURCES = "Pass a folder that save_pretrained wrote, hf://OWNER/NAME, or a file that ends in .onnx"
_HUB_HINT = (
    "Check the name; for a gated or private repository accept its terms on its page and log in with: hf auth login. Or "
    "download the folder yourself and pass its path. HTTPS_PROXY and HF_ENDPOINT apply"
)


def fetch_folder(address: str) -> tuple[Path, str]:
    """Download the files of a model from the hub, hf://OWNER/NAME or hf://OWNER/NAME@REVISION, into its cache.

    Returns:
        The folder, and the address with the commit that was taken.

    Raises:
        SettingError: the address has another form.
        MachineError: the hub does not answer or refuses, or a download was cut.
    """
    found = _HUB_ADDRESS.fullmatch(address)
    if not found:
        raise SettingError(f"Not the address of a model on the hub: {address}. Write it as: hf://OWNER/NAME")
    repository, revision = found.groups()
    folder: Path | None = None
    for names in _FILES:
        try:
            path = find_on_hub(HubFile(repository, names, revision), f"The files of {repository}", _HUB_HINT)
        except MachineError as error:
            if not isinstance(error.__cause__, EntryNotFoundError):
                raise
            continue  # some are optional; the others are missed when the folder is opened
        folder = folder or path.parent
    if folder is None:
        raise ModelError(f"{address} has none of the files of a model ({', '.join(_WEIGHTS)}). {_HUB_HINT}")
    return folder, f"hf://{repository}@{folder.name}"


def open_folder(folder: Path, given: SourceDescription | None) -> OriginalModel:
    """Open a folder that `save_pretrained` of transformers or segmentation-models-pytorch wrote.

    A description by the user, `given`, replaces what preprocessor_config.json and config.json say.

    Raises:
        ModelError: files are missing or damaged, contain code, or are of a model that is not for semantic segmentation.
        SettingError: classes or size cannot be used.
        MissingExtraError: transformers is not installed.
    """
    check_input(folder, "Model", _SOURCES, folder=True, error=ModelError)
    config = read_json(folder / "config.json")
    weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), folder / _WEIGHTS[0])
    tensors = read_tensor_file(weights, kind="Weights", hint="Download them again, as safetensors if there is a choice")
    if not isinstance(tensors, Mapping) or not all(isinstance(one, Tensor) for one in tensors.values()):
        raise ModelError(f"Weights {weights} contain no state dict. Download them again")
    original = (_open_smp if "encoder_name" in config else _open_transformers)(folder, config, given)
    terms = (given.licence if given else "") or stated_licence(folder, config)
    return original.with_origin(folder.resolve().name, terms)


def _open_transformers(folder: Path, config: Mapping[str, Any], given: SourceDescription | None) -> OriginalModel:
    name = str((config.get("architectures") or ["a model without a name"])[0])
    if "auto_map" in config:
        raise ModelError(f"{folder} needs code of its authors (auto_map in config.json), which is never run")
    if not name.endswith("ForSemanticSegmentation"):
        raise ModelError(
            f"{folder} is {name}, no model for semantic segmentation: one with a plane of logits per class, such as "
            "SegformerForSemanticSegmentation. Instance and panoptic models cannot be imported"
        )
    transformers = require("transformers", "import")
    notes: tuple[str, ...] = ()
    description, processor = given or SourceDescription(), None
    description = replace(description, classes=description.classes or labels_of(config))
    with quietly():
        if given is None:
            values = read_json(folder / "preprocessor_config.json")
            processor = _loaded(folder, partial(transformers.AutoImageProcessor.from_pretrained, str(folder)))
            description, notes = _with_preprocessing(description, {**processor.to_dict(), **values})
        auto = transformers.AutoModelForSemanticSegmentation
        # Eager attention, as the other kinds cannot be exported for BEiT and Swin.
        options = {"attn_implementation": "eager", "output_loading_info": True, "dtype": torch.float32}
        network, loading = _loaded(folder, partial(auto.from_pretrained, str(folder), **options))
    if missing := len(loading["missing_keys"]):
        raise ModelError(f"Weights in {folder} lack {missing} tensors of {name}. Download them again")
    described = description.model_description(name, str(config.get("model_type")))
    flips = description.channels == "bgr"
    own_mask = None if processor is None else partial(_own_mask, processor, network, described)
    original = _torch_model(_Logits(network, flips=flips), described)
    exported = SegmentationNetwork(_Logits(_with_short_head(network), flips=flips), described.normalization).eval()
    graph = partial(to_onnx, exported, described.input_size)
    return dataclasses.replace(original, graph=graph, own_mask=own_mask, notes=notes)


def _with_short_head(network: Any) -> Any:
    """Return a SegFormer whose head does far less for the same logits: a copy; any other network is returned itself.

    A stage's linear projection, bilinear enlarging and the convolution that fuses all stages have nothing nonlinear
    between them, so each stage's share of the convolution is multiplied into its projection, and runs at the stage's
    small size. Source: Xie et al., "SegFormer", NeurIPS 2021, section 3.2, for the head.
    """
    head = getattr(network, "decode_head", None)
    if type(head).__name__ != "SegformerDecodeHead":
        return network
    network = copy.deepcopy(network)
    head = network.decode_head
    projections = [one.proj for one in head.modules() if type(one).__name__ == "SegformerMLP"]
    shares = head.linear_fuse.weight.detach().flatten(1).chunk(len(projections), dim=1)
    for projection, share in zip(projections, reversed(shares), strict=True):  # they are joined last stage first
        projection.weight = nn.Parameter(share @ projection.weight.detach())
        projection.bias = nn.Parameter(share @ projection.bias.detach())
    head.linear_fuse = _SumOfStages(len(projections))
    return network


class _SumOfStages(nn.Module):
    """(B, stages * C, h, w) to (B, C, h, w)."""

    def __init__(self, stages: int) -> None:
        super().__init__()
        self.stages = stages

    def forward(self, joined: Tensor) -> Tensor:
        batch, channels, height, width = joined.shape
        return joined.reshape(batch, self.stages, channels // self.stages, height, width).sum(dim=1)


def _loaded(folder: Path, load: Callable[..., Any]) -> Any:
    try:
        return load(local_files_only=True, trust_remote_code=False)
    except Exception as error:  # files of unknown origin can fail transformers in any way
        raise ModelError(f"transformers cannot load {folder}: {one_line(error)[:300]}") from error


def _with_preprocessing(
    description: SourceDescription, values: Mapping[str, Any]
) -> tuple[SourceDescription, tuple[str, ...]]:
    """Return the description with what the settings of an image processor say, and what is done otherwise, in words."""
    crops, size = values.get("do_center_crop"), values.get("size")
    chosen = values.get("crop_size") if crops else size
    chosen = dict(chosen) if isinstance(chosen, Mapping) else {"shortest_edge": chosen}
    sides = [chosen.get(side) or chosen.get("shortest_edge") for side in ("height", "width")]
    if not values.get("do_resize", True) or not all(isinstance(side, int) for side in sides):
        raise ModelError(f"preprocessor_config.json gives no size of the input: {size}. Pass a --description with size")
    notes: tuple[str, ...] = ()
    if crops or "shortest_edge" in chosen or values.get("keep_aspect_ratio"):
        notes = ("Its own program keeps a photo's proportions or crops it; here all of it is squashed to one size",)
    changes: dict[str, Any] = {
        "size": tuple(sides),
        "interpolation": Image.Resampling(values.get("resample", Image.Resampling.BILINEAR)).name.lower(),
        "channels": "bgr" if values.get("do_flip_channel_order") else "rgb",
        "scale": values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0,
    }
    if values.get("do_normalize"):
        changes |= {"mean": tuple(values["image_mean"]), "std": tuple(values["image_std"])}
    return replace(description, **changes), notes


@torch.inference_mode()
def _own_mask(processor: Any, network: Any, description: ModelDescription, pixels: UInt8Array) -> UInt8Array:
    """Return the mask of transformers' own image processor, network and post-processing at the photo's size."""
    assert description.input_size is not None
    height, width = description.input_size
    options = {"size": {"height": height, "width": width}, "do_center_crop": False, "keep_aspect_ratio": False}
    known = processor.to_dict()
    with quietly():
        inputs = processor(
            Image.fromarray(pixels), return_tensors="pt", **{key: one for key, one in options.items() if key in known}
        )
        output = network(**inputs)
        (mask,) = processor.post_process_semantic_segmentation(output, target_sizes=[pixels.shape[:2]])
    return np.asarray(mask.numpy(), dtype=np.uint8)


def _open_smp(folder: Path, config: Mapping[str, Any], given: SourceDescription | None) -> OriginalModel:
    import segmentation_models_pytorch as smp

    encoder, written = str(config["encoder_name"]), folder / _DESCRIPTION
    if given is None and not written.is_file():
        raise SettingError(
            f"{folder} is of segmentation-models-pytorch, which names no classes and no size. Write them into a YAML "
            "file and pass it with --description"
        )
    if given is None:
        described = ModelDescription.from_dict(read_json(written))
    else:
        if (given.mean, given.std) == (SourceDescription().mean, SourceDescription().std):
            usual = normalization_of(encoder)
            given = replace(given, mean=usual.mean, std=usual.std)
        described = given.model_description(str(config.get("_model_class", "unknown")).lower(), encoder)
    with quietly(), contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        network = _loaded(folder, lambda **_: smp.from_pretrained(str(folder), encoder_weights=None))
    return _torch_model(network, described)


def _torch_model(network: nn.Module, description: ModelDescription) -> OriginalModel:
    whole = SegmentationNetwork(network, description.normalization).eval()
    reference = TorchRuntime(description, whole, torch.device("cpu"))
    return OriginalModel("torch", reference, partial(to_onnx, whole, description.input_size))


class _Logits(nn.Module):
    """A network of transformers that takes and returns tensors."""

    def __init__(self, network: Any, *, flips: bool) -> None:
        super().__init__()
        self.network = network
        self.flips = flips

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=image.flip(1) if self.flips else image).logits
        return logits


def stated_licence(folder: Path, config: Mapping[str, Any]) -> str:
    """Return the licence that the model's card states, and NVIDIA's for a SegFormer."""
    stated = ""
    with contextlib.suppress(Exception):  # a card is free text; without one, nothing is stated
        data = huggingface_hub.ModelCard((folder / "README.md").read_text(encoding="utf-8")).data.to_dict()  # type: ignore[no-untyped-call]
        stated = " ".join(str(data[key]) for key in ("license", "license_name", "license_link") if data.get(key))
    kinds = {config.get("model_type"), (config.get("backbone_config") or {}).get("model_type")}
    is_nvidias = "segformer" in kinds or str(config.get("encoder_name")).startswith("mit_b")
    return ". ".join(
        part for part in (stated and f"Its card states: {stated}", is_nvidias and SEGFORMER_LICENCE) if part
    )
