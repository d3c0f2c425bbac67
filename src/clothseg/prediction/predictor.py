"""The one door to prediction: load a model, give it photos, get segmentations."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from clothseg.errors import InputError, MissingModelError, ModelError
from clothseg.model.best import find_best
from clothseg.model.description import ModelDescription
from clothseg.pictures import PhotoSource, Picture, read_picture
from clothseg.prediction.runtimes import Runtime, open_runtime
from clothseg.prediction.segmentation import Segmentation
from clothseg.transforms import Letterbox, logits_to_mask

# Decoded photos that wait for the network. Two keep it busy; each may take 270 MB.
_PHOTOS_AHEAD = 2


@dataclass(frozen=True)
class Outcome:
    """What became of one of many photos: a segmentation, or the reason why there is none."""

    photo: PhotoSource
    """The photo as it was given."""
    segmentation: Segmentation | None = None
    error: InputError | None = None

    def unwrap(self) -> Segmentation:
        """Return the segmentation.

        Raises:
            InputError: there is none; this is the reason.
        """
        if self.error is not None:
            raise self.error
        assert self.segmentation is not None
        return self.segmentation


@dataclass(frozen=True)
class _Prepared:
    """A photo that is decoded and has the network's size."""

    picture: Picture
    box: Letterbox
    image: npt.NDArray[np.uint8]
    file: str


class Predictor:
    """Segments photos with one loaded model.

    Args:
        runtime: the network, ready to run.
        model: name, version and SHA-256 of the model file, for results.
        origin: which model this is and why it was taken, for people.
    """

    def __init__(self, runtime: Runtime, *, model: Mapping[str, str], origin: str = "") -> None:
        self._runtime = runtime
        self.model = dict(model)
        self.origin = origin

    @property
    def description(self) -> ModelDescription:
        """What the model file says of itself: classes, image size, scores, licence and more."""
        return self._runtime.description

    @property
    def runtime_name(self) -> str:
        """What runs the network and where, such as "torch on cpu"."""
        return self._runtime.name

    def predict(self, photo: PhotoSource) -> Segmentation:
        """Segment one photo.

        Args:
            photo: path, encoded bytes, Pillow image, or (H, W, 3) uint8 RGB pixels.

        Raises:
            MissingInputError: there is no such file.
            PictureError: the photo cannot be read.
            ModelError: the network gave no numbers.
        """
        return self._segment(self._prepare(photo))

    def predict_many(self, photos: Iterable[PhotoSource]) -> Iterator[Segmentation]:
        """Segment any number of photos in their order, decoding the next while the network works.

        Photos are taken from `photos` as they are needed and no result is kept, so memory does not grow with their
        number.

        Raises:
            InputError: a photo cannot be read, at its place in the order. `outcomes` goes on instead.
        """
        for outcome in self.outcomes(photos):
            yield outcome.unwrap()

    def outcomes(self, photos: Iterable[PhotoSource]) -> Iterator[Outcome]:
        """Segment any number of photos as `predict_many` does, but pass over those that cannot be read.

        Yields:
            One outcome per photo, in order.
        """
        source = iter(photos)
        waiting: deque[tuple[PhotoSource, Future[_Prepared]]] = deque()
        decoder = ThreadPoolExecutor(max_workers=1, thread_name_prefix="clothseg-decoder")
        try:
            for photo in islice(source, _PHOTOS_AHEAD):
                waiting.append((photo, decoder.submit(self._prepare, photo)))
            while waiting:
                photo, prepared = waiting.popleft()
                outcome = self._outcome(photo, prepared)
                waiting.extend((ahead, decoder.submit(self._prepare, ahead)) for ahead in islice(source, 1))
                del prepared  # the photo's pixels are the caller's from here on
                yield outcome
        finally:
            decoder.shutdown(cancel_futures=True)

    def _outcome(self, photo: PhotoSource, prepared: Future[_Prepared]) -> Outcome:
        try:
            return Outcome(photo, self._segment(prepared.result()))
        except InputError as error:
            return Outcome(photo, error=error)

    def _prepare(self, photo: PhotoSource) -> _Prepared:
        picture = read_picture(photo)
        height, width = picture.pixels.shape[:2]
        box = Letterbox.fit(height, width, self.description.image_size)
        image = box.image(picture.pixels, self.description.normalization)
        return _Prepared(picture, box, image, _file_of(photo))

    def _segment(self, prepared: _Prepared) -> Segmentation:
        logits = prepared.box.crop(self._runtime.logits(prepared.image[None])[0])
        if not np.isfinite(logits).all():
            raise ModelError(
                f"The model {self.model.get('name', '')} gives no numbers on {prepared.file or 'this photo'} (NaN or "
                "infinite). Its weights are damaged: use another model"
            )
        return Segmentation(
            mask=logits_to_mask(logits, prepared.box.photo_size),
            photo=prepared.picture.pixels,
            classes=self.description.classes,
            logits=logits,
            file=prepared.file,
            model=self.model,
            notes=prepared.picture.notes,
        )


def load(
    model: str | Path | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    checkpoints_path: str | Path = "checkpoints",
) -> Predictor:
    """Load a model and return the predictor that segments photos with it.

    Args:
        model: path of a model file; None takes the newest best checkpoint of your own training.
        runtime: auto, or torch.
        device: auto takes a GPU where there is one; or cpu, cuda, mps.
        checkpoints_path: folder in which None looks.

    Raises:
        MissingModelError: there is no such file, or nothing has been trained yet.
        ModelError: the file is damaged or foreign.
        MissingExtraError: what runs the model is not installed.
    """
    model_path, origin = _choose(model, Path(checkpoints_path))
    opened = open_runtime(model_path, runtime=runtime, device=device)
    identity = {"name": model_path.name, "version": opened.description.version, "sha256": _sha256(model_path)}
    return Predictor(opened, model=identity, origin=origin)


def _choose(model: str | Path | None, checkpoints_path: Path) -> tuple[Path, str]:
    """Return the path of the model to use, and in words which it is and why."""
    if model is not None:
        return Path(model), f"{model}"
    best = find_best(checkpoints_path)
    if best is None:
        raise MissingModelError(
            f"No model: {checkpoints_path} holds no checkpoint of your own training. Train one with: uv run train.py, "
            "or pass --ckpt PATH"
        )
    return best, f"{best}, the newest best of your own training"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _file_of(photo: PhotoSource) -> str:
    if isinstance(photo, str | Path):
        return Path(photo).as_posix()
    name = getattr(photo, "filename", "") if isinstance(photo, Image.Image) else ""
    return Path(name).as_posix() if isinstance(name, str) and name else ""
