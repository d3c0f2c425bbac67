"""From a network of torch to the content of a model file that was shown to agree with it."""

from __future__ import annotations

import contextlib
import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clothseg.errors import SettingError
from clothseg.export.agreement import Agreement, check_sizes, compare, refuse_disagreement
from clothseg.export.graph import OPSET, to_onnx
from clothseg.export.photos import CheckPhotos
from clothseg.model.description import ModelDescription
from clothseg.model.network import SegmentationNetwork
from clothseg.prediction.model_file import ModelFile, seal_model
from clothseg.prediction.runtimes import Runtime
from clothseg.prediction.runtimes.onnxruntime import OnnxRuntime
from clothseg.prediction.runtimes.openvino import OpenVINORuntime
from clothseg.prediction.runtimes.torch import TorchRuntime


@dataclass(frozen=True)
class PortableModel:
    """A model file that is ready to be written."""

    file: ModelFile
    agreements: Mapping[str, Agreement]
    """By runtime: torch, openvino, and where they are here, openvino bf16 and onnxruntime."""


def make_portable(description: ModelDescription, network: SegmentationNetwork, photos: CheckPhotos) -> PortableModel:
    """Export a network, and compare it with torch on `photos` in every runtime that is installed.

    Raises:
        ModelError: the network cannot be exported, or what came out disagrees with torch.
        InputError: a photo cannot be read.
        MissingExtraError: what exports is not installed.
    """
    graph = to_onnx(network)
    reference = TorchRuntime(description, network.eval(), torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        unchecked = Path(folder) / "model.onnx"
        unchecked.write_bytes(seal_model(graph, description, {}))
        others = _runtimes(unchecked)
        for name in _exact(others):
            check_sizes(reference, others[name], description)
        agreements = compare(reference, others, photos)
    for name in _exact(others):
        refuse_disagreement(agreements[name])
    content = seal_model(graph, description, _check(agreements, photos))
    return PortableModel(ModelFile.from_bytes(content), agreements)


def _runtimes(model_path: Path) -> dict[str, Runtime]:
    runtimes: dict[str, Runtime] = {"openvino": OpenVINORuntime.open(model_path, precision="fp32")}
    with contextlib.suppress(SettingError):  # this CPU has no bfloat16
        runtimes["openvino bf16"] = OpenVINORuntime.open(model_path, precision="bf16")
    if importlib.util.find_spec("onnxruntime") is not None:
        runtimes["onnxruntime"] = OnnxRuntime.open(model_path)
    return runtimes


def _exact(runtimes: Mapping[str, Runtime]) -> list[str]:
    """Return the names of those that compute in float32, which must agree; bfloat16 is measured, and judged by use."""
    return [name for name in runtimes if name != "openvino bf16"]


def _check(agreements: Mapping[str, Agreement], photos: CheckPhotos) -> dict[str, Any]:
    """Return what the model file keeps of the check."""
    rounded = agreements.get("openvino bf16") if photos.is_real else None
    return {
        "photos": photos.origin,
        "real_photos": photos.is_real,
        "truth": photos.has_truth,
        "torch": str(torch.__version__),
        "opset": OPSET,
        "agreement": {name: one.to_dict() for name, one in agreements.items() if name != "torch"},
        "bf16_miou_change": None if rounded is None else rounded.miou_change,
        "bf16_share_differing": None if rounded is None else rounded.share_differing,
    }
