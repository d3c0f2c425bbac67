"""What runs a network: chosen by the model file, imported only when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from clothseg.errors import ModelError, SettingError, check_input, require
from clothseg.model.description import ModelDescription
from clothseg.types import Float32Array, UInt8Array

RUNTIMES_BY_SUFFIX = {".ckpt": ("torch",), ".onnx": ("openvino", "onnxruntime")}
"""The runtimes of each kind of model file; the first is taken unasked."""

PRECISIONS = ("auto", "fp32", "bf16")


class Runtime(Protocol):
    """A network that is loaded and ready."""

    @property
    def name(self) -> str:
        """What runs it and where, for people, such as "torch on cpu"."""

    @property
    def description(self) -> ModelDescription:
        """What the model file says of itself."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file, in hexadecimal."""

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network.

        Args:
            batch: (B, h, w, 3) uint8 RGB, h and w multiples of 32.

        Returns:
            (B, C, h, w) float32.
        """


@runtime_checkable
class Streaming(Runtime, Protocol):
    """A network that can compute several photos at a time, each on its share of the cores."""

    @property
    def streams(self) -> int:
        """How many threads may ask it at a time; more would wait."""

    def for_many(self) -> Streaming:
        """Return the same network with as many streams as give the most photos a second; results are the same bits."""


def open_runtime(model_path: Path, *, runtime: str = "auto", device: str = "auto", precision: str = "auto") -> Runtime:
    """Load a model file into a runtime it is made for.

    Args:
        model_path: a model file; its ending says what it is.
        runtime: auto, or the name of a runtime: torch for checkpoints, openvino or onnxruntime for exported models.
        device: auto, or where to run, such as cpu, cuda or mps.
        precision: fp32, bf16, or auto: bf16 where it is fast and was shown to change next to nothing, which only an
            exported model knows of itself.

    Raises:
        MissingModelError: there is no such file.
        ModelError: its ending is unknown, or it is damaged.
        SettingError: the runtime, the device or the precision does not fit.
        MissingExtraError: the runtime is not installed.
    """
    check_input(model_path, "Model", "Train one with: uv run train.py, or pass --ckpt PATH", error=ModelError)
    fitting = RUNTIMES_BY_SUFFIX.get(model_path.suffix.lower())
    if fitting is None:
        raise ModelError(f"Not a model file: {model_path}. Allowed endings: {', '.join(RUNTIMES_BY_SUFFIX)}")
    if runtime not in ("auto", *fitting):
        raise SettingError(
            f"The runtime {runtime!r} does not run {model_path.name}. Allowed: {', '.join(('auto', *fitting))}"
        )
    if precision not in PRECISIONS:
        raise SettingError(f"Unknown precision {precision!r}. Allowed: {', '.join(PRECISIONS)}")
    chosen = fitting[0] if runtime == "auto" else runtime
    if chosen == "openvino":
        from clothseg.prediction.runtimes.openvino import OpenVINORuntime

        return OpenVINORuntime.open(model_path, device=device, precision=precision)
    if chosen == "onnxruntime":
        from clothseg.prediction.runtimes.onnxruntime import OnnxRuntime

        return OnnxRuntime.open(model_path, device=device, precision=precision)
    require("torch", "train")
    from clothseg.prediction.runtimes.torch import TorchRuntime

    return TorchRuntime.open(model_path, device=device, bf16=precision == "bf16")
