"""A copy of the model in a worker of the cluster: segments photos, writes their files, and reports in plain values."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

import clothseg
from clothseg.cluster import remote
from clothseg.cluster.targets import Target
from clothseg.errors import ClothsegError, InputError, MachineError, one_line, pack_error
from clothseg.labels import ClassList
from clothseg.prediction.outputs import Outputs, words_of
from clothseg.prediction.postprocess import keep
from clothseg.prediction.predictor import Predictor, load, unseen
from clothseg.prediction.sources import is_address
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from clothseg.settings import ModelOptions


@dataclass(frozen=True)
class RunOptions:
    """What every worker does."""

    model_name: str
    """File name of the model; its suffix tells its kind."""
    model_options: ModelOptions
    augmentation: TestTimeAugmentation
    outputs: Outputs
    target: Target
    version: str = clothseg.__version__


@dataclass(frozen=True)
class LoadedModel:
    """A worker's description of the model that it loaded."""

    identity: Mapping[str, str]
    """Name, version and SHA-256."""
    runtime_name: str
    classes: ClassList
    unseen: str
    """In words, the classes that its training data lacks."""


def load_model(options: RunOptions, content: bytes) -> Predictor:
    """Load the model from the content of its file, which only one machine has.

    Raises:
        MachineError: another version of clothseg is installed here.
        ClothsegError: whatever `predictor.load` raises.
    """
    if clothseg.__version__ != options.version:
        raise MachineError(
            f"{platform.node()} has clothseg {clothseg.__version__}, and the run was started with {options.version}. "
            "Install the same version on all machines"
        )
    os.environ["OMP_NUM_THREADS"] = "1"  # each slot has one core; the runtimes read this, see cores.py
    cv2.setNumThreads(1)
    with TemporaryDirectory(prefix="clothseg-") as folder:
        path = Path(folder, options.model_name)
        path.write_bytes(content)
        # For many photos, all of the model is read at once: the file is gone afterwards. There is one stream, as above.
        return load(path, many_photos=True, augmentation=options.augmentation, **vars(options.model_options))


def describe_model(options: RunOptions, content: bytes) -> LoadedModel | tuple[str, str]:
    """Load the model and describe it, or return the error from `pack_error`; runs once, in a slot like the others."""
    try:
        predictor = load_model(options, content)
    except ClothsegError as error:
        return pack_error(error)
    description = predictor.description
    return LoadedModel(predictor.model, predictor.runtime_name, description.classes, unseen(description))


class Replica:
    """A Ray actor that Ray Data calls with chunks of photos.

    It never raises: an error about one photo is reported with the photo; any other is reported as fatal, and the
    command ends the run.

    Args:
        model: the first worker's description; with another runtime, this worker would write other files.
        content: Ray's reference to the content of the model file.
    """

    def __init__(self, options: RunOptions, model: LoadedModel, content: list[Any]) -> None:
        import ray

        self._options = options
        self._failure: tuple[str, str] | None = None
        try:
            self._predictor = load_model(options, ray.get(content[0]))
            if self._predictor.runtime_name != model.runtime_name:
                raise MachineError(
                    f"{platform.node()} runs the model with {self._predictor.runtime_name}, another machine with "
                    f"{model.runtime_name}. Their files could differ: pass --precision fp32, or --device"
                )
            options.target.check_from_worker()
        except ClothsegError as error:
            self._failure = pack_error(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Segment chunks; `chunk` and the result are JSON, which can contain file names of any bytes."""
        done = [json.dumps(self._segment_chunk(json.loads(chunk))) for chunk in batch["chunk"]]
        return {"done": np.array(done, dtype=object)}

    def _segment_chunk(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        if self._failure is not None:
            return {"key": chunk["key"], "reports": [{"fatal": self._failure}]}
        return {"key": chunk["key"], "reports": list(self._predictor.in_pipeline(self._report, chunk["photos"]))}

    def _report(self, photo: Mapping[str, Any]) -> dict[str, Any]:
        """Segment one photo and write its files; return their sizes, or the error."""
        try:
            return {"number": photo["number"], **self._segment(photo)}
        except InputError as error:
            return {"number": photo["number"], "error": pack_error(error)}
        except ClothsegError as error:
            return {"number": photo["number"], "fatal": pack_error(error)}
        except Exception as error:  # noqa: BLE001 - Ray would only log it, and the photo would be tried again
            message = f"{photo['source']}: {type(error).__name__}: {one_line(error)}. Report this with the photo"
            return {"number": photo["number"], "fatal": ("ClothsegError", message)}

    def _segment(self, photo: Mapping[str, Any]) -> dict[str, Any]:
        source, outputs = photo["source"], self._options.outputs
        content = remote.read(source, photo["size"]) if is_address(source) else Path(source)
        segmentation = replace(self._predictor.predict(content, name=source), file=photo["file"])
        if outputs.keep:
            segmentation = keep(segmentation, *words_of(outputs.keep))
        files = {}
        for ending, data in segmentation.contents(outputs):
            self._options.target.write(f"{photo['stem']}{ending}", data)
            files[f"{photo['stem']}{ending}"] = len(data)
        result = segmentation.to_coco(colors=outputs.need_colors) if outputs.need_results else None
        return {"files": files, "notes": segmentation.notes, "result": result}
