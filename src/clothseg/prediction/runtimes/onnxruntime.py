"""Runs an exported model with ONNX Runtime on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from clothseg.cores import num_threads
from clothseg.errors import ModelError, SettingError, one_line, require
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import class_logits
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.types import Float32Array, UInt8Array

_ONLY_ERRORS = 3


@dataclass(frozen=True, eq=False)
class OnnxRuntime:
    """A network of ONNX Runtime."""

    description: ModelDescription
    session: Any
    """onnxruntime.InferenceSession."""
    sha256: str = ""

    streams: ClassVar[int] = 1

    @classmethod
    def open(
        cls, model_path: Path, *, device: str = "auto", precision: str = "auto", classes: str | None = None
    ) -> OnnxRuntime:
        """Load an exported model.

        Raises:
            ModelError: the file is damaged or foreign.
            SettingError: another device than the CPU, a precision that ONNX Runtime or the model does not have, or
                classes that the model lacks.
            MissingExtraError: onnxruntime is not installed.
        """
        onnxruntime = require("onnxruntime", "onnxruntime")
        if device not in ("auto", "cpu"):
            raise SettingError(f"ONNX Runtime runs on the CPU here, not on {device!r}. Allowed: auto, cpu")
        file = ModelFile.read(model_path)
        if file.precision_of_rest(precision) not in ("auto", "fp32"):
            raise SettingError(f"ONNX Runtime does not compute in {precision!r}. Allowed: auto, fp32, int8")
        description = file.description.with_classes(classes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads() or 0
        options.log_severity_level = _ONLY_ERRORS
        try:
            session = onnxruntime.InferenceSession(file.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class but this
            raise ModelError(f"ONNX Runtime does not run {model_path}: {one_line(error)[:200]}") from error
        return cls(description, session, file.sha256)

    @property
    def name(self) -> str:
        """What runs the network, and how."""
        return f"ONNX Runtime on cpu{', int8' if self.description.precision == 'int8' else ''}"

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network on (B, h, w, 3) uint8 RGB; see `Runtime.logits`."""
        try:
            (logits,) = self.session.run([self.description.output], {"image": batch})
        except Exception as error:  # its errors have no common class but this
            height, width = batch.shape[1:3]
            raise ModelError(
                f"ONNX Runtime cannot run this model on {height} x {width} pixels: {one_line(error)[:200]}"
            ) from error
        return class_logits(np.asarray(logits, dtype=np.float32), self.description, batch.shape[1:3])
