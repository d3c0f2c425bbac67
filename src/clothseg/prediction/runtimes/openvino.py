"""Runs an exported model with OpenVINO on the CPU, in bfloat16 where that is fast and hardly changes the masks."""

from __future__ import annotations

import gc
import importlib
import platform
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from clothseg.cores import num_cores, num_threads
from clothseg.errors import MachineError, MissingExtraError, ModelError, SettingError, one_line
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import class_logits
from clothseg.prediction.runtimes.compiled import CompiledNetworks
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.types import Float32Array, UInt8Array

_CONVERTER = "openvino.tools.ovc"
_FAST_BF16 = {"amx_bf16", "avx512_bf16"}
_MAX_SIZES = 6
"""Sizes whose compiled networks are kept: each takes about 80 MB for a small encoder, 0.2 s to make."""
_MOST_STORED = 2
"""Compiled networks that one process stores: a camera's upright and lying photos. Many sizes would fill the cache."""
_MAX_STREAMS = 8

_Size = tuple[int, int]


@dataclass(frozen=True)
class _Compiled:
    """A network compiled for one size of input, with as many requests as it computes at a time."""

    requests: SimpleQueue[Any]
    """The free ones; each has memory for one photo."""
    network: Any = field(repr=False)
    content: Any = field(repr=False)
    """Of the cached file: the network's weights are in it, and OpenVINO does not keep it."""


class OpenVINORuntime:
    """A network of OpenVINO.

    Each size of input gets a network compiled for it, so that a photo's logits are the same bits whatever was computed
    before and in any process: one compiled for any size runs slower and gives slightly others. The shorter
    side is a multiple of 32, so there are few sizes; the most frequent ones have their own network.

    Args:
        description: the description in the model file.
        read: returns an `openvino.Model` with one output, whose batch, height and width are open; called once at most.
        precision: fp32 or bf16.
        sha256: of the model file.
        streams: photos computed at a time, each on its share of the cores. One stream is fastest for one photo; one on
            each core gives the most photos a second.
        stored: the compiled networks of this model that earlier processes left, and where new ones go; None for none.
    """

    def __init__(
        self,
        description: ModelDescription,
        read: Callable[[], Any],
        precision: str,
        *,
        sha256: str = "",
        streams: int = 1,
        stored: CompiledNetworks | None = None,
    ) -> None:
        self.description = description
        self.precision = precision
        self.sha256 = sha256
        self.streams = streams
        self._model = cache(read)
        self._stored = stored
        self._compiled: dict[_Size, _Compiled] = {}
        self._seen: Counter[_Size] = Counter()
        self._lock = Lock()
        self._num_stored = 0
        if stored is None or stored.is_empty():
            self._model()  # an error is found now; where there are compiled networks, there was none

    @classmethod
    def open(
        cls,
        model_path: Path,
        *,
        device: str = "auto",
        precision: str = "auto",
        many_photos: bool = False,
        one_photo: bool = False,
        classes: str | None = None,
    ) -> OpenVINORuntime:
        """Load an exported model; see `predictor.load`.

        Raises:
            ModelError: the file is damaged or foreign.
            SettingError: another device, a precision that this CPU or the model does not have, or classes that the
                model lacks.
            MissingExtraError: openvino is not installed.
        """
        if device not in ("auto", "cpu"):
            raise SettingError(f"OpenVINO runs on the CPU here, not on {device!r}. Allowed: auto, cpu")
        openvino = import_openvino()  # its error says what to install
        core = one_core()
        file = ModelFile.read(model_path, checks_weights=False)  # `read` below does
        description = file.description.with_classes(classes)
        precision = file.precision_of_rest(precision)
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has_bf16:
            raise SettingError("This CPU has no bfloat16. Allowed: auto, fp32, int8")
        if precision == "auto":
            precision = "bf16" if has_bf16 and file.allows_bf16 and multiplies_bf16() else "fp32"
        sha256 = file.sha256
        del file  # its content would be in memory twice

        def read() -> Any:
            if ModelFile.read(model_path).sha256 != sha256:
                raise ModelError(f"Model has changed since it was loaded: {model_path}. Load it again")
            try:
                # By its path: from memory, OpenVINO copies the weights once more, a tenth of a second for a large one.
                model = core.read_model(model_path)
                if len(model.outputs) > 1:  # what only the others need is not computed
                    model = openvino.Model([model.output(description.output)], model.get_parameters())
            except RuntimeError as error:
                raise ModelError(f"OpenVINO does not read {model_path}: {one_line(error)[:200]}") from error
            return model

        streams = min(num_threads() or num_cores(), _MAX_STREAMS) if many_photos else 1
        cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
        decisive = (openvino.__version__, *cpu, sha256, description.output, precision, num_threads(), streams)
        stored = None
        with suppress(MachineError):
            stored = CompiledNetworks.of(*decisive)
        runtime = cls(description, read, precision, sha256=sha256, streams=streams, stored=stored)
        if not one_photo:
            runtime._model()  # the file may go or change before another size needs it
        return runtime

    @property
    def name(self) -> str:
        """What runs the network, and how."""
        formats = self.description.precision, self.precision
        return ", ".join(["OpenVINO on cpu", *(one for one in formats if one != "fp32")])

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network on (B, h, w, 3) uint8 RGB; see `Runtime.logits`."""
        openvino = sys.modules["openvino"]
        images = np.require(batch, requirements=("C", "W"))
        count, height, width = images.shape[:3]
        try:
            compiled = self._compiled_for((height, width))
            logits = np.empty((count, *compiled.network.output(self.description.output).shape[1:]), dtype=np.float32)
            request = compiled.requests.get()
            try:
                for number in range(count):
                    request.set_input_tensor(openvino.Tensor(images[number : number + 1], shared_memory=True))
                    request.set_output_tensor(openvino.Tensor(logits[number : number + 1], shared_memory=True))
                    request.infer()
            finally:
                compiled.requests.put(request)
        except RuntimeError as error:  # what OpenVINO raises on a size that some layer cannot take
            raise ModelError(
                f"OpenVINO cannot run this model on {height} x {width} pixels: {one_line(error)[:200]}"
            ) from error
        return class_logits(logits, self.description, (height, width))

    def _compiled_for(self, size: _Size) -> _Compiled:
        with self._lock:
            self._seen[size] += 1
            if size not in self._compiled:
                if len(self._compiled) == _MAX_SIZES:  # its memory is free before the next takes some
                    del self._compiled[min(self._compiled, key=self._seen.__getitem__)]
                network, content = self._network(size)
                requests: SimpleQueue[Any] = SimpleQueue()
                for _ in range(self.streams):
                    requests.put(network.create_infer_request())
                self._compiled[size] = _Compiled(requests, network, content)
            return self._compiled[size]

    def _network(self, size: _Size) -> tuple[Any, Any]:
        """Return the `openvino.CompiledModel` of a size and the file that it is from; make and store it if needed."""
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY" if self.streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": self.streams,
            # Else each process binds its threads from the first core on, and two of them share one core.
            "ENABLE_CPU_PINNING": False,
        }
        if (threads := num_threads()) is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        if self.description.precision == "int8" and _has_snippets():
            options["SNIPPETS_MODE"] = "DISABLE"
        if self._stored and (content := self._stored.read(size)) is not None:
            with suppress(RuntimeError):  # another one of this version cannot read it
                tensor = sys.modules["openvino"].Tensor(content, shared_memory=True)
                network = one_core().import_model(tensor, "CPU", options)
                self._stored.release(content)  # most weights have been copied: 22 MB of the starter model
                return network, content
        model = self._model().clone()
        model.reshape([1, *size, 3])
        network = one_core().compile_model(model, "CPU", options)
        if self._stored and self._num_stored < _MOST_STORED:
            self._num_stored += 1
            self._stored.write(size, network.export_model().getbuffer())
        return network, None


@cache
def _has_snippets() -> bool:
    """Return whether this OpenVINO compiles chains of small layers together, and lets that be switched off.

    A network in int8 without takes a third less to read from the cache, and runs 4% slower: a gain for one photo, and
    all processes are to give the same bits. Source: OpenVINO's src/plugins/intel_cpu/src/internal_properties.hpp; it
    is no documented property.
    """
    try:
        one_core().set_property("CPU", {"SNIPPETS_MODE": "ENABLE"})  # as it is by default
    except RuntimeError:
        return False
    return True


@cache
def one_core() -> Any:
    """Return the only `openvino.Core` of this process, which is never deleted.

    On Linux each Core's CPU plugin installs a stack for signal handlers and, when it ends, puts back the one before.
    Where Cores end in another order than they began, that one is gone already, and the next signal with a handler of
    Python's (Ctrl-C, SIGTERM, a child that ends) kills the process. Seen with OpenVINO 2026.4.
    """
    return import_openvino().Core()


def import_openvino() -> ModuleType:
    """Import OpenVINO without its model converter, which would double the time and is not needed to run a model.

    OpenVINO ignores a converter that cannot be imported, as some installations lack it; None in `sys.modules` has that
    effect. Source: "The module cache" in Python's language reference. For whoever else uses OpenVINO
    in this process, `openvino.convert_model` still works.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    is_first = "openvino" not in sys.modules and _CONVERTER not in sys.modules
    collects = gc.isenabled()
    gc.disable()  # nothing of an import is garbage
    if is_first:
        sys.modules[_CONVERTER] = None  # type: ignore[assignment]
    try:
        openvino = importlib.import_module("openvino")
    except ModuleNotFoundError as error:
        raise MissingExtraError("openvino is not installed. Install it with: pip install openvino") from error
    finally:
        if collects:
            gc.enable()
        if is_first:
            del sys.modules[_CONVERTER]
    if is_first and not hasattr(openvino, "convert_model"):
        setattr(openvino, "convert_model", _convert_model)  # noqa: B010 - no attribute that a type checker knows
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


def prefers_int8(*, runtime: str, precision: str) -> bool:
    """Return whether a model that is there in fp32 and in int8 is to compute in int8.

    That is so where it was asked for, and for auto with OpenVINO on the CPUs on which int8 was measured to be faster:
    x86, without instructions for bfloat16.
    """
    if precision != "auto" or runtime not in ("auto", "openvino"):
        return precision == "int8"
    return platform.machine().lower() in ("x86_64", "amd64") and not multiplies_bf16()


def multiplies_bf16() -> bool:
    """Return whether the CPU has instructions for bfloat16; OpenVINO's own answer also counts CPUs that emulate it.

    Known on Linux only; elsewhere bfloat16 is used when asked for, and the packaged model takes int8 on each x86 CPU.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return not _FAST_BF16.isdisjoint(flags.split())
