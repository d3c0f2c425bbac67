"""Where the masks that are scored come from: a model as users get it, or a folder of masks made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cv2
import numpy as np

from clothseg.data.manifest import instead_of, lookalikes, names_by_stem, stem_of
from clothseg.errors import DataError, MissingInputError
from clothseg.evaluation.class_map import UNKNOWN, IdTable
from clothseg.evaluation.scored_data import ScoredPhoto
from clothseg.pictures import read_mask
from clothseg.prediction.pipeline import in_order
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import MASK_ENDING
from clothseg.types import UInt8Array

Item = TypeVar("Item")
Result = TypeVar("Result")

_MASK_STEM_ENDING = MASK_ENDING.removesuffix(".png")
_THREADS = 2  # files are read and counted; more would only hold more masks at once


class Predictions(Protocol):
    """Gives the predicted mask of each photo."""

    def mask(self, photo: ScoredPhoto) -> UInt8Array:
        """Return the predicted class ids of the data set, (H, W) uint8; InputError says why there are none."""

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, some of them at a time."""

    def origin(self) -> dict[str, Any]:
        """Return what made the masks, as plain values for a report."""


@dataclass(frozen=True)
class ModelPredictions:
    """The masks that a model gives, by the same door as everyone's."""

    predictor: Predictor
    table: IdTable

    def mask(self, photo: ScoredPhoto) -> UInt8Array:
        """Return the predicted class ids, (H, W) uint8.

        Raises:
            InputError: the photo cannot be read.
            ModelError: the network gave no numbers.
        """
        return np.asarray(cv2.LUT(self.predictor.predict(photo.path).mask, self.table), dtype=np.uint8)

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, so that neither cores nor network wait."""
        return self.predictor.in_pipeline(work, items)

    def origin(self) -> dict[str, Any]:
        """Return the model's name, version and SHA-256, what it never saw, what runs it and how it looks at a photo."""
        passes, description = self.predictor.passes, self.predictor.description
        return {
            "kind": "model",
            **self.predictor.model,
            "licence": description.licence,
            "unknown_classes": list(description.unknown_classes),
            "runtime": self.predictor.runtime_name,
            "tiles": passes.tiles,
            "flip": passes.flip,
            "scales": list(passes.scales),
        }


@dataclass(frozen=True)
class FolderPredictions:
    """Index masks from elsewhere: `<stem>.png`, or `<stem>_mask.png` as `clothseg predict` writes them."""

    folder: Path
    table: IdTable

    def mask(self, photo: ScoredPhoto) -> UInt8Array:
        """Return the predicted class ids, (H, W) uint8.

        Raises:
            MissingInputError: the photo has no mask in the folder.
            DataError: the mask cannot be read, or holds an id that no class has; the message names it.
        """
        path = self._path(photo)
        mask = read_mask(path)
        mapped = np.asarray(cv2.LUT(mask, self.table), dtype=np.uint8)
        if (unknown := np.unique(mask[mapped == UNKNOWN])).size:
            ids = ", ".join(map(str, unknown[:5].tolist()))
            known = ", ".join(map(str, np.flatnonzero(self.table != UNKNOWN).tolist()))
            raise DataError(
                f"Mask {path} holds the ids {ids}, which no class has; known are {known}. "
                "Say with --class-map what they become"
            )
        return mapped

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, some of them at a time."""
        return in_order(work, items, workers=_THREADS)

    def origin(self) -> dict[str, Any]:
        """Return the folder's name."""
        return {"kind": "masks", "name": self.folder.resolve().name}

    def _path(self, photo: ScoredPhoto) -> Path:
        stem = stem_of(photo.name)
        for name in (stem, stem + _MASK_STEM_ENDING):
            if there := self._names.get(name):
                if len(there) > 1:
                    raise DataError(f"Several masks of {photo.name} in {self.folder}: {', '.join(there)}. Keep one")
                return self.folder / there[0]
        instead = instead_of(stem, self._lookalikes) or instead_of(stem + _MASK_STEM_ENDING, self._lookalikes)
        raise MissingInputError(
            f"No mask of {photo.name} in {self.folder}{instead}. Name it {stem}.png or {stem}{MASK_ENDING}"
        )

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return names_by_stem(self.folder, (".png",))

    @cached_property
    def _lookalikes(self) -> dict[str, str]:
        return lookalikes(self._names)
