"""clothseg finds the clothes in a photo: data, training, prediction and scores for 13 classes of garments."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clothseg.prediction.predictor import Outcome, Predictor, load
    from clothseg.prediction.segmentation import Label, Segmentation
    from clothseg.prediction.test_time_augmentation import TestTimeAugmentation

__version__ = "0.2.0"

__all__ = ["Label", "Outcome", "Predictor", "Segmentation", "TestTimeAugmentation", "__version__", "load"]

_HOMES = {
    "load": "clothseg.prediction.predictor",
    "Predictor": "clothseg.prediction.predictor",
    "Outcome": "clothseg.prediction.predictor",
    "TestTimeAugmentation": "clothseg.prediction.test_time_augmentation",
    "Segmentation": "clothseg.prediction.segmentation",
    "Label": "clothseg.prediction.segmentation",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import clothseg` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'clothseg' has no attribute {name!r}. It has: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, for completion in an editor or a notebook."""
    return sorted(__all__)
