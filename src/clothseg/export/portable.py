"""A network in a portable format, ONNX or smp's own, whose results agree with those of torch."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from clothseg import __version__
from clothseg.errors import ModelError, one_line, require
from clothseg.export.agreement import OPSET, check_sizes, quietly
from clothseg.model.description import ModelDescription
from clothseg.model.network import SegmentationNetwork
from clothseg.prediction.runtimes.torch import TorchRuntime
from clothseg.transforms import STRIDE

_EXAMPLE = (2, 8 * STRIDE, 7 * STRIDE)
"""Photos, height and width of the traced input: all differ and none is 1, so the exporter takes none as constant."""


def smp_files(description: ModelDescription, network: SegmentationNetwork) -> Mapping[str, bytes]:
    """Return the files of a folder that `smp.from_pretrained` loads, by name, after comparing what it gives.

    Its input is normalised pixels; `clothseg.json` is the description, with mean and standard deviation. There is no
    README.md: the one that smp writes names a wrong licence.

    Raises:
        ModelError: the network that smp loads gives other logits.
    """
    inner: Any = network.network
    with tempfile.TemporaryDirectory() as folder:
        inner.save_pretrained(folder)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            loaded = SegmentationNetwork(smp.from_pretrained(folder), description.normalization).eval()
        files = {name: (Path(folder) / name).read_bytes() for name in ("config.json", "model.safetensors")}
    reference, other = (TorchRuntime(description, one, torch.device("cpu")) for one in (network, loaded))
    check_sizes(reference, other)
    return {**files, "clothseg.json": json.dumps(description.to_dict(), indent=1).encode() + b"\n"}


class _Rows(nn.Module):
    """A network that takes photos as decoders return them, rows of RGB bytes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image.permute(0, 3, 1, 2))
        return logits


def to_onnx(network: nn.Module, size: tuple[int, int] | None = None, *, outputs: Sequence[str] = ("logits",)) -> bytes:
    """Return the network as a serialised ONNX model.

    Its input `image` is (B, h, w, 3) uint8 RGB, h and w multiples of 32: what a decoder of photos gives, so that
    nothing is converted or copied before the graph, which normalises. Its output `logits` is (B, C, h, w) float32.
    The network takes (B, 3, h, w) uint8 RGB; `size` is (h, w) where its input has one size only. See
    `ModelDescription.categories` for other outputs.

    Raises:
        ModelError: the network has a part that ONNX cannot express.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    for module in ("onnx", "onnxscript"):
        require(module, "train")
    count, height, width = _EXAMPLE if size is None else (_EXAMPLE[0], *size)
    example = torch.zeros(count, height, width, 3, dtype=torch.uint8)
    shapes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if size is None:
        shapes |= {1: STRIDE * torch.export.Dim("rows"), 2: STRIDE * torch.export.Dim("columns")}
    try:
        with quietly():
            program = torch.onnx.export(
                _Rows(network).eval(),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=list(outputs),
                opset_version=OPSET,
                dynamic_shapes={"image": shapes},
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # the exporter raises nearly anything on what it cannot express
        raise ModelError(
            f"The network cannot be written as ONNX ({_reason(error)}). Predict with the original itself, or use "
            "another network: ARCHITECTURE unet and fpn can be written with nearly all encoders"
        ) from error
    return tidied(model)


def _reason(error: BaseException) -> str:
    """Return the first cause: the exporter wraps it in pages of advice to its own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def tidied(model: Any) -> bytes:
    """Return the bytes of a ModelProto without the exporter's notes, which take a megabyte and contain file paths."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    graph.name = "clothseg"
    model.producer_name, model.producer_version = "clothseg", __version__
    for value in (*graph.input, *graph.output):
        axes = (0, 1, 2) if value.name == "image" else (0, 2, 3)
        sides = ("half_height", "half_width") if value.name == "categories" else ("height", "width")
        for axis, name in zip(axes, ("batch", *sides), strict=True):
            dimension = value.type.tensor_type.shape.dim[axis]
            if not dimension.HasField("dim_value"):
                dimension.dim_param = name
    return bytes(model.SerializeToString(deterministic=True))
