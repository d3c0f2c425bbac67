"""ONNX files of other programs, given the input and output of our portable files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from msgspec.structs import replace

from clothseg.errors import ModelError, SettingError, check_input, one_line, require
from clothseg.export.original import OriginalModel, SourceDescription, labels_of, read_json
from clothseg.export.portable import tidied
from clothseg.model.description import ModelDescription
from clothseg.types import Float32Array, UInt8Array

_Step = tuple[str, list[str], dict[str, Any]]
"""Operator, inputs beside the value that passes through, and attributes of a node."""

_PREFIX = "original/"
_SMALLEST = 1e-12
"""Probabilities below it count as it, so that their logarithm is a number."""


def open_onnx(path: Path, given: SourceDescription | None) -> OriginalModel:
    """Open an ONNX file of another program; without a description, `given`, the YAML file beside it is read.

    Raises:
        ModelError: the file is damaged, ours already, or its input or output do not fit the description.
        SettingError: the description lacks classes or a size.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    check_input(path, "Model", "Pass the path of an ONNX file", error=ModelError)
    onnx, runtime = require("onnx", "train"), require("onnxruntime", "onnxruntime")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(str(path))
    except Exception as error:  # bytes of unknown origin can fail a parser in any way
        raise ModelError(f"Model {path} is damaged or no ONNX file: {one_line(error)[:200]}") from error
    if any(one.key == "clothseg" for one in model.metadata_props):
        raise SettingError(f"{path} is a model of clothseg already. Use it as it is: --ckpt {path}")
    description = given or SourceDescription.read(path.with_suffix(".yaml"))
    if not description.classes:
        description = replace(description, classes=labels_of(read_json(path.parent / "config.json")))
    initializers = {one.name for one in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in initializers]
    outputs = [one.name for one in model.graph.output]
    if len(inputs) != 1 or (description.output and description.output not in outputs):
        raise ModelError(
            f"Model {path} has the inputs {[one.name for one in inputs]} and the outputs {outputs}. It must have one "
            f"input, and the output that the description names ({description.output or 'any'})"
        )
    description = replace(
        description,
        size=_checked_size(inputs[0], description),
        output=description.output or outputs[0],
        source=description.source or path.name,
    )
    described = description.model_description("onnx", path.stem)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    reference = _OriginalRuntime(described, session, description, inputs[0].name)
    return OriginalModel("original", reference, partial(_graph, model, description, inputs[0]))


def _checked_size(graph_input: Any, description: SourceDescription) -> tuple[int, int] | None:
    """Return the size of the input in the file, if it has one, which must be that of the description."""
    shape = [one.dim_value if one.HasField("dim_value") else None for one in graph_input.type.tensor_type.shape.dim]
    sides = shape[2:4] if description.layout == "nchw" else shape[1:3]
    colours = shape[1] if description.layout == "nchw" else shape[-1]
    if len(shape) != 4 or colours not in (3, None):
        raise ModelError(
            f"The network's input has the shape {shape}, which is not {description.layout} with three colours"
        )
    found, wanted = tuple(sides), description.size
    if wanted is not None and any(side not in (None, size) for side, size in zip(found, wanted, strict=True)):
        raise SettingError(
            f"The description says size {list(wanted)}, the network's input is {list(found)}. Correct it"
        )
    if description.resize == "letterbox" and found != (None, None):
        raise SettingError(f"The network's input has one size, {list(found)}, so write resize: squash")
    return wanted or (found if None not in found else None)  # type: ignore[return-value]


def _graph(model: Any, description: SourceDescription, graph_input: Any) -> bytes:
    """Return the model with our input, rows of RGB bytes, and our output, logits, as `portable.to_onnx` does."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.compose.add_prefix(model, _PREFIX)
    graph, kind = model.graph, graph_input.type.tensor_type
    is_first = description.layout == "nchw"
    constants = {
        "scale": np.float32(1) / (np.float32(1 / description.scale) * np.array(description.std, np.float32)),
        "shift": np.array(description.mean, np.float32) / np.array(description.std, np.float32),
        "order": np.array([2, 1, 0], np.int64),
        "smallest": np.array(_SMALLEST, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    before: list[_Step] = [
        ("Cast", ["image"], {"to": TensorProto.FLOAT}),
        ("Mul", ["scale"], {}),
        ("Sub", ["shift"], {}),
    ]
    before += [("Gather", ["order"], {"axis": 3})] if description.channels == "bgr" else []
    before += [("Transpose", [], {"perm": [0, 3, 1, 2]})] if is_first else []
    before += [("Cast", [], {"to": kind.elem_type})]
    after: list[_Step] = [("Cast", [_PREFIX + description.output], {"to": TensorProto.FLOAT})]
    after += [] if is_first else [("Transpose", [], {"perm": [0, 3, 1, 2]})]
    after += [("Max", ["smallest"], {}), ("Log", [], {})] if description.gives == "probabilities" else []
    nodes = [*_chain(before, _PREFIX + graph_input.name, "before"), *graph.node, *_chain(after, "logits", "after")]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    batch = kind.shape.dim[0].dim_value if kind.shape.dim[0].HasField("dim_value") else "batch"
    sides = description.size if description.resize == "squash" else ("height", "width")
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [batch, *(sides or ()), 3]))
    graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, None, None, None]))
    del model.metadata_props[:]
    return tidied(model)


def _chain(steps: Sequence[_Step], last: str, name: str) -> list[Any]:
    """Return nodes of which each takes what the one before gives, beside its own inputs; the last gives `last`."""
    from onnx import helper

    nodes, value = [], ""
    for number, (operator, own, attributes) in enumerate(steps):
        result = last if number + 1 == len(steps) else f"{name}/{number}"
        nodes.append(helper.make_node(operator, [value, *own] if value else own, [result], **attributes))
        value = result
    return nodes


@dataclass(frozen=True, eq=False)
class _OriginalRuntime:
    """The file as it is, in ONNX Runtime, with the preprocessing that its description says, in NumPy."""

    description: ModelDescription
    session: Any
    source: SourceDescription
    input_name: str
    sha256: str = ""

    name: ClassVar[str] = "ONNX Runtime on cpu, as it is"
    streams: ClassVar[int] = 1

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network on (B, h, w, 3) uint8 RGB; see `Runtime.logits`."""
        wanted = self.session.get_inputs()[0].type
        values = (batch * self.source.scale - np.array(self.source.mean)) / np.array(self.source.std)
        values = values[..., ::-1] if self.source.channels == "bgr" else values
        values = values.transpose(0, 3, 1, 2) if self.source.layout == "nchw" else values
        values = values.astype(np.float16 if "float16" in wanted else np.float32)
        try:
            (output,) = self.session.run([self.source.output], {self.input_name: values})
        except Exception as error:  # its errors have no common class but this
            raise ModelError(f"ONNX Runtime cannot run the original: {one_line(error)[:200]}") from error
        output = np.asarray(output, dtype=np.float32)
        output = output if self.source.layout == "nchw" else output.transpose(0, 3, 1, 2)
        return np.log(np.maximum(output, _SMALLEST)) if self.source.gives == "probabilities" else output
