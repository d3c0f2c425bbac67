"""A network of torch as an ONNX graph for any number of photos of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from clothseg import __version__
from clothseg.errors import ModelError, one_line, require
from clothseg.transforms import STRIDE

OPSET = 20
"""Version of ONNX's operators: the first with GELU, read by OpenVINO from 2024.0 and ONNX Runtime from 1.17."""

_EXAMPLE = (2, 8 * STRIDE, 7 * STRIDE)
"""Photos, height and width of the traced input: none of them 1 and no two alike, so that none is taken for fixed."""


class _Rows(nn.Module):
    """A network that takes photos as they lie in memory, rows of RGB bytes."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.network(image.permute(0, 3, 1, 2))
        return logits


def to_onnx(network: nn.Module) -> bytes:
    """Return the network as a serialised ONNX model.

    Its input `image` is (B, h, w, 3) uint8 RGB, h and w multiples of 32: what a decoder of photos gives, so that
    nothing is converted or copied outside the graph, which normalises. Its output `logits` is (B, C, h, w) float32.

    Args:
        network: takes (B, 3, h, w) uint8 RGB, in evaluation mode.

    Raises:
        ModelError: the network has a part that ONNX cannot express.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    for module in ("onnx", "onnxscript"):
        require(module, "train")
    count, height, width = _EXAMPLE
    example = torch.zeros(count, height, width, 3, dtype=torch.uint8)
    rows, columns = torch.export.Dim("rows"), torch.export.Dim("columns")
    try:
        with _quietly():
            program = torch.onnx.export(
                _Rows(network).eval(),
                (example,),
                dynamo=True,
                verbose=False,
                input_names=["image"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamic_shapes={"image": {0: torch.export.Dim("batch"), 1: STRIDE * rows, 2: STRIDE * columns}},
            )
        assert program is not None
        model = program.model_proto
    except Exception as error:  # the exporter raises nearly anything on what it cannot express
        raise ModelError(
            f"The network cannot be written as ONNX ({_reason(error)}). Predict with the checkpoint itself, or "
            "train another ARCHITECTURE or ENCODER_NAME: unet and fpn can be written with nearly all encoders"
        ) from error
    return _tidied(model)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what the exporter tells its own developers off the screen; whether it did well is measured afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Return what was wrong at first: the exporter wraps it in pages of advice to its own developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {one_line(error)[:200]}"


def _tidied(model: Any) -> bytes:
    """Return the bytes of a ModelProto without the exporter's notes, which are a megabyte and tell file paths."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    graph.name = "clothseg"
    model.producer_name, model.producer_version = "clothseg", __version__
    for value in (*graph.input, *graph.output):
        places = (0, 1, 2) if value.name == "image" else (0, 2, 3)
        for place, name in zip(places, ("batch", "height", "width"), strict=True):
            value.type.tensor_type.shape.dim[place].dim_param = name
    return bytes(model.SerializeToString(deterministic=True))
