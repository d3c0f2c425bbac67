"""A portable model whose convolutions compute in int8, written where that keeps the masks."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from clothseg.data.source import TRAIN
from clothseg.errors import ModelError, SettingError, one_line, require
from clothseg.export.agreement import CheckPhotos, PortableModel, choose_photos, make_portable, quietly
from clothseg.labels import ClassList
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.prediction.runtimes.openvino import OpenVINORuntime

FEWEST_PHOTOS = 8
"""To calibrate on, and as many to check on."""

_IN_FP32 = 2
"""Convolutions at the start that stay in fp32: in int8 they change as many pixels as all others, and gain no time."""


def choose_calibration(
    photos: Sequence[Path], data_path: Path, classes: ClassList, *, count: int
) -> tuple[CheckPhotos, CheckPhotos]:
    """Choose the photos that int8 is calibrated on, and others to check it on, up to `count` of each.

    Every other one of `photos` calibrates. Where there is none, the training photos of the dataset prepared in
    `data_path` do, and its validation photos check.

    Raises:
        InputError: a photo or folder is not there, or the dataset is damaged.
        SettingError: there are too few photos, or only drawn pictures, whose colours and noise are not those of photos.
    """
    if photos:
        both = choose_photos(photos, data_path, classes, count=2 * count)
        of_what = both.origin.partition(" ")[2]
        used, others = both.paths[::2], both.paths[1::2]
        calibration = CheckPhotos(f"{len(used)} {of_what}", used)
        checked = CheckPhotos(f"{len(others)} other {of_what}", others)
    else:
        calibration = choose_photos((), data_path, classes, count=count, split=TRAIN)
        checked = choose_photos((), data_path, classes, count=count)
    are_real = calibration.is_real and checked.is_real
    if not are_real or min(len(calibration), len(checked)) < FEWEST_PHOTOS:
        raise SettingError(
            f"int8 must be calibrated on {FEWEST_PHOTOS} photos or more and checked on as many others"
            f"{'' if are_real else '; drawn pictures do not count'}. Found: {calibration.origin}, and "
            f"{checked.origin}. Pass {2 * FEWEST_PHOTOS} photos or more such as the model will see: "
            "--photos DIR --count 32"
        )
    return calibration, checked


def quantize(file: ModelFile, calibration: CheckPhotos, photos: CheckPhotos) -> PortableModel:
    """Return a model with convolutions in int8, checked against the original on `photos`, which should be others.

    All else stays in fp32: sums, probabilities and what follows the network lose more than they gain.

    Raises:
        ModelError: it does not keep the masks, is int8 already, or cannot be quantised.
        InputError: a photo cannot be read.
        MissingExtraError: nncf or onnx is not installed.
    """
    if file.description.precision == "int8":
        raise ModelError("The model computes in int8 already. Pass the model that it was made from")
    graph = _quantized(file, calibration)
    facts = {**file.check, "calibration": calibration.origin}
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder) / "model.onnx"
        original.write_bytes(file.content)
        reference = OpenVINORuntime.open(original, precision="fp32")
        return make_portable(graph, reference, photos, name="fp32", precision="int8", facts=facts)


def quantizer() -> ModuleType:
    """Return nncf.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else nncf tells its authors over the network that it is used
    with quietly():  # it also imports torch where that is installed
        return require("nncf", "int8")


def _quantized(file: ModelFile, calibration: CheckPhotos) -> bytes:
    """Return the graph with convolutions whose weights are int8 and whose inputs are rounded to uint8, as ONNX."""
    onnx, nncf = require("onnx", "int8"), quantizer()
    model = onnx.load_from_string(file.content)
    model.ClearField("metadata_props")
    inputs: list[dict[str, Any]] = []
    for pixels, _ in calibration:
        box = file.description.fit(pixels.shape[0], pixels.shape[1])
        inputs.append({"image": box.image(pixels, file.description.normalization)[None]})
    in_fp32 = sorted({node.op_type for node in model.graph.node} - {"Conv"})
    first = [node.name for node in model.graph.node if node.op_type == "Conv"][:_IN_FP32]
    try:
        with quietly():
            quantized = nncf.quantize(
                model,
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=first, types=in_fp32, validate=False),
                # Weights of 7 bits: CPUs without VNNI add products in 16 bits, which 8 bits would overflow.
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
    except Exception as error:  # it raises nearly anything on a graph that it does not know
        raise ModelError(
            f"The network cannot be quantised ({type(error).__name__}: {one_line(error)[:200]}). Stay with fp32"
        ) from error
    quantized.graph.ClearField("value_info")
    quantized.ClearField("metadata_props")
    return bytes(quantized.SerializeToString(deterministic=True))
