"""The entry point of prediction: load a model, give it photos, get segmentations."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from threading import BoundedSemaphore
from typing import Any, TypeVar

import cv2

from clothseg.errors import InputError, MissingModelError, ModelError, SettingError, check_input, command, require
from clothseg.labels import BACKGROUND_ID
from clothseg.model.best import BestCheckpoint, best_of_trainings
from clothseg.model.description import ModelDescription
from clothseg.pictures import MAX_PIXELS, PhotoSource, name_of, read_picture
from clothseg.prediction.probabilities import doubts
from clothseg.prediction.runtimes import Runtime
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.prediction.runtimes.onnxruntime import OnnxRuntime
from clothseg.prediction.runtimes.openvino import OpenVINORuntime, prefers_int8
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.sources import is_address
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation, check_augmentation, segment_pixels
from clothseg.starter import starter_model
from clothseg.types import Float32Array, UInt8Array

Item = TypeVar("Item")
Result = TypeVar("Result")

_RUNTIMES_BY_SUFFIX = {".ckpt": ("torch",), ".onnx": ("openvino", "onnxruntime")}
"""The runtimes of each kind of model file; auto takes the first."""
STARTER = "starter"
"""What names the packaged starter model in place of a path."""
FAR_BELOW = 0.5
"""A training with less than this part of the starter model's mean IoU gets a warning when it is the default."""
_PRECISIONS = ("auto", "fp32", "bf16", "int8")

# Photos processed at once beside those in the network: one that is decoded, one that is saved. Each may take 270 MB.
_OUTSIDE_THE_NETWORK = 2


@dataclass(frozen=True)
class Outcome:
    """The result for one of many photos: a segmentation, or the reason why there is none.

    Examples:
        >>> [outcome.error is None for outcome in predictor.outcomes(["photo.jpg", b"no photo"])]
        [True, False]
    """

    photo: Any
    """The photo as it was given."""
    segmentation: Segmentation | None = None
    """None if the photo cannot be read, and where a run does not return it: it is done, and `files` names its files."""
    error: InputError | None = None
    files: Sequence[str | Path] = ()
    """The files that a run wrote."""
    notes: tuple[str, ...] = ()
    """What was left out or changed when the photo was read, in words."""
    is_new: bool = True
    """Whether this run segmented the photo, and not an earlier one."""


class Predictor:
    """Segments photos with one loaded model; may be used from several threads at once.

    Args:
        runtime: the network, ready to run.
        model: name, version and SHA-256 of the model file, for results.
        origin: which model this is and why it was taken, for people.
        augmentation: how often and at which scales the network sees a photo; once, as a whole, if None.

    Examples:
        >>> predictor.predict("photo.jpg").size
        (90, 60)
        >>> [segmentation.size for segmentation in predictor.predict_many(["photo.jpg", pixels])]
        [(90, 60), (90, 60)]
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        model: Mapping[str, str],
        origin: str = "",
        augmentation: TestTimeAugmentation | None = None,
    ) -> None:
        self._runtime = runtime
        self._free_streams = BoundedSemaphore(runtime.streams)  # more calls would compete for the same cores
        self.model = dict(model)
        self.origin = origin
        self.augmentation = augmentation or TestTimeAugmentation()
        check_augmentation(runtime.description, self.augmentation)

    @property
    def description(self) -> ModelDescription:
        """The description in the model file: classes, image size, scores, licence and more."""
        return self._runtime.description

    @property
    def runtime_name(self) -> str:
        """What runs the network and where, such as "torch on cpu"."""
        return self._runtime.name

    def predict(self, photo: PhotoSource, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Segmentation:
        """Segment one photo.

        Args:
            photo: path, encoded bytes, open binary file, Pillow image, or (H, W, 3) uint8 RGB pixels.
            name: name of the photo in results, and in errors where it is encoded bytes; its path if None.
            max_pixels: larger photos are refused from their header, before anything is decoded.

        Raises:
            MissingInputError: there is no such file.
            LargePictureError: the photo has more pixels than `max_pixels`.
            PictureError: the photo cannot be read.
            ModelError: the network gave NaN or infinity.
        """
        start = time.perf_counter()
        picture = read_picture(photo, max_pixels=max_pixels, name=name or "")
        decoded = time.perf_counter()
        mask, logits = segment_pixels(self._logits, picture.pixels, self.description, self.augmentation)
        if not _is_finite(logits):
            where = name_of(photo) or name or "this photo"
            raise ModelError(
                f"The model {self.model.get('name', '')} gives NaN or infinity on {where}. Its weights are damaged: "
                "use another model"
            )
        return Segmentation(
            mask=mask,
            photo=picture.pixels,
            classes=self.description.classes,
            logits=logits,
            file=name_of(photo) if name is None else name,
            model=self.model,
            notes=(*picture.notes, *doubts(logits, self.description.usual_score)),
            seconds={"decode": decoded - start, "predict": time.perf_counter() - decoded},
        )

    def predict_many(self, photos: Iterable[PhotoSource]) -> Iterator[Segmentation]:
        """Segment any number of photos in their order; some are decoded while others are in the network.

        Photos are taken from `photos` as they are needed and no result is kept, so memory does not grow with their
        number.

        Raises:
            SettingError: one path instead of several.
            InputError: a photo cannot be read, at its position in the order. `outcomes` continues instead.
        """
        return self.in_pipeline(self.predict, _several(photos))

    def outcomes(self, photos: Iterable[PhotoSource]) -> Iterator[Outcome]:
        """Segment any number of photos as `predict_many` does, but report those that cannot be read and continue.

        Yields:
            One outcome per photo, in order.

        Raises:
            SettingError: one path instead of several.
        """

        def outcome(photo: PhotoSource) -> Outcome:
            try:
                segmentation = self.predict(photo)
            except InputError as error:
                return Outcome(photo, error=error)
            return Outcome(photo, segmentation, notes=segmentation.notes)

        return self.in_pipeline(outcome, _several(photos))

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, some of them at a time, so that neither cores nor network wait.

        `work` calls `predict` and does what is to be done with the result. Items are taken as they are needed.
        """
        source = iter(items)
        first = list(islice(source, 2))
        if len(first) < 2:  # no threads for a single photo
            yield from map(work, first)
            return
        yield from in_order(work, chain(first, source), workers=self._runtime.streams + _OUTSIDE_THE_NETWORK)

    def _logits(self, batch: UInt8Array) -> Float32Array:
        with self._free_streams:
            return self._runtime.logits(batch)


def _several(photos: Iterable[PhotoSource]) -> Iterable[PhotoSource]:
    if isinstance(photos, str | bytes | Path):
        raise SettingError(f"Several photos are needed, not {str(photos)[:100]!r}. Pass a list, or use predict")
    return photos


def _is_finite(logits: Float32Array) -> bool:
    """Return whether all values are numbers: their sum in float64 is NaN or infinite if one of them is."""
    return all(math.isfinite(cv2.sumElems(plane)[0]) for plane in logits)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """Yield `work(item)` of each item in the items' order, `workers` of them at a time.

    Items are taken as they are needed: at most `workers` + 1 are taken and not yet yielded, so that memory does not
    grow with their number, and a slow reader holds the workers back. Threads are enough for photos: decoding,
    resizing, networks and encoding all release Python's lock.

    Raises:
        Exception: whatever `items` or `work` raised, at its position in the order; waiting items are dropped.
    """
    source = iter(items)
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="clothseg-photo")
    try:
        waiting.extend(pool.submit(work, item) for item in islice(source, workers + 1))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(source, 1))
            yield result
            del result  # only the caller refers to it now
    finally:
        pool.shutdown(cancel_futures=True)


def load(
    model: str | Path | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    many_photos: bool = False,
    one_photo: bool = False,
    classes: str | None = None,
    augmentation: TestTimeAugmentation | None = None,
    checkpoints_path: str | Path = "checkpoints",
) -> Predictor:
    """Load a model and return the predictor that segments photos with it.

    Args:
        model: path of a model file, or its address, hf://OWNER/NAME/FILE.onnx (Hugging Face hub) or https://…, which is
            downloaded once; `#sha256=DIGEST` at its end refuses any other file. None takes the newest best checkpoint
            of your own training, or else the packaged starter model, which "starter" names.
        runtime: auto; torch runs checkpoints; openvino or onnxruntime runs exported models.
        device: auto takes the fastest there is; or cpu, cuda, mps.
        precision: auto, fp32, bf16 or int8; auto takes bf16 where it is fast and the export measured that it hardly
            changes the masks. int8 needs a model file that was exported so; the packaged model is there in both
            formats, and auto takes int8 on x86 CPUs without bf16.
        many_photos: let OpenVINO compute several photos at a time, each on its share of the cores: more photos a
            second, but each takes longer. Results are the same.
        one_photo: for a process that segments one photo and ends: an exported model's file is not read where OpenVINO
            has its compiled network in the user's cache, and has to stay until the photo is done.
        classes: groups or categories, where the model file has both or the model's classes fall into them; its own if
            None.
        augmentation: how often and at which scales the network sees a photo; once, as a whole, if None.
        checkpoints_path: folder that None searches.

    Raises:
        MissingModelError: there is no such file, or no model at all.
        ModelError: the file is damaged or foreign.
        SettingError: an argument is not allowed, or does not fit the model.
        MissingExtraError: what runs the model is not installed.
        MachineError: a download failed.

    Examples:
        >>> predictor = clothseg.load("model.ckpt")
        >>> predictor.description.classes.names[:3]
        ('background', 'closures', 'upperbody')
    """
    model_path, origin = chosen_model(
        model, Path(checkpoints_path), prefers_int8=prefers_int8(runtime=runtime, precision=precision)
    )
    opened = open_runtime(
        model_path,
        runtime=runtime,
        device=device,
        precision=precision,
        many_photos=many_photos,
        one_photo=one_photo,
        classes=classes,
    )
    identity = opened.description.identity(model_path.name, opened.sha256, classes)
    origin += unseen(opened.description)
    return Predictor(opened, model=identity, origin=origin, augmentation=augmentation)


def open_runtime(
    model_path: Path,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    many_photos: bool = False,
    one_photo: bool = False,
    classes: str | None = None,
) -> Runtime:
    """Load a model file into a runtime that is made for it; see `load`.

    Raises:
        MissingModelError: there is no such file.
        ModelError: its ending is unknown, or it is damaged.
        SettingError: the runtime, the device, the precision or the classes do not fit.
        MissingExtraError: the runtime is not installed.
    """
    hint = f"Pass the path of a model file, or {STARTER} for the packaged model; train one with: {command('train')}"
    check_input(model_path, "Model", hint, error=ModelError)
    fitting = _RUNTIMES_BY_SUFFIX.get(model_path.suffix.lower())
    if fitting is None:
        raise ModelError(f"Not a model file: {model_path}. Allowed endings: {', '.join(_RUNTIMES_BY_SUFFIX)}")
    if runtime not in ("auto", *fitting):
        raise SettingError(
            f"The runtime {runtime!r} does not run {model_path.name}. Allowed: {', '.join(('auto', *fitting))}"
        )
    if precision not in _PRECISIONS:
        raise SettingError(f"Unknown precision {precision!r}. Allowed: {', '.join(_PRECISIONS)}")
    chosen = fitting[0] if runtime == "auto" else runtime
    options: dict[str, Any] = {"device": device, "precision": precision, "classes": classes}
    if chosen == "openvino":
        return OpenVINORuntime.open(model_path, many_photos=many_photos, one_photo=one_photo, **options)
    if chosen == "onnxruntime":
        return OnnxRuntime.open(model_path, **options)
    if precision == "int8":
        hint = command("export", model_path, "--precision", "int8", "--photos", "DIR")
        raise SettingError(f"A checkpoint does not compute in int8. Export it with: {hint}")
    require("torch", "train")
    from clothseg.prediction.runtimes.torch import TorchRuntime

    return TorchRuntime.open(model_path, device=device, bf16=precision == "bf16", classes=classes)


def unseen(description: ModelDescription) -> str:
    """Return a text that names the classes that a model has never seen, for the end of its origin; or an empty one."""
    names = description.unknown_classes
    shown = f"{', '.join(names[:4])} and {len(names) - 4} more" if len(names) > 5 else ", ".join(names)
    return f"; it has never seen {shown}" if names else ""


def chosen_model(model: str | Path | None, checkpoints_path: Path, *, prefers_int8: bool = False) -> tuple[Path, str]:
    """Return the path of the model that `load` takes, and a text that says which it is and why.

    With `prefers_int8` the packaged model is the file in int8.

    Raises:
        MissingModelError: there is none.
        SettingError: neither a path nor an address.
    """
    if not isinstance(model, str | Path | None):
        raise SettingError(f"model is {model!r}. Pass the path or the address of a model file, or None")
    if is_address(model):
        from clothseg.prediction.remote_model import cached_model

        return cached_model(str(model)), f"{model}"
    if model is not None and str(model) != STARTER:
        return Path(model), f"{model}"
    drawn = ""
    for path, best in best_of_trainings(checkpoints_path) if model is None else ():
        if not best.is_sample:
            return path, f"{path}, the newest best of your own training{_compared(best)}"
        drawn = drawn or f"{path} learned from drawn pictures, and is used only where it is named"
    starter = starter_model("int8" if prefers_int8 else "fp32")
    if starter is None:
        raise MissingModelError(
            f"No model: {drawn or f'{checkpoints_path} contains no checkpoint of your own training'}, and this "
            f"installation lacks the starter model. Train one with: {command('train')}, or name a model file"
        )
    return starter, f"the packaged starter model{f' ({drawn})' if drawn else ', as there is none of your own training'}"


def _compared(best: BestCheckpoint) -> str:
    """Return a warning where a training scored far below the starter model on classes that both know, or nothing."""
    path = starter_model()
    known = ModelFile.read(path).description if path else None
    ious = known.scores.get("iou", {}) if known else {}
    garments = known.classes.names[BACKGROUND_ID + 1 :] if known else ()
    both = [name for name in garments if ious.get(name) is not None and f"val_iou/{name}" in best.scores]
    if not both:
        return ""
    own, starters = fmean(best.scores[f"val_iou/{name}"] for name in both), fmean(ious[name] for name in both)
    if not own < FAR_BELOW * starters:
        return ""
    return (
        f". Warning: its mean IoU on the {len(both)} classes that the starter model also knows is {own:.2f} on your "
        f"validation photos, and that of the starter model is {starters:.2f} on its own. "
        f"Name {STARTER} as the model to use that"
    )
