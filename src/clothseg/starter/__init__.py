"""The packaged model that segments photos before you have trained one."""

from __future__ import annotations

from pathlib import Path

MODEL_NAMES = {"fp32": "clothseg-starter.onnx", "int8": "clothseg-starter-int8.onnx"}
"""The same network in two number formats. How it was made, what it knows and where it fails: MODEL_CARD.md."""


def starter_model(precision: str = "fp32") -> Path | None:
    """Return the path of the packaged model in a number format; None in an installation that was stripped of it."""
    path = Path(__file__).with_name(MODEL_NAMES[precision])
    return path if path.is_file() else None
