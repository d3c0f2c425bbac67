"""What covers a sample figure's trunk and limbs: tops, trousers, skirts, dresses, coats, and their sleeves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clothseg.data.sample.body import SIDES, Body
from clothseg.data.sample.fabric import Fabric, cloth
from clothseg.data.sample.figure import Figure, leg_shapes
from clothseg.data.sample.shapes import Points, smooth, xy

# Levels of the body: 0 the base of the neck, 1 the hips.
WAIST, HIPS = 0.64, 1.0


@dataclass(frozen=True)
class Garment:
    """A garment in the wardrobe; its instance is begun, its layers are painted when it is put on."""

    category: str
    fabric: Fabric
    owners: tuple[int, ...]
    hem: float
    """Level where its trunk or skirt ends."""
    sleeve: float = 0.0
    """Where the sleeves end along the arm: 0 none, 1 the elbow, 2 the wrist."""
    ease: float = 0.005
    """How far it stands off the body."""
    neck: tuple[float, float] = (0.045, 0.1)
    """Half the width of its neckline, and the level it reaches down to."""
    legs: float = 0.0
    """Where its legs end: 0 none, 1 the knee, 2 the ankle."""
    flare: float = 0.0
    """How much wider the hem is than the body."""
    opening: float = 0.0
    """Half the width of the gap in front at the hem; 0 is closed."""


def make_garment(figure: Figure, category: str) -> Garment:
    """Return a garment of `category` with a random cloth and cut."""
    rng = figure.rng
    patterns: tuple[str, ...] = ()
    if category in ("sweater", "cardigan"):
        patterns = ("knit", "knit", "stripes", "tweed")
    elif category in ("pants", "shorts") and rng.random() < 0.5:
        patterns = ("denim",)
    elif category in ("coat", "jacket", "vest") and rng.random() < 0.4:
        patterns = ("herringbone", "tweed", "denim", "tartan")
    fabric = cloth(rng, figure.height, patterns=patterns)
    cut = _CUTS[category]
    ranges = {name: bounds for name, bounds in cut.items() if name not in ("sleeve", "legs")}
    pick = {name: float(rng.uniform(bounds[0], bounds[1])) for name, bounds in ranges.items()}
    neck = (pick.pop("neck_width", 0.045), pick.pop("neck_depth", 0.1))
    ends = {name: float(rng.choice(cut[name])) for name in ("sleeve", "legs") if name in cut}
    opening = pick.pop("opening", 0.0)
    opening = opening if rng.random() < 0.65 else 0.0
    return Garment(category, fabric, figure.wear(category), neck=neck, opening=opening, **pick, **ends)


_CUTS: dict[str, dict[str, tuple[float, ...]]] = {
    "shirt, blouse": {
        "hem": (0.85, 1.1),
        "sleeve": (0.55, 1.9, 1.9),
        "ease": (0.006, 0.014),
        "neck_depth": (0.08, 0.14),
    },
    "top, t-shirt, sweatshirt": {
        "hem": (0.6, 1.08),
        "sleeve": (0.0, 0.45, 0.6, 1.85),
        "ease": (0.003, 0.016),
        "neck_width": (0.042, 0.062),
        "neck_depth": (0.08, 0.2),
    },
    "sweater": {"hem": (0.8, 1.12), "sleeve": (1.3, 1.9, 1.95), "ease": (0.01, 0.022), "neck_depth": (0.06, 0.11)},
    "cardigan": {"hem": (0.9, 1.4), "sleeve": (1.4, 1.95), "ease": (0.012, 0.024), "opening": (0.03, 0.07)},
    "jacket": {"hem": (0.75, 1.12), "sleeve": (1.85, 1.95), "ease": (0.014, 0.026), "opening": (0.02, 0.06)},
    "vest": {"hem": (0.75, 1.08), "ease": (0.01, 0.02), "opening": (0.015, 0.05)},
    "coat": {
        "hem": (1.4, 2.2),
        "sleeve": (1.9, 1.98),
        "ease": (0.018, 0.03),
        "flare": (0.0, 0.035),
        "opening": (0.02, 0.08),
    },
    "pants": {"hem": (1.0, 1.0), "ease": (0.003, 0.02), "legs": (1.7, 1.95, 1.97), "flare": (-0.004, 0.03)},
    "shorts": {"hem": (1.0, 1.0), "ease": (0.008, 0.024), "legs": (0.45, 0.65, 0.95), "flare": (0.0, 0.015)},
    "skirt": {"hem": (1.4, 2.3), "ease": (0.005, 0.01), "flare": (0.0, 0.12)},
    "dress": {
        "hem": (1.45, 2.35),
        "sleeve": (0.0, 0.0, 0.45, 1.85),
        "ease": (0.004, 0.012),
        "flare": (0.0, 0.12),
        "neck_width": (0.045, 0.066),
        "neck_depth": (0.1, 0.24),
    },
    "jumpsuit": {
        "hem": (1.0, 1.0),
        "sleeve": (0.0, 0.5, 1.85),
        "ease": (0.006, 0.016),
        "legs": (0.6, 1.9, 1.95),
        "flare": (0.0, 0.03),
        "neck_depth": (0.1, 0.2),
    },
    "cape": {"hem": (0.75, 1.3), "flare": (0.05, 0.1)},
}


def put_on(figure: Figure, garment: Garment) -> None:
    """Paint all of a garment but its sleeves."""
    body, rng = figure.body, figure.rng
    creases: list[Points] = []
    if garment.category == "cape":
        shapes = [_cape(body, garment)]
        creases = [np.array([body.torso(x * 0.5, 0.1), body.torso(x * 1.7, garment.hem)]) for x in (-0.08, 0.0, 0.08)]
    elif garment.category in ("pants", "shorts"):
        shapes, creases = _trousers(body, garment)
    elif garment.category == "skirt":
        shapes, creases = [_skirt(body, garment, rng)], _pleats(body, garment, rng)
    elif garment.opening:
        shapes = [_panel(body, garment, side) for side in SIDES]
    else:
        shapes = [_bodice(body, garment)]
        if garment.category == "dress":
            shapes.append(_skirt(body, garment, rng))
            creases = _pleats(body, garment, rng)
        elif garment.category == "jumpsuit":
            legs, creases = _trousers(body, garment)
            shapes += legs
        elif garment.hem > HIPS + 0.15:
            shapes.append(_skirt(body, garment, rng))
    if garment.category in ("shirt, blouse", "cardigan", "jacket", "vest", "coat") and not garment.opening:
        creases = [*creases, np.array([body.torso(0, level) for level in (garment.neck[1], 0.5, garment.hem)])]
    figure.paint(shapes, garment.fabric, garment.owners, bulge=0.045, shadow=0.4, creases=creases)


def put_on_sleeve(figure: Figure, garment: Garment, side: int) -> None:
    """Paint one sleeve: it belongs to its garment and is a sleeve of its own."""
    if not garment.sleeve:
        return
    limb, thick = figure.body.arms[max(side, 0)], figure.body.build
    wide = 0.008 if garment.flare > 0.05 else 0.0
    widths = np.array((0.026, 0.024, 0.018 + wide)) * thick + 0.35 * garment.ease + 0.003
    along = limb.middle - limb.root
    angle = float(np.arctan2(-along[0], along[1]))
    owners = figure.wear("sleeve", *garment.owners)
    figure.paint(
        limb.sleeve(0, garment.sleeve, (0, 1, 2), list(widths)),
        garment.fabric,
        owners,
        angle=angle,
        bulge=0.026,
        shadow=0.45,
    )


def put_on_tights(figure: Figure, fabric: Fabric) -> None:
    """Paint tights from the hips to the toes; both legs are one instance."""
    owners = figure.wear("tights, stockings")
    legs = [shape for limb in figure.body.legs for shape in leg_shapes(figure.body, limb, 0.0, 2.0, 0.001)]
    figure.paint([_seat(figure.body, 0.003), *legs], fabric, owners, bulge=0.035, shadow=0.2)


def neck_line(body: Body, garment: Garment) -> Points:
    """Return the edge of a garment's neckline, from left to right."""
    width, depth = garment.neck
    shares = ((-1.0, 0.0), (-0.8, 0.55), (0.0, 1.0), (0.8, 0.55), (1.0, 0.0))
    return np.array([body.torso(width * x, depth * y - 0.01) for x, y in shares])


def half_width(body: Body, garment: Garment, level: float, side: int) -> float:
    """Return how far a skirt or a coat reaches to `side` at `level`."""
    if level <= HIPS:
        return body.half_width(level) + garment.ease
    share = (level - HIPS) / max(garment.hem - HIPS, 0.1)
    narrow = max(body.half_width(HIPS) - 0.012, body.reach(level, side)) + garment.ease
    return narrow + garment.flare * share


def _side(body: Body, garment: Garment, side: int, levels: tuple[float, ...]) -> list[Points]:
    return [body.torso(side * half_width(body, garment, level, side), level) for level in levels]


def _bodice(body: Body, garment: Garment) -> Points:
    hem = min(garment.hem, 1.1)
    levels = tuple(level for level in (0.2, 0.34, WAIST, 0.86) if level < hem - 0.05)
    right = [_shoulder(body, garment, 1), *_side(body, garment, 1, (*levels, hem))]
    left = [_shoulder(body, garment, -1), *_side(body, garment, -1, (*levels, hem))]
    line = [body.torso(0, hem + 0.03)]
    return smooth([*neck_line(body, garment), *right, *line, *left[::-1]], steps=5)


def _shoulder(body: Body, garment: Garment, side: int) -> Points:
    bare = 0.02 if not garment.sleeve and garment.category != "vest" else 0.0
    return body.torso(side * (body.half_width(0.05) + 0.5 * garment.ease - bare), 0.055)


def _panel(body: Body, garment: Garment, side: int) -> Points:
    """Return one half of a garment that is open in front."""
    below = tuple(level for level in (0.2, 0.34, WAIST, 0.86, HIPS, 1.4, 1.8) if level < garment.hem - 0.1)
    outer = [body.torso(side * 0.04, -0.02), _shoulder(body, garment, side)]
    outer += _side(body, garment, side, (*below, garment.hem))
    inner = [
        body.torso(side * garment.opening * share, level)
        for share, level in ((1.0, garment.hem + 0.02), (0.9, 0.6 * garment.hem), (0.7, 0.3 * garment.hem))
    ]
    return smooth([*outer, *inner, body.torso(side * 0.03, 0.04)], steps=5)


def _skirt(body: Body, garment: Garment, rng: np.random.Generator) -> Points:
    levels = tuple(level for level in (0.86, HIPS, 1.3, 1.7) if level < garment.hem - 0.1)
    waist = rng.uniform(0.58, 0.72) if garment.category == "skirt" else WAIST
    right = _side(body, garment, 1, (waist, *levels, garment.hem))
    left = _side(body, garment, -1, (waist, *levels, garment.hem))
    count, sag = int(rng.integers(3, 8)), 0.02 + 0.1 * garment.flare
    wave = 0.15 * garment.flare * rng.uniform(0.3, 1.0)
    hem = []
    for number, share in enumerate(np.linspace(0, 1, 2 * count + 1)[1:-1]):
        point = right[-1] + (left[-1] - right[-1]) * share
        hem.append(point + xy(0, sag * np.sin(np.pi * share) + wave * (-1) ** number))
    return smooth([*right, *hem, *left[::-1]], steps=5)


def _pleats(body: Body, garment: Garment, rng: np.random.Generator) -> list[Points]:
    if garment.flare < 0.03:
        return []
    shares = np.linspace(-0.85, 0.85, int(rng.integers(3, 9)))
    width, reach = body.half_width(WAIST), half_width(body, garment, garment.hem, 1)
    return [np.array([body.torso(x * width, 0.7), body.torso(x * reach, garment.hem)]) for x in shares]


def _seat(body: Body, ease: float) -> Points:
    levels = (0.7, 0.88, HIPS, 1.12)
    right = [body.torso(body.half_width(level) + ease, level) for level in levels]
    left = [body.torso(-body.half_width(level) - ease, level) for level in levels]
    return smooth([*right, body.torso(0, 1.26), *left[::-1]], steps=5)


def _trousers(body: Body, garment: Garment) -> tuple[list[Points], list[Points]]:
    shapes = [_seat(body, garment.ease)]
    for limb in body.legs:
        widths = np.array((0.053, 0.047, 0.036, 0.027)) * body.build + garment.ease
        widths += garment.flare * np.array((0.0, 0.25, 1.0, 1.0) if garment.legs < 1.2 else (0.0, 0.0, 0.25, 1.0))
        shapes += limb.sleeve(0.0, garment.legs, (0, 0.5, 1, 2), list(widths))
    left, right = body.legs
    inseam = np.array(
        [body.torso(0, 1.14), *((left.at(share) + right.at(share)) / 2 for share in (0.4, 0.8, 1.3, 1.9))]
    )
    return shapes, [np.array([body.torso(0, 0.75), body.torso(0.004, 1.05)]), inseam]


def _cape(body: Body, garment: Garment) -> Points:
    edge = [(0.04, -0.02), (0.1, 0.05), (0.135, 0.3), (0.15 + garment.flare, garment.hem)]
    right = [body.torso(x, level) for x, level in edge]
    left = [body.torso(-x, level) for x, level in edge]
    hem = [body.torso(x * (0.15 + garment.flare), garment.hem + 0.12 * (1 - x * x)) for x in (0.5, 0.0, -0.5)]
    return smooth([body.torso(0, 0.04), *right, *hem, *left[::-1]], steps=5)
