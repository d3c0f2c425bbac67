"""Runs an exported model with OpenVINO on the CPU, in bfloat16 where that is fast and was shown to change nothing."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from clothseg.errors import MissingExtraError, ModelError, SettingError, one_line
from clothseg.model.description import ModelDescription
from clothseg.prediction.model_file import ModelFile
from clothseg.prediction.runtimes.batches import check_batch
from clothseg.prediction.runtimes.threads import num_threads

_CONVERTER = "openvino.tools.ovc"
_FAST_BF16 = {"amx_bf16", "avx512_bf16"}
_LEAD = 16
"""How many photos more than the present owner a size must have had before it gets the compiled network of its own."""

_Size = tuple[int, int]


class OpenVINORuntime:
    """A network of OpenVINO.

    A network compiled for one size of input runs up to a third faster than one for any size, and starts faster; a
    folder holds photos of many sizes, and each compiled network takes memory. So there are at most two: one for the
    size that occurs most, and one for all the others, compiled when the first of them comes.

    Args:
        description: what the model file says of itself.
        model: an `openvino.Model` whose batch, height and width are open.
        precision: fp32 or bf16.
    """

    def __init__(self, description: ModelDescription, model: Any, precision: str) -> None:
        self.description = description
        self.precision = precision
        self._model = model
        self._for_one_size: tuple[_Size, Any] | None = None
        self._for_any_size: Any = None
        self._seen: Counter[_Size] = Counter()
        self._lock = Lock()  # a request computes one input at a time; the cores are all its own

    @classmethod
    def open(cls, model_path: Path, *, device: str = "auto", precision: str = "auto") -> OpenVINORuntime:
        """Load an exported model.

        Args:
            model_path: a file that `clothseg export` wrote.
            device: auto or cpu.
            precision: fp32, bf16, or auto, which takes bf16 where the CPU multiplies it and the export's own check on
                real photos showed that it changes next to nothing.

        Raises:
            ModelError: the file is damaged or foreign.
            SettingError: another device, or a precision that this CPU does not have.
            MissingExtraError: openvino is not installed.
        """
        if device not in ("auto", "cpu"):
            raise SettingError(f"OpenVINO runs on the CPU here, not on {device!r}. Allowed: auto, cpu")
        import_openvino()  # says what to install where it is not there
        core = one_core()
        file = ModelFile.read(model_path)
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise SettingError("This CPU has no bfloat16. Allowed: auto, fp32")
        if precision == "auto":
            precision = "bf16" if has_bf16 and file.allows_bf16 and multiplies_bf16() else "fp32"
        try:
            # By its path: from memory, OpenVINO copies the weights once more, a tenth of a second for a large encoder.
            return cls(file.description, core.read_model(model_path), precision)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO does not read {model_path}: {one_line(error)[:200]}") from error

    @property
    def name(self) -> str:
        """What runs the network, and how."""
        return f"OpenVINO on cpu{', bf16' if self.precision == 'bf16' else ''}"

    def logits(self, batch: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the network on (B, h, w, 3) uint8 RGB; see `Runtime.logits`."""
        check_batch(batch)
        openvino = sys.modules["openvino"]
        images = np.require(batch, requirements=("C", "W"))
        count, height, width = images.shape[:3]
        logits = np.empty((count, self.description.classes.num_classes, height, width), dtype=np.float32)
        with self._lock:
            try:
                for number in range(count):
                    request = self._request((height, width))
                    request.set_input_tensor(openvino.Tensor(images[number : number + 1], shared_memory=True))
                    request.set_output_tensor(openvino.Tensor(logits[number : number + 1], shared_memory=True))
                    request.infer()
            except RuntimeError as error:  # what OpenVINO raises on a size that some layer cannot take
                raise ModelError(
                    f"OpenVINO cannot run this model on {height} x {width} pixels: {one_line(error)[:200]}"
                ) from error
        return logits

    def _request(self, size: _Size) -> Any:
        """Return what computes one photo of `size`, (height, width)."""
        self._seen[size] += 1
        owner, request = self._for_one_size or (size, None)
        if request is None or (size != owner and self._seen[size] > self._seen[owner] + _LEAD):
            self._for_one_size = None  # its memory is free before the next takes some
            owner, request = self._for_one_size = size, self._compiled([1, *size, 3])
        if size == owner:
            return request
        if self._for_any_size is None:
            self._for_any_size = self._compiled([1, -1, -1, 3])
        return self._for_any_size

    def _compiled(self, shape: list[int]) -> Any:
        model = self._model.clone()
        model.reshape(shape)
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        if (threads := num_threads()) is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        return one_core().compile_model(model, "CPU", options).create_infer_request()


@cache
def one_core() -> Any:
    """Return the one `openvino.Core` of this process, which lives as long as the process.

    On Linux each Core's CPU plugin installs a stack for signal handlers and, when it ends, puts back the one before.
    Where Cores end in another order than they began, that one is gone already, and the next signal with a handler of
    Python's (Ctrl-C, SIGTERM, a child that ends) kills the process. Seen with OpenVINO 2026.4.
    """
    return import_openvino().Core()


def import_openvino() -> ModuleType:
    """Import OpenVINO without its model converter, which would double the time and is not needed to run a model.

    OpenVINO passes over a converter that cannot be imported, as there are installations without it; None in
    `sys.modules` makes it so. Source: "The module cache" in Python's language reference. For whoever else uses OpenVINO
    in this process, `openvino.convert_model` still works.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    is_first = "openvino" not in sys.modules and _CONVERTER not in sys.modules
    if is_first:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        openvino = importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise MissingExtraError("openvino is not installed. Install it with: pip install openvino") from error
    finally:
        if is_first:
            del sys.modules[_CONVERTER]
    if is_first and not hasattr(openvino, "convert_model"):
        setattr(openvino, "convert_model", _convert_model)  # noqa: B010 - no attribute that a type checker knows
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


def multiplies_bf16() -> bool:
    """Say whether the CPU has instructions for bfloat16; OpenVINO's own answer also counts CPUs that emulate it.

    Known on Linux only; elsewhere bfloat16 is used when asked for.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return not _FAST_BF16.isdisjoint(flags.split())
