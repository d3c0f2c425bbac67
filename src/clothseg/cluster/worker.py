"""One copy of the model in a worker of the cluster: takes photos, writes their files, reports in plain values."""

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
from clothseg import errors
from clothseg.cluster import remote
from clothseg.cluster.targets import Folder, Store
from clothseg.errors import ClothsegError, InputError, MachineError, one_line
from clothseg.freed_memory import FOR_PHOTOS, keep_freed_memory
from clothseg.labels import ClassList
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.predictor import Predictor, load, unseen
from clothseg.prediction.sources import is_address
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation


@dataclass(frozen=True)
class Plan:
    """What every worker is to do."""

    model_name: str
    """File name of the model; its ending says what it is."""
    runtime: str
    device: str
    precision: str
    passes: TestTimeAugmentation
    outputs: Outputs
    place: Folder | Store
    threads: int
    """Cores that a copy of the model may use."""
    version: str = clothseg.__version__


@dataclass(frozen=True)
class Loaded:
    """What a worker says of the model that it loaded."""

    model: Mapping[str, str]
    """Name, version and SHA-256."""
    runtime_name: str
    classes: ClassList
    unseen: str
    """In words, the classes that it has never seen."""


def load_model(plan: Plan, content: bytes) -> Predictor:
    """Load the model as a worker of the cluster does.

    Args:
        plan: how.
        content: of the model file, which so need not lie on every machine.

    Raises:
        MachineError: another version of clothseg is installed here.
        ClothsegError: whatever `predictor.load` raises.
    """
    if clothseg.__version__ != plan.version:
        raise MachineError(
            f"{platform.node()} has clothseg {clothseg.__version__}, and the run was started with {plan.version}. "
            "Install the same version on all machines"
        )
    os.environ["OMP_NUM_THREADS"] = str(plan.threads)  # what the runtimes go by; see cores.py
    cv2.setNumThreads(plan.threads)
    with TemporaryDirectory(prefix="clothseg-") as folder:
        path = Path(folder, plan.model_name)
        path.write_bytes(content)
        return load(path, runtime=plan.runtime, device=plan.device, precision=plan.precision, augmentation=plan.passes)


def describe(plan: Plan, content: bytes) -> Loaded | tuple[str, str]:
    """Load the model and say what it is, or the kind and message of the error: run once, in a slot like the others."""
    try:
        predictor = load_model(plan, content)
    except ClothsegError as error:
        return packed(error)
    return Loaded(predictor.model, predictor.runtime_name, predictor.description.classes, unseen(predictor.description))


class Replica:
    """What Ray Data calls with chunks of photos, in a process of its own.

    It never raises, since what fails is to be told by name: a photo that cannot be read costs only itself; anything
    else is reported as fatal, and whoever started the run ends it.

    Args:
        plan: what to do.
        loaded: what the first worker said of the model; another runtime here would write other files.
        content: a reference to the model file's content.
    """

    def __init__(self, plan: Plan, loaded: Loaded, content: list[Any]) -> None:
        import ray

        keep_freed_memory(FOR_PHOTOS)
        self._plan = plan
        self._broken: tuple[str, str] | None = None
        try:
            self._predictor = load_model(plan, ray.get(content[0]))
            if self._predictor.runtime_name != loaded.runtime_name:
                raise MachineError(
                    f"{platform.node()} runs the model with {self._predictor.runtime_name}, another machine with "
                    f"{loaded.runtime_name}. Their files could differ: pass --precision fp32, or --device"
                )
            plan.place.check_from_worker()
        except ClothsegError as error:
            self._broken = packed(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do some chunks: `chunk` holds JSON, so that names of any bytes pass; so does what is returned."""
        done = [json.dumps(self._done(json.loads(chunk))) for chunk in batch["chunk"]]
        return {"done": np.array(done, dtype=object)}

    def _done(self, chunk: Mapping[str, Any]) -> dict[str, Any]:
        if self._broken is not None:
            return {"key": chunk["key"], "reports": [{"fatal": self._broken}]}
        return {"key": chunk["key"], "reports": list(self._predictor.in_pipeline(self._report, chunk["photos"]))}

    def _report(self, photo: Mapping[str, Any]) -> dict[str, Any]:
        """Segment one photo, write its files, and return their sizes; or what is wrong."""
        try:
            return {"number": photo["number"], **self._segmented(photo)}
        except InputError as error:
            return {"number": photo["number"], "error": packed(error)}
        except ClothsegError as error:
            return {"number": photo["number"], "fatal": packed(error)}
        except Exception as error:  # noqa: BLE001 - Ray would keep it to a log, and the photo would be tried again
            message = f"{photo['source']}: {type(error).__name__}: {one_line(error)}. Report this with the photo"
            return {"number": photo["number"], "fatal": ("ClothsegError", message)}

    def _segmented(self, photo: Mapping[str, Any]) -> dict[str, Any]:
        source, outputs = photo["source"], self._plan.outputs
        content = remote.read(source, photo["size"]) if is_address(source) else Path(source)
        segmentation = replace(self._predictor.predict(content, name=source), file=photo["file"])
        files = {}
        for ending, data in segmentation.contents(
            json=outputs.json, cutouts=outputs.cutouts, soft_masks=outputs.soft_masks
        ):
            self._plan.place.write(f"{photo['stem']}{ending}", data)
            files[f"{photo['stem']}{ending}"] = len(data)
        result = segmentation.to_coco() if outputs.need_results else None
        return {"files": files, "notes": segmentation.notes, "result": result}


def packed(error: ClothsegError) -> tuple[str, str]:
    """Return an error as plain values."""
    return type(error).__name__, str(error)


def unpacked(values: tuple[str, str]) -> ClothsegError:
    """Return the error that `packed` took apart."""
    kind, message = values
    error: ClothsegError = getattr(errors, kind)(message)
    return error
