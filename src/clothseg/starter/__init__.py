"""The packaged model that segments photos before you have trained one."""

from __future__ import annotations

from pathlib import Path

MODEL_NAME = "clothseg-starter.onnx"
"""How it was made, what it knows and where it fails: MODEL_CARD.md."""


def starter_model() -> Path | None:
    """Return the path of the packaged model; None in an installation that was stripped of it."""
    path = Path(__file__).with_name(MODEL_NAME)
    return path if path.is_file() else None
