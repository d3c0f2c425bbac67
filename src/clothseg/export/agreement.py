"""Whether an exported model agrees with the network that it was made from, and on which photos that is checked."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, MANIFEST_NAME, Manifest, pairs, spread
from clothseg.data.report import SAMPLE
from clothseg.data.sample import sample_picture
from clothseg.data.source import VAL, OfficialSplit
from clothseg.errors import ModelError, SettingError, require
from clothseg.labels import ClassList
from clothseg.pictures import read_mask, read_picture
from clothseg.prediction.runtimes import Runtime
from clothseg.prediction.runtimes.model_file import ModelFile, add_metadata
from clothseg.prediction.runtimes.onnxruntime import OnnxRuntime
from clothseg.prediction.runtimes.openvino import OpenVINORuntime
from clothseg.prediction.sources import find_photos
from clothseg.scores import Scores, confusion_matrix
from clothseg.transforms import STRIDE, logits_to_mask
from clothseg.types import Int64Array, UInt8Array

OPSET = 20
"""Version of ONNX's operators: the first with GELU, read by OpenVINO from 2024.0 and ONNX Runtime from 1.17."""

NUM_DRAWN = 4
"""Drawn photos are similar; more of them would show nothing new."""

LARGEST_LOGIT_DIFFERENCE = 1e-3
"""Of the largest logit. Two orders of float32 arithmetic differ by about 1e-5 of it; a wrong graph by 0.1 and more."""

LARGEST_SHARE_DIFFERING = 1e-3
"""Of all pixels: those on the border of two classes, where rounding decides."""

LARGEST_MIOU_CHANGE = 1e-3

LARGEST_INT8_SHARE = 0.01
"""Of all pixels: as many may get another class from a network that computes in int8."""

LARGEST_INT8_CHANGE = 0.005
"""Of mIoU against the truth, for better or worse. Against the masks of fp32 it says little: each changed pixel is a
loss, and a class of a few pixels counts as much as the background."""

_SIZES = ((1, STRIDE, STRIDE), (2, 3 * STRIDE, STRIDE), (3, STRIDE, 5 * STRIDE))
"""(photos, height, width): a single cell, upright and wide, one to three photos at once."""


@dataclass(frozen=True)
class CheckPhotos:
    """The photos of a check: those of the user, of a dataset, or drawn ones."""

    origin: str
    """In words, for people; stored in the model file, so it has only the last part of a path."""
    paths: tuple[tuple[Path, Path | None], ...] = ()
    """(photo, true mask or None) of each; empty where the photos are drawn."""
    is_real: bool = True
    """Whether they are photos, not drawings: bfloat16 is judged on photos only."""

    @property
    def has_truth(self) -> bool:
        """Whether every photo has a mask of the truth."""
        return bool(self.paths) and all(mask is not None for _, mask in self.paths)

    def __len__(self) -> int:
        return len(self.paths) or NUM_DRAWN

    def __iter__(self) -> Iterator[tuple[UInt8Array, UInt8Array | None]]:
        """Yield (H, W, 3) uint8 RGB and the true mask, (H, W) uint8, or None, of each photo.

        Raises:
            InputError: a photo or a mask cannot be read.
        """
        if not self.paths:
            for seed in range(NUM_DRAWN):
                yield sample_picture(seed), None
        for photo, mask in self.paths:
            yield read_picture(photo).pixels, None if mask is None else read_mask(mask)


def choose_photos(
    photos: Sequence[Path], data_path: Path, classes: ClassList, *, count: int, split: OfficialSplit = VAL
) -> CheckPhotos:
    """Choose up to `count` photos to check a model on, spread evenly over those found.

    Where no photo or folder is given, those of the dataset prepared in `data_path` are taken, with their masks if it
    has the classes of the model. Where there is none either, photos are drawn.

    Raises:
        InputError: a photo or folder is not there, or the dataset is damaged.
        SettingError: `count` is below 1.
    """
    if count < 1:
        raise SettingError(f"The check needs photos, not {count}. Pass --count 1 or more")
    if photos:
        search = find_photos([str(one) for one in photos], output=Path())
        if search.problems:
            raise search.problems[0]
        chosen = tuple((Path(one.source), None) for one in spread(search.photos, count))
        return CheckPhotos(f"{len(chosen)} photos of {', '.join(one.name for one in photos)}", chosen)
    folder = data_path / DATASET_FOLDER
    if (folder / MANIFEST_NAME).is_file():
        manifest = Manifest.read(folder)
        if split.name in manifest.splits:
            labelled = spread(pairs(folder, manifest.splits[split.name]), count)
            fits = manifest.classes.names == classes.names
            if labelled:
                return CheckPhotos(
                    f"{len(labelled)} {'validation' if split is VAL else 'training'} photos of {manifest.name}",
                    tuple((photo, mask if fits else None) for photo, mask in labelled),
                    is_real=manifest.source != SAMPLE,
                )
    return CheckPhotos(f"{NUM_DRAWN} drawn pictures", is_real=False)


@dataclass(frozen=True)
class Agreement:
    """How the results of one runtime differ from those of torch on the same photos."""

    runtime: str
    """What ran the exported model, such as "OpenVINO on cpu, bf16"."""
    largest_logit: float
    """Of torch, in absolute value."""
    largest_logit_difference: float
    share_differing: float
    """Pixels of all photos, at their own size, that got another class, from 0 to 1."""
    miou: float
    """Of its masks against the truth; where there is none, against the masks of torch."""
    miou_change: float
    """`miou` minus that of torch; where there is no truth, minus 1."""
    milliseconds: float
    """Median time of the network per photo."""

    @property
    def is_close(self) -> bool:
        """Whether this is the same network up to rounding; False also if a logit is NaN."""
        return (
            self.largest_logit_difference <= LARGEST_LOGIT_DIFFERENCE * max(1.0, self.largest_logit)
            and self.share_differing <= LARGEST_SHARE_DIFFERING
            and abs(self.miou_change) <= LARGEST_MIOU_CHANGE
        )

    def to_dict(self) -> dict[str, float]:
        """Return the figures that a model file stores."""
        return {
            "largest_logit": self.largest_logit,
            "largest_logit_difference": self.largest_logit_difference,
            "share_differing": self.share_differing,
            "miou_change": self.miou_change,
        }


class _Totals:
    """What is counted of one runtime, photo by photo."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes, self.largest_difference, self.seconds = num_classes, 0.0, list[float]()
        self.against_torch: Int64Array
        self.against_truth: Int64Array
        self.against_torch, self.against_truth = np.zeros((2, num_classes, num_classes), np.int64)

    def add(self, difference: float, mask: UInt8Array, torch_mask: UInt8Array, truth: UInt8Array | None) -> None:
        # NaN if one of them is: Python's own max would drop it.
        self.largest_difference = float(np.maximum(self.largest_difference, difference))
        self.against_torch += confusion_matrix(mask, torch_mask, self.num_classes)
        if truth is not None:
            self.against_truth += confusion_matrix(mask, truth, self.num_classes)

    def agreement(self, runtime: str, largest_logit: float, torch_miou: float) -> Agreement:
        """Return the agreement; `torch_miou` is NaN where there is no truth."""
        has_truth = not np.isnan(torch_miou)
        counted = self.against_truth if has_truth else self.against_torch
        miou = Scores.from_confusion(counted).mean_iou
        pixels = int(self.against_torch.sum())
        return Agreement(
            runtime=runtime,
            largest_logit=largest_logit,
            largest_logit_difference=self.largest_difference,
            share_differing=1 - int(self.against_torch.diagonal().sum()) / pixels if pixels else 0.0,
            miou=miou,
            miou_change=miou - (torch_miou if has_truth else 1.0),
            milliseconds=1000 * float(np.median(self.seconds)) if self.seconds else 0.0,
        )


def compare(
    runtimes: Mapping[str, Runtime], photos: Iterable[tuple[UInt8Array, UInt8Array | None]]
) -> dict[str, Agreement]:
    """Run all runtimes on the same photos, and return how they agree with the first of them, such as torch.

    `photos` are as those of `CheckPhotos`. That of the reference with itself is included, for its mIoU and time.
    """
    reference = next(iter(runtimes))
    description = runtimes[reference].description
    totals = {name: _Totals(description.classes.num_classes) for name in runtimes}
    has_truth, largest_logit, sizes = True, 0.0, set[tuple[int, ...]]()
    for pixels, truth in photos:
        has_truth = has_truth and truth is not None
        box = description.fit(pixels.shape[0], pixels.shape[1])
        batch = box.image(pixels, description.normalization)[None]
        for runtime in runtimes.values() if batch.shape not in sizes else ():
            runtime.logits(batch)  # compiles a network for the size, which is no time of a photo
        sizes.add(batch.shape)
        torch_logits: Any = None
        torch_mask: Any = None
        for name, runtime in runtimes.items():
            start = time.perf_counter()
            logits = box.crop(runtime.logits(batch)[0])
            totals[name].seconds.append(time.perf_counter() - start)
            mask = logits_to_mask(logits, box.photo_size)
            if torch_logits is None:
                torch_logits, torch_mask = logits, mask
                largest_logit = max(largest_logit, float(np.abs(logits).max()))
            totals[name].add(float(np.abs(logits - torch_logits).max()), mask, torch_mask, truth)
    torch_miou = Scores.from_confusion(totals[reference].against_truth).mean_iou if has_truth else float("nan")
    return {name: totals[name].agreement(one.name, largest_logit, torch_miou) for name, one in runtimes.items()}


def check_sizes(torch_runtime: Runtime, other: Runtime) -> None:
    """Compare the logits with those of torch for several sizes of input and numbers of photos.

    Raises:
        ModelError: they differ; the size is named.
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
                f"The exported model disagrees with the original on {count} photos of {height} x {width} pixels: "
                f"{other.name} gives logits that differ by {difference:.3g}. No model was written"
            )


def refuse_disagreement(agreement: Agreement, precision: str = "fp32", *, has_truth: bool = False) -> None:
    """Refuse a model that differs from the original by more than rounding, or in int8 by more than few pixels.

    Raises:
        ModelError: with the figures.
    """
    is_close, advice = agreement.is_close, "predict with the original itself"
    if precision == "int8":
        keeps_miou = not has_truth or abs(agreement.miou_change) <= LARGEST_INT8_CHANGE
        is_close = agreement.share_differing <= LARGEST_INT8_SHARE and keeps_miou
        advice = (
            f"int8 may change {LARGEST_INT8_SHARE:.0%} of the pixels, and mIoU against true masks by "
            f"{LARGEST_INT8_CHANGE:g}. Calibrate on more photos "
            "like those that the model will see: --photos DIR --count N, or leave out --precision int8"
        )
    if not is_close:
        raise ModelError(
            f"The exported model disagrees with the original: {agreement.runtime} gives logits that differ by up to "
            f"{agreement.largest_logit_difference:.3g} (the largest is {agreement.largest_logit:.3g}), another "
            f"class on {agreement.share_differing:.3%} of the pixels, and changes mIoU by "
            f"{agreement.miou_change:+.4f}. No model was written; {advice}"
        )


@dataclass(frozen=True)
class PortableModel:
    """A model file that is ready to be written."""

    file: ModelFile
    agreements: Mapping[str, Agreement]
    """By runtime: the reference, which is torch for a network of torch, openvino, and where this machine has them,
    openvino bf16 and onnxruntime."""


def make_portable(
    graph: bytes,
    reference: Runtime,
    photos: CheckPhotos,
    *,
    name: str = "torch",
    precision: str = "fp32",
    facts: Mapping[str, Any] | None = None,
) -> PortableModel:
    """Compare an exported network with the one that it was made from on `photos`, in every installed runtime.

    In fp32 they must agree up to rounding, in int8 the masks must be kept. The model file stores `facts`, the versions
    of what exported it if None, beside the results.

    Raises:
        ModelError: the exported network disagrees with the reference.
        InputError: a photo cannot be read.
    """
    facts = facts or {"torch": str(require("torch", "train").__version__), "opset": OPSET}
    description = replace(reference.description, precision=precision)
    with tempfile.TemporaryDirectory() as folder:
        unchecked = Path(folder) / "model.onnx"
        unchecked.write_bytes(add_metadata(graph, description, {}))
        others = _runtimes(unchecked)
        exact = [one for one in others if one != "openvino bf16"]  # which is measured, and prediction decides
        if precision == "fp32" and description.input_size is None:
            for one in exact:
                check_sizes(reference, others[one])
        agreements = compare({name: reference, **others}, photos)
    for one in exact:
        refuse_disagreement(agreements[one], precision, has_truth=photos.has_truth)
    rounded = agreements.get("openvino bf16") if photos.is_real else None
    results = {
        "photos": photos.origin,
        "real_photos": photos.is_real,
        "truth": photos.has_truth,
        "agreement": {one: agreements[one].to_dict() for one in others},
        "bf16_miou_change": None if rounded is None else rounded.miou_change,
        "bf16_share_differing": None if rounded is None else rounded.share_differing,
    }
    return PortableModel(ModelFile.from_bytes(add_metadata(graph, description, {**facts, **results})), agreements)


def _runtimes(model_path: Path) -> dict[str, Runtime]:
    runtimes: dict[str, Runtime] = {"openvino": OpenVINORuntime.open(model_path, precision="fp32")}
    with contextlib.suppress(SettingError):  # this CPU has no bfloat16
        runtimes["openvino bf16"] = OpenVINORuntime.open(model_path, precision="bf16")
    if importlib.util.find_spec("onnxruntime") is not None:
        runtimes["onnxruntime"] = OnnxRuntime.open(model_path)
    return runtimes


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide the messages of an exporter for its own developers; the result is measured afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        hidden = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(hidden), contextlib.redirect_stdout(hidden):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
