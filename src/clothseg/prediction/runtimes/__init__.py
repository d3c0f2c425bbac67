"""What runs a network: chosen by the model file, imported only when it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from clothseg.errors import MissingModelError, ModelError, SettingError, require
from clothseg.model.description import ModelDescription

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

RUNTIME_BY_SUFFIX = {".ckpt": "torch"}
"""The runtime of each kind of model file."""


class Runtime(Protocol):
    """A network that is loaded and ready."""

    @property
    def name(self) -> str:
        """What runs it and where, for people, such as "torch on cpu"."""

    @property
    def description(self) -> ModelDescription:
        """What the model file says of itself."""

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network.

        Args:
            batch: (B, h, w, 3) uint8 RGB, h and w multiples of 32.

        Returns:
            (B, C, h, w) float32.
        """


def open_runtime(model_path: Path, *, runtime: str = "auto", device: str = "auto") -> Runtime:
    """Load a model file into the runtime it is made for.

    Args:
        model_path: a model file; its ending says what it is.
        runtime: auto, or the name of a runtime, to refuse files of any other.
        device: auto, or where to run, such as cpu, cuda or mps.

    Raises:
        MissingModelError: there is no such file.
        ModelError: its ending is unknown, or it is damaged.
        SettingError: the runtime or the device does not fit.
        MissingExtraError: the runtime is not installed.
    """
    if not model_path.exists():
        raise MissingModelError(f"Model not found: {model_path}. Train one with: uv run train.py, or pass --ckpt PATH")
    allowed = ", ".join(RUNTIME_BY_SUFFIX)
    fitting = RUNTIME_BY_SUFFIX.get(model_path.suffix.lower())
    if fitting is None:
        raise ModelError(f"Not a model file: {model_path}. Allowed endings: {allowed}")
    if runtime not in ("auto", fitting):
        raise SettingError(f"The runtime {runtime!r} does not run {model_path.name}. Allowed: auto, {fitting}")
    require("torch", "train")
    from clothseg.prediction.runtimes.torch import TorchRuntime

    return TorchRuntime.open(model_path, device=device)
