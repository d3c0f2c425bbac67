"""Runs a training checkpoint with torch, on a CPU or a GPU."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from clothseg.cores import num_threads
from clothseg.errors import SettingError, one_line
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import class_logits
from clothseg.types import Float32Array, UInt8Array


@dataclass(frozen=True, eq=False)
class TorchRuntime:
    """A network of torch."""

    description: ModelDescription
    network: torch.nn.Module
    device: torch.device
    bf16: bool = False
    """Compute in bfloat16: several times as fast where the hardware has it, with slightly other masks."""
    sha256: str = ""

    streams: ClassVar[int] = 1

    @classmethod
    def open(
        cls, model_path: Path, *, device: str = "auto", bf16: bool = False, classes: str | None = None
    ) -> TorchRuntime:
        """Load a checkpoint.

        Raises:
            ModelError: the checkpoint is damaged or foreign.
            SettingError: torch has no such device here, or the model lacks these classes.
        """
        target = _device(device)
        description, network = load_checkpoint(model_path)
        threads = num_threads()
        if target.type == "cpu" and threads is not None and threads < torch.get_num_threads():
            torch.set_num_threads(threads)
        ready = network.eval().to(target).to(memory_format=torch.channels_last)
        with model_path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(description.with_classes(classes), ready, target, bf16, sha256)

    @property
    def name(self) -> str:
        """What runs the network, and where."""
        return f"torch on {self.device.type}{', bf16' if self.bf16 else ''}"

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network on (B, h, w, 3) uint8 RGB; see `Runtime.logits`."""
        # Permuted, rows of RGB pixels are what torch calls channels_last: nothing is copied.
        images = torch.from_numpy(np.require(batch, requirements=("C", "W"))).permute(0, 3, 1, 2).to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            logits = self.network(images)
        planes = np.asarray(logits.float().contiguous().cpu().numpy(), np.float32)
        return class_logits(planes, self.description, batch.shape[1:3])


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise SettingError(
            f"torch cannot use the device {name!r} here ({one_line(error)[:80]}). Allowed: auto, cpu, cuda, mps"
        ) from error
    return device
