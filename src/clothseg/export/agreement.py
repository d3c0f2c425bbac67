"""How far an exported model agrees with the network of torch it was made from."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from clothseg.errors import ModelError
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes import Runtime
from clothseg.scores import Scores, confusion_matrix
from clothseg.transforms import STRIDE, Letterbox, logits_to_mask
from clothseg.types import Int64Array, UInt8Array

LARGEST_LOGIT_DIFFERENCE = 1e-3
"""Of the largest logit. Two orders of float32 arithmetic differ by about 1e-5 of it; a wrong graph by 0.1 and more."""

LARGEST_SHARE_DIFFERING = 1e-3
"""Of all pixels: those on the border of two classes, where rounding decides."""

LARGEST_MIOU_CHANGE = 1e-3

_SIZES = ((1, STRIDE, STRIDE), (2, 3 * STRIDE, STRIDE), (3, STRIDE, 5 * STRIDE))
"""(photos, height, width): a single cell, upright and wide, one to three photos at once."""


@dataclass(frozen=True)
class Agreement:
    """What came out when one runtime and torch saw the same photos."""

    runtime: str
    """What ran the exported model, such as "OpenVINO on cpu, bf16"."""
    largest_logit: float
    """Of torch, in absolute value."""
    largest_logit_difference: float
    share_differing: float
    """Pixels of all photos, at their own size, that got another class, from 0 to 1."""
    miou: float
    """Against the truth; where there is none, of the masks against those of torch."""
    miou_change: float
    """`miou` less that of torch; where there is no truth, less 1."""
    milliseconds: float
    """Median time of the network per photo."""

    @property
    def is_close(self) -> bool:
        """Whether this is the same network, rounding apart. False also where a logit is no number."""
        return (
            self.largest_logit_difference <= LARGEST_LOGIT_DIFFERENCE * max(1.0, self.largest_logit)
            and self.share_differing <= LARGEST_SHARE_DIFFERING
            and abs(self.miou_change) <= LARGEST_MIOU_CHANGE
        )

    def to_dict(self) -> dict[str, float]:
        """Return what a model file keeps of it."""
        return {
            "largest_logit": self.largest_logit,
            "largest_logit_difference": self.largest_logit_difference,
            "share_differing": self.share_differing,
            "miou_change": self.miou_change,
        }


@dataclass
class _Sums:
    """What is counted of one runtime, photo by photo."""

    num_classes: int
    against_torch: Int64Array = field(init=False)
    against_truth: Int64Array = field(init=False)
    largest_logit: float = 0.0
    largest_difference: float = 0.0
    seconds: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.against_torch = np.zeros((self.num_classes, self.num_classes), np.int64)
        self.against_truth = self.against_torch.copy()

    def see(self, difference: float, mask: UInt8Array, torch_mask: UInt8Array, truth: UInt8Array | None) -> None:
        self.largest_difference = _larger(self.largest_difference, difference)
        self.against_torch += confusion_matrix(mask, torch_mask, self.num_classes)
        if truth is not None:
            self.against_truth += confusion_matrix(mask, truth, self.num_classes)

    def result(self, runtime: str, torch_miou: float, names: Sequence[str]) -> Agreement:
        """Return the agreement; `torch_miou` is NaN where there is no truth."""
        has_truth = not np.isnan(torch_miou)
        counted = self.against_truth if has_truth else self.against_torch
        miou = Scores.from_confusion(counted, names).mean_iou
        pixels = int(self.against_torch.sum())
        return Agreement(
            runtime=runtime,
            largest_logit=self.largest_logit,
            largest_logit_difference=self.largest_difference,
            share_differing=1 - int(self.against_torch.diagonal().sum()) / pixels if pixels else 0.0,
            miou=miou,
            miou_change=miou - (torch_miou if has_truth else 1.0),
            milliseconds=1000 * float(np.median(self.seconds)) if self.seconds else 0.0,
        )


def compare(
    torch_runtime: Runtime,
    others: Mapping[str, Runtime],
    photos: Iterable[tuple[UInt8Array, UInt8Array | None]],
) -> dict[str, Agreement]:
    """Run all on the same photos, and say how the others agree with torch.

    Args:
        torch_runtime: what they have to agree with.
        others: by the name under which their agreement is returned.
        photos: (H, W, 3) uint8 RGB and the true mask, (H, W) uint8, or None, of each.

    Returns:
        The agreement of each, and under "torch" that of torch with itself, for its mIoU and time.
    """
    runtimes = {"torch": torch_runtime, **others}
    description = torch_runtime.description
    sums = {name: _Sums(description.classes.num_classes) for name in runtimes}
    has_truth = True
    for pixels, truth in photos:
        has_truth = has_truth and truth is not None
        _see_photo(runtimes, sums, pixels, truth)
    for sums_of_one in sums.values():
        sums_of_one.largest_logit = sums["torch"].largest_logit
    names = description.classes.names
    torch_miou = Scores.from_confusion(sums["torch"].against_truth, names).mean_iou if has_truth else float("nan")
    return {name: sums[name].result(one.name, torch_miou, names) for name, one in runtimes.items()}


def _see_photo(
    runtimes: Mapping[str, Runtime], sums: Mapping[str, _Sums], pixels: UInt8Array, truth: UInt8Array | None
) -> None:
    description = runtimes["torch"].description
    box = Letterbox.fit(pixels.shape[0], pixels.shape[1], description.image_size)
    batch = box.image(pixels, description.normalization)[None]
    torch_logits: Any = None
    torch_mask: Any = None
    for name, runtime in runtimes.items():
        start = time.perf_counter()
        logits = box.crop(runtime.logits(batch)[0])
        sums[name].seconds.append(time.perf_counter() - start)
        mask = logits_to_mask(logits, box.photo_size)
        if torch_logits is None:
            torch_logits, torch_mask = logits, mask
            sums[name].largest_logit = max(sums[name].largest_logit, float(np.abs(logits).max()))
        sums[name].see(float(np.abs(logits - torch_logits).max()), mask, torch_mask, truth)


def check_sizes(torch_runtime: Runtime, other: Runtime, description: ModelDescription) -> None:
    """Refuse a model that gives other logits than torch for some size of input or number of photos.

    Raises:
        ModelError: it does; the size is named.
    """
    rng = np.random.default_rng(0)
    for count, height, width in _SIZES:
        batch = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        try:
            expected = torch_runtime.logits(batch)
        except (RuntimeError, ValueError):  # some decoders pool more cells than the smallest sizes have
            continue
        found = other.logits(batch)
        difference = float(np.abs(found - expected).max())
        if not difference <= LARGEST_LOGIT_DIFFERENCE * max(1.0, float(np.abs(expected).max())):
            raise ModelError(
                f"The exported model disagrees with torch on {count} photos of {height} x {width} pixels: {other.name} "
                f"gives logits that differ by {difference:.3g}. No model was written"
            )


def refuse_disagreement(agreement: Agreement) -> None:
    """Refuse a model that is not the same network as in torch.

    Raises:
        ModelError: with the figures.
    """
    if not agreement.is_close:
        raise ModelError(
            f"The exported model disagrees with torch: {agreement.runtime} gives logits that differ by up to "
            f"{agreement.largest_logit_difference:.3g} (the largest is {agreement.largest_logit:.3g}), another "
            f"class on {agreement.share_differing:.3%} of the pixels, and changes mIoU by "
            f"{agreement.miou_change:+.4f}. No model was written; predict with the checkpoint itself"
        )


def _larger(first: float, second: float) -> float:
    """Return the larger number, or NaN if one of them is: Python's own max would drop it."""
    return float(np.maximum(first, second))
