"""The one door to prediction: load a model, give it photos, get segmentations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from clothseg.errors import InputError, MissingModelError, ModelError
from clothseg.model.best import find_best
from clothseg.model.description import ModelDescription
from clothseg.pictures import PhotoSource, name_of, read_picture
from clothseg.prediction.pipeline import in_order
from clothseg.prediction.runtimes import Runtime, open_runtime
from clothseg.prediction.segmentation import Segmentation
from clothseg.prediction.test_time_augmentation import Passes, is_finite, whole_logits
from clothseg.prediction.tiles import fineness, tiled
from clothseg.prediction.turns import Turns
from clothseg.starter import starter_model
from clothseg.transforms import logits_to_mask
from clothseg.types import Float32Array, UInt8Array

Item = TypeVar("Item")
Result = TypeVar("Result")

# Photos worked on at once beside those in the network: one on its way in, one on its way out. Each may take 270 MB.
_ON_THEIR_WAY = 2


@dataclass(frozen=True)
class Outcome:
    """What became of one of many photos: a segmentation, or the reason why there is none.

    >>> [outcome.error is None for outcome in predictor.outcomes(["photo.jpg", b"no photo"])]
    [True, False]
    """

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


class Predictor:
    """Segments photos with one loaded model; may be used from several threads at once.

    Args:
        runtime: the network, ready to run.
        model: name, version and SHA-256 of the model file, for results.
        origin: which model this is and why it was taken, for people.
        passes: how often and how finely the network looks at a photo.

    >>> predictor.predict("photo.jpg").size
    (90, 60)
    >>> [segmentation.size for segmentation in predictor.predict_many(["photo.jpg", pixels])]
    [(90, 60), (90, 60)]
    """

    def __init__(
        self, runtime: Runtime, *, model: Mapping[str, str], origin: str = "", passes: Passes | None = None
    ) -> None:
        self._runtime = runtime
        self._turns = Turns(runtime)
        self.model = dict(model)
        self.origin = origin
        self.passes = passes or Passes()

    @property
    def description(self) -> ModelDescription:
        """What the model file says of itself: classes, image size, scores, licence and more."""
        return self._runtime.description

    @property
    def runtime_name(self) -> str:
        """What runs the network and where, such as "torch on cpu"."""
        return self._runtime.name

    def predict(self, photo: PhotoSource, *, name: str = "") -> Segmentation:
        """Segment one photo.

        Args:
            photo: path, encoded bytes, open binary file, Pillow image, or (H, W, 3) uint8 RGB pixels.
            name: what encoded bytes are called in results and errors, such as the address they came from.

        Raises:
            MissingInputError: there is no such file.
            PictureError: the photo cannot be read.
            ModelError: the network gave no numbers.
        """
        picture = read_picture(photo, name=name)
        file = name or name_of(photo)
        mask, logits = self._looked_at(picture.pixels)
        if not is_finite(logits):
            raise ModelError(
                f"The model {self.model.get('name', '')} gives no numbers on {file or 'this photo'} (NaN or "
                "infinite). Its weights are damaged: use another model"
            )
        return Segmentation(
            mask=mask,
            photo=picture.pixels,
            classes=self.description.classes,
            logits=logits,
            file=file,
            model=self.model,
            notes=picture.notes,
        )

    def predict_many(self, photos: Iterable[PhotoSource]) -> Iterator[Segmentation]:
        """Segment any number of photos in their order, working on the next while the network is busy.

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
        return self.in_pipeline(self.outcome, photos)

    def outcome(self, photo: PhotoSource, *, name: str = "") -> Outcome:
        """Segment one photo as `predict` does, but return what is wrong with it in place of raising it."""
        try:
            return Outcome(photo, self.predict(photo, name=name))
        except InputError as error:
            return Outcome(photo, error=error)

    def in_pipeline(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `work(item)` of each item in order, some of them at a time, so that neither cores nor network wait.

        Args:
            work: calls `predict` or `outcome`, and does what is to be done with the result, such as saving it.
            items: taken as they are needed.
        """
        source = iter(items)
        first = list(islice(source, 2))
        if len(first) < 2:  # a photo alone is done soonest by all cores together
            yield from map(work, first)
            return
        with self._turns.of_many() as streams:
            yield from in_order(work, chain(first, source), workers=streams + _ON_THEIR_WAY)

    def _looked_at(self, pixels: UInt8Array) -> tuple[UInt8Array, Float32Array]:
        """Return the mask, (H, W) uint8, and the logits at the model's resolution."""
        size = pixels.shape[0], pixels.shape[1]
        if fineness(self.passes, size, self.description.image_size) > 1:
            return tiled(self._logits, pixels, self.description, self.passes)
        logits = whole_logits(self._logits, pixels, self.description, self.passes)
        return logits_to_mask(logits, size), logits

    def _logits(self, batch: UInt8Array) -> Float32Array:
        return self._turns.logits(batch)


def load(
    model: str | Path | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    passes: Passes | None = None,
    checkpoints_path: str | Path = "checkpoints",
) -> Predictor:
    """Load a model and return the predictor that segments photos with it.

    Args:
        model: path of a model file; None takes the newest best checkpoint of your own training, or else the packaged
            starter model.
        runtime: auto; torch runs checkpoints; openvino or onnxruntime runs exported models.
        device: auto takes the fastest there is; or cpu, cuda, mps.
        precision: auto, fp32 or bf16; auto takes bf16 where it is fast and an exported model was shown to keep its
            masks with it.
        passes: how often and how finely the network looks at a photo; once, as a whole, if None.
        checkpoints_path: folder in which None looks.

    Raises:
        MissingModelError: there is no such file, or no model at all.
        ModelError: the file is damaged or foreign.
        MissingExtraError: what runs the model is not installed.

    >>> predictor = clothseg.load("model.ckpt")
    >>> predictor.description.classes.names[:3]
    ('background', 'closures', 'upperbody')
    """
    model_path, origin = chosen_model(model, Path(checkpoints_path))
    opened = open_runtime(model_path, runtime=runtime, device=device, precision=precision)
    identity = {"name": model_path.name, "version": opened.description.version, "sha256": opened.sha256}
    origin += unseen(opened.description)
    return Predictor(opened, model=identity, origin=origin, passes=passes)


def unseen(description: ModelDescription) -> str:
    """Return in words which classes a model has never seen, to put behind its origin; nothing where it has seen all."""
    names = ", ".join(description.unknown_classes)
    return f"; it has never seen {names}" if names else ""


def chosen_model(model: str | Path | None, checkpoints_path: Path) -> tuple[Path, str]:
    """Return the path of the model that `load` takes, and in words which it is and why.

    Raises:
        MissingModelError: there is none.
    """
    if model is not None:
        return Path(model), f"{model}"
    best = find_best(checkpoints_path)
    if best is not None:
        return best, f"{best}, the newest best of your own training"
    starter = starter_model()
    if starter is None:
        raise MissingModelError(
            f"No model: {checkpoints_path} holds no checkpoint of your own training, and this installation lacks the "
            "starter model. Train one with: uv run train.py, or pass --ckpt PATH"
        )
    return starter, "the packaged starter model, as there is none of your own training"
