"""The best checkpoint of a training, found without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clothseg.errors import ModelError
from clothseg.pictures import write_whole

POINTER_NAME = "best.json"
"""File in a checkpoint folder that names the best checkpoint beside it."""

SAMPLE_NAME = "Drawn by clothseg"
"""Start of the name of the drawn sample, which the checkpoints of a training on it contain."""

EARLIER_FOLDERS = "earlier-*"
"""Folders in a checkpoint folder that hold the checkpoints of trainings before the present one."""


@dataclass(frozen=True)
class BestCheckpoint:
    """The checkpoint with the lowest `val_loss`, and how it scored."""

    path: str
    """File name, in the folder of the pointer."""
    val_loss: float
    val_iou: float
    """Mean IoU over the classes present; NaN if it was not measured."""
    epoch: int
    """The epoch after which it was saved, counted from 0."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Every validation score by its name in TensorBoard, without the classes that the photos do not show."""
    is_sample: bool = False
    """Whether it learned from the drawn sample, so that it is taken only where it is named."""

    def write(self, folder: Path) -> None:
        """Write the pointer into `folder` atomically.

        Raises:
            MachineError: the folder cannot be written.
        """
        scores = {name: _or_none(score) for name, score in self.scores.items()}
        values = vars(self) | {"val_iou": _or_none(self.val_iou), "scores": scores}
        write_whole(folder / POINTER_NAME, (json.dumps(values, indent=1) + "\n").encode(), sync=True)

    @classmethod
    def read(cls, folder: Path) -> BestCheckpoint | None:
        """Read the pointer of `folder`; None where there is none.

        Raises:
            ModelError: the pointer is damaged.
        """
        path = folder / POINTER_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                path=str(values["path"]),
                val_loss=float(values["val_loss"]),
                val_iou=_or_nan(values["val_iou"]),
                epoch=int(values["epoch"]),
                scores={str(name): _or_nan(score) for name, score in values.get("scores", {}).items()},
                is_sample=bool(
                    values["is_sample"] if "is_sample" in values else _names_sample(folder / values["path"])
                ),
            )
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{path} does not name a checkpoint ({error}). Delete it, or name a checkpoint") from error


def find_best(checkpoints_path: Path) -> Path | None:
    """Return the best checkpoint of the newest training in `checkpoints_path` on photos, or None where there is none.

    Raises:
        ModelError: the file that names it is damaged.
    """
    return next((path for path, best in best_of_trainings(checkpoints_path) if not best.is_sample), None)


def best_of_trainings(checkpoints_path: Path) -> Iterator[tuple[Path, BestCheckpoint]]:
    """Yield the best checkpoint of each training in `checkpoints_path`, newest first, and what is known of it.

    Raises:
        ModelError: the file that names one is damaged.
    """
    for folder in (checkpoints_path, *sorted(checkpoints_path.glob(EARLIER_FOLDERS), reverse=True)):
        best = BestCheckpoint.read(folder)
        if best is not None and (folder / best.path).is_file():
            yield folder / best.path, best


def _names_sample(path: Path) -> bool:
    """Return whether a checkpoint says that it learned from the sample: before 0.2.0 pointers did not."""
    return path.is_file() and SAMPLE_NAME.encode() in path.read_bytes()  # torch.save does not compress


def _or_none(score: float) -> float | None:
    return score if math.isfinite(score) else None


def _or_nan(score: float | None) -> float:
    return math.nan if score is None else float(score)
