"""The report's pictures: photos that our own generator draws, or a reader's own, and what the model finds in them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pycocotools import mask as coco
from sources import PHOTO_CREDITS

from clothseg.data.sample import draw_photo
from clothseg.data.sample.mirror import DrawnPhoto
from clothseg.drawing import classes_in, overlay, side_by_side, with_legend
from clothseg.encoding import encode_jpeg
from clothseg.labels import BACKGROUND_ID, FASHIONPEDIA_CATEGORIES, GROUPS
from clothseg.pictures import read_picture
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.segmentation import Segmentation
from clothseg.scores import Scores, confusion_matrix
from clothseg.transforms import resize_image
from clothseg.types import UInt8Array

DRAWN = 12
"""Photos drawn, of which the best and the worst are shown."""
SHOWN = 3
PHOTOS = Path(__file__).parents[2] / "docs" / "pictures" / "photos"
HEIGHT = 360
"""Of a shown photo, in pixels."""
_SEED, _SPLIT = 7, "test"
_MOST_BYTES = 45_000


@dataclass(frozen=True)
class Shown:
    """A picture of the report."""

    name: str
    content: bytes
    words: str
    """What it shows, for people and screen readers."""


@dataclass(frozen=True)
class Drawn:
    """Drawn photos beside their truth and what the model found."""

    best: list[Shown]
    worst: list[Shown]
    count: int
    """How many were drawn and scored, to find these."""
    real: list[Shown]
    """Real photos that the project may show, with what the model found, good or bad."""


def drawn_pictures(predictor: Predictor, *, drawn: int = DRAWN) -> Drawn:
    """Return the drawn photos in which the model did best, and those in which it did worst."""
    known = predictor.description.training_data.get("known_classes") or GROUPS.names
    scored = sorted(_scored(predictor, drawn, frozenset(known)), key=lambda one: -one[0])
    best, worst = scored[:SHOWN], scored[: -SHOWN - 1 : -1]
    real = [
        replace(one, name=f"photo-{one.name}", words=f"{PHOTO_CREDITS[Path(one.name).stem]}; {one.words}")
        for one in readers_pictures(predictor, PHOTOS)
    ]
    return Drawn(_named("drawn-best", best), _named("drawn-worst", worst), count=len(scored), real=real)


def _named(kind: str, chosen: list[tuple[float, UInt8Array, str]]) -> list[Shown]:
    return [
        Shown(f"{kind}-{place}.jpg", _jpeg(picture), f"{words}; mean IoU of its garments {iou:.2f}")
        for place, (iou, picture, words) in enumerate(chosen, start=1)
    ]


def readers_pictures(predictor: Predictor, folder: Path) -> Iterator[Shown]:
    """Yield the photos of a folder beside what the model finds in them."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    if not paths:
        raise SystemExit(f"Error: no photos in {folder}. Pass a folder with .jpg, .png or .webp files")
    for path in paths:
        segmentation = predictor.predict(read_picture(path).pixels)
        found = ", ".join(f"{label.name} {label.share:.0%}" for label in segmentation.labels) or "nothing"
        yield Shown(f"{path.stem}.jpg", _jpeg(_beside(segmentation, None)), f"found: {found}")


def truth_of(photo: DrawnPhoto, known: Collection[str]) -> UInt8Array:
    """Return the true mask of a drawn photo, (H, W) uint8 class ids: small instances lie on large ones.

    Classes that are not `known` are left out, so that a sleeve, a garment part, is what it is part of.
    """
    height, width = photo.pixels.shape[:2]
    groups = {name: group for group, names in FASHIONPEDIA_CATEGORIES.items() for name in names}
    mask = np.full((height, width), BACKGROUND_ID, np.uint8)
    for instance in sorted(photo.instances, key=lambda one: -one["area"]):
        outline = instance["segmentation"]
        runs = outline if isinstance(outline, dict) else coco.merge(coco.frPyObjects(outline, height, width))
        class_id = GROUPS.id_for_category(instance["category"], groups[instance["category"]])
        if class_id is not None and GROUPS.names[class_id] in known:
            with warnings.catch_warnings():
                # pycocotools 2.0.11 hands NumPy 2 an array class without the copy keyword.
                warnings.filterwarnings("ignore", message="__array__ implementation", category=DeprecationWarning)
                mask[coco.decode(runs) > 0] = class_id
    return mask


def _scored(predictor: Predictor, drawn: int, known: frozenset[str]) -> Iterator[tuple[float, UInt8Array, str]]:
    """Yield mean IoU over the garments that the model knows, picture and words of each drawn photo."""
    size = GROUPS.num_classes
    for index in range(drawn):
        photo = draw_photo(_SEED, _SPLIT, index)
        truth = truth_of(photo, known)
        segmentation = predictor.predict(photo.pixels)
        if segmentation.classes.names != GROUPS.names:
            raise SystemExit("Error: the model has classes of its own, and the drawn photos have the 13 groups")
        scores = Scores.from_confusion(confusion_matrix(segmentation.mask, truth, size), GROUPS.names)
        garments = [float(value) for value in scores.iou[1:] if not math.isnan(value)]
        if garments:
            yield sum(garments) / len(garments), _beside(segmentation, truth), f"Drawn photo {_SEED}/{index}"


def _beside(segmentation: Segmentation, truth: UInt8Array | None) -> UInt8Array:
    """Return photo, truth where there is one, and what was found, from left to right, with a legend."""
    photo, classes = segmentation.photo, segmentation.classes
    masks = [segmentation.mask] if truth is None else [truth, segmentation.mask]
    width = max(1, round(photo.shape[1] * HEIGHT / photo.shape[0]))
    pictures = [resize_image(one, (HEIGHT, width)) for one in (photo, *(overlay(photo, m, classes) for m in masks))]
    shown = sorted({class_id for mask in masks for class_id in classes_in(mask)})
    return with_legend(side_by_side(*pictures), classes, shown)


def _jpeg(picture: UInt8Array) -> bytes:
    """Return the best JPEG of at most `_MOST_BYTES`, or the smallest one."""
    contents = (encode_jpeg(picture, quality) for quality in range(90, 50, -4))
    content = next(contents)
    for content in contents:
        if len(content) <= _MOST_BYTES:
            break
    return content
