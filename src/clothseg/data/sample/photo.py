"""One drawn photo: where people stand, what they wear, the light, and the outlines of it all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clothseg.data.sample.body import random_body
from clothseg.data.sample.canvas import Canvas
from clothseg.data.sample.figure import Figure, Place
from clothseg.data.sample.outfit import CATEGORIES, choose, dress
from clothseg.data.sample.outlines import annotate
from clothseg.data.sample.scenery import backdrop, cast_shadow, develop
from clothseg.types import UInt8Array

SPLITS = ("train", "val", "test")
_STEP = 17  # no common factor with 46: every category is featured once in any 46 photos in a row


@dataclass(frozen=True)
class Scene:
    """How a photo is to be taken."""

    height: int
    width: int
    people: int
    framing: str
    """full, small, close or part."""
    featured: str
    """A Fashionpedia category that the first person wears."""


@dataclass(frozen=True)
class DrawnPhoto:
    """A finished photo and the truth about it."""

    pixels: UInt8Array
    """(H, W, 3) uint8 RGB."""
    instances: list[dict[str, Any]]
    """Category, segmentation, area, bbox and iscrowd of each, as `annotate` returns them."""
    canvas: Canvas
    quality: int
    """JPEG quality it is stored with."""


def draw_photo(seed: int, split: str, index: int) -> DrawnPhoto:
    """Return photo `index` of a split: train, val or test."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    long = int(rng.integers(360, 721))
    ratio = float(
        rng.choice([2 / 3, 3 / 4, 4 / 5, 9 / 16, 1.0, 4 / 3, 3 / 2], p=[0.3, 0.25, 0.1, 0.12, 0.08, 0.1, 0.05])
    )
    height, width = (long, round(long * ratio)) if ratio <= 1 else (round(long / ratio), long)
    people = 2 if rng.random() < (0.5 if ratio > 1 else 0.12) else 1
    framing = str(rng.choice(["full", "small", "close", "part"], p=[0.6, 0.1, 0.2, 0.1]))
    featured = CATEGORIES[((index + seed) * _STEP + SPLITS.index(split) * 5) % len(CATEGORIES)]
    return _take(Scene(height, width, people, framing, featured), rng)


def sample_picture(seed: int = 0) -> UInt8Array:
    """Return one drawn photo of a whole person, (720, 480, 3) uint8 RGB."""
    rng = np.random.default_rng([seed, len(SPLITS)])
    return _take(
        Scene(720, 480, 1, "full", str(rng.choice(["hat", "scarf", "dress", "jacket", "shirt, blouse"]))), rng
    ).pixels


def _take(scene: Scene, rng: np.random.Generator) -> DrawnPhoto:
    """Return the photo of a scene."""
    bodies = [random_body(rng) for _ in range(scene.people)]
    places = _places(scene, rng)
    feet = [place.to_photo([limb.end for limb in body.legs]) for body, place in zip(bodies, places, strict=True)]
    lowest = max(float(points[:, 1].max()) for points in feet)
    ground = lowest - rng.uniform(0.03, 0.2) * scene.height
    light = rng.uniform(-0.8, 0.8)
    photo = backdrop(rng, scene.height, scene.width, ground if ground < scene.height else scene.height * 0.95)
    shade = rng.uniform(0.2, 0.5)
    for points, place in zip(feet, places, strict=True):
        center = points.mean(axis=0)
        radii = (0.16 * place.height, 0.04 * place.height)
        cast_shadow(photo, (float(center[0]), float(center[1]) + 0.02 * place.height), radii, shade)
    canvas = Canvas(photo, (light, -0.7), rng)
    for number, (body, place) in enumerate(zip(bodies, places, strict=True)):
        figure = Figure.random(canvas, body, place, rng)
        featured = scene.featured if number == scene.people - 1 else str(rng.choice(CATEGORIES))
        dress(figure, choose(figure, featured))
    return DrawnPhoto(develop(canvas.photo, rng), annotate(canvas), canvas, int(rng.integers(82, 96)))


def _places(scene: Scene, rng: np.random.Generator) -> list[Place]:
    """Return where each person stands, the one farthest away first."""
    share = {
        "full": rng.uniform(0.78, 0.93),
        "small": rng.uniform(0.42, 0.62),
        "close": rng.uniform(1.2, 1.8),
        "part": rng.uniform(1.3, 1.9),
    }[scene.framing]
    places = []
    for number in range(scene.people):
        height = share * scene.height * (0.9 if number < scene.people - 1 else 1.0)
        spread = 0.1 if scene.people == 1 else 0.04
        x = scene.width * ((number + 0.7) / (scene.people + 0.4) + rng.normal(0, spread * 0.5))
        if scene.framing in ("full", "small"):
            slack = scene.height - height
            y = 0.505 * height + slack * rng.uniform(0.35, 0.75)
        elif scene.framing == "close":
            y = 0.5 * height + scene.height * rng.uniform(0.04, 0.12)
        else:
            y = scene.height * rng.uniform(0.25, 0.7)
        places.append(Place(np.array([x, y]), height, float(rng.normal(0, 0.03))))
    return places
