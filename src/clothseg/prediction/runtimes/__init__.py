"""What runs a network: the interface that the runtimes have in common."""

from __future__ import annotations

from typing import Protocol

from clothseg.model.description import ModelDescription
from clothseg.types import Float32Array, UInt8Array


class Runtime(Protocol):
    """A network that is loaded and ready."""

    @property
    def name(self) -> str:
        """What runs it and where, for people, such as "torch on cpu"."""

    @property
    def description(self) -> ModelDescription:
        """The description in the model file."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file, in hexadecimal."""

    @property
    def streams(self) -> int:
        """How many threads may call `logits` at a time."""

    def logits(self, batch: UInt8Array) -> Float32Array:
        """Run the network.

        Args:
            batch: (B, h, w, 3) uint8 RGB, h and w multiples of 32.

        Returns:
            (B, C, h, w) float32.
        """
