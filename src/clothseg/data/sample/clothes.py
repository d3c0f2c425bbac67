"""What sample figures wear on trunk and limbs, and what is sewn onto it: parts, closures and decorations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.data.sample.canvas import Cloth, Points, band, box, ellipse, rotate, smooth
from clothseg.data.sample.figure import HIPS, SIDES, WAIST, Figure

Instance = Sequence[npt.ArrayLike]
"""The outlines of one instance, in units of a figure's body."""


CUTS: dict[str, dict[str, tuple[float, float]]] = {
    "shirt, blouse": {"hem": (0.85, 1.1), "sleeve": (0.5, 2.2)},
    "top, t-shirt, sweatshirt": {"hem": (0.6, 1.08), "sleeve": (-0.4, 1.9)},
    "sweater": {"hem": (0.8, 1.12), "sleeve": (1.3, 2.2), "ease": (0.012, 0.022)},
    "cardigan": {"hem": (0.9, 1.4), "sleeve": (1.4, 2.0), "ease": (0.012, 0.024), "opening": (0.03, 0.07)},
    "jacket": {"hem": (0.75, 1.12), "sleeve": (1.8, 2.0), "ease": (0.014, 0.026), "opening": (0.015, 0.06)},
    "vest": {"hem": (0.75, 1.08), "ease": (0.01, 0.02), "opening": (0.015, 0.05)},
    "pants": {"legs": (1.6, 1.97), "ease": (0.003, 0.02), "flare": (-0.004, 0.03), "top": (0.66, 0.7)},
    "shorts": {"legs": (0.4, 0.95), "ease": (0.008, 0.024), "top": (0.66, 0.7)},
    "skirt": {"hem": (1.4, 2.3), "flare": (0.0, 0.12), "top": (0.6, 0.7)},
    "coat": {"hem": (1.4, 2.2), "sleeve": (1.9, 2.0), "ease": (0.018, 0.03), "opening": (0.01, 0.08)},
    "dress": {"hem": (1.45, 2.35), "sleeve": (-0.9, 2.0), "flare": (0.0, 0.12)},
    "jumpsuit": {"sleeve": (-0.5, 2.0), "legs": (0.6, 2.4), "flare": (0.0, 0.03)},
    "cape": {"hem": (0.75, 1.3), "ease": (0.03, 0.05), "flare": (0.05, 0.1)},
}
"""Bounds of each measure of a garment, by category. These are upperbody, lowerbody and wholebody."""


@dataclass(frozen=True)
class Garment:
    """A garment of a figure: its instance is begun, and its layers are painted when it is put on."""

    figure: Figure
    category: str
    cloth: Cloth
    owners: tuple[int, ...]
    top: float = 0.0
    """Level where it begins."""
    hem: float = HIPS
    """Level where the trunk or the skirt ends."""
    sleeve: float = 0.0
    """Where sleeves end along the arm: 1 the elbow, 2 the wrist; there are none below 0.3."""
    legs: float = 0.0
    """Where legs end: 0 none, 1 the knee, 2 the ankle."""
    ease: float = 0.01
    """How far it stands off the body."""
    flare: float = 0.0
    """How much wider the hem is than the body."""
    opening: float = 0.0
    """Half the width of the gap in front; 0 is closed."""
    neck: float = 0.1
    """Level that the neckline reaches down to."""

    @classmethod
    def make(cls, figure: Figure, category: str) -> Garment:
        """Return a garment of `category` with a random cloth and cut."""
        rng = figure.rng
        cut = {name: float(rng.uniform(*bounds)) for name, bounds in CUTS[category].items()}
        neck = float(rng.uniform(0.07, 0.18))
        return cls(figure, category, Cloth.random(rng), figure.canvas.instance(category), neck=neck, **cut)

    def put_on(self) -> None:
        """Paint all of it but the sleeves."""
        figure = self.figure
        shapes = [self._panel(side) for side in SIDES] if self.opening else [self._trunk()]
        if self.legs:
            flares = (0, 0, self.flare / 4, self.flare) if self.legs > 1.2 else (0, self.flare, self.flare, self.flare)
            widths = np.array((0.053, 0.047, 0.036, 0.027)) * figure.build + self.ease + flares
            shapes += [shape for limb in figure.legs for shape in limb.part(0, min(self.legs, 1.97), *widths)]
        figure.paint(shapes, self.cloth, self.owners)

    def put_on_sleeve(self, side: int) -> None:
        """Paint one sleeve: it belongs to the garment and is an instance itself."""
        if self.has_sleeves:
            figure = self.figure
            widths = np.array((0.029, 0.027, 0.021)) * figure.build + 0.35 * self.ease
            owners = figure.canvas.instance("sleeve", *self.owners)
            figure.paint(figure.arms[max(side, 0)].part(0, min(self.sleeve, 1.95), *widths), self.cloth, owners)

    def sew_on(self, name: str) -> None:
        """Paint a garment part, a closure or a decoration, named as in Fashionpedia."""
        cloth = self.cloth if name == "lapel" or self.figure.rng.random() < 0.2 else Cloth.random(self.figure.rng)
        for shapes in part_of(self, name):
            self.figure.paint(shapes, cloth, self.figure.canvas.instance(name, *self.owners))

    def edge(self, level: float, side: int) -> tuple[float, float]:
        """Return the outer edge at `level`, as `Figure.torso` takes it."""
        share = max(level - HIPS, 0) / max(self.hem - HIPS, 0.1)
        if self.category == "cape":
            share = level / self.hem
        return side * (self.figure.half_width(level, side) + self.ease + self.flare * share), level

    def around(self, level: float, share: float = 1.0, *, count: int = 9) -> Points:
        """Return a line around the body at `level`, from left to right, over `share` of its width."""
        left, right = (self.edge(level, side)[0] * share for side in SIDES)
        return self.figure.torso([(x, level + 0.03 * (1 - (x / right) ** 2)) for x in np.linspace(left, right, count)])

    def neckline(self) -> Points:
        """Return the edge of the neckline, from left to right."""
        return self.figure.torso([(0.05 * x, self.neck * (1 - x * x) - 0.01) for x in (-1, -0.7, 0, 0.7, 1)])

    @property
    def has_sleeves(self) -> bool:
        """Whether it has sleeves."""
        return self.sleeve > 0.3

    @property
    def has_trunk(self) -> bool:
        """Whether it covers the chest."""
        return not self.top

    def _side(self, side: int) -> list[tuple[float, float]]:
        shoulder = self.figure.half_width(0.05, side) - (0.0 if self.has_sleeves else 0.02)
        first = [(side * shoulder, 0.055)] if self.has_trunk else []
        levels = [level for level in (0.2, 0.34, WAIST, 0.88, HIPS, 1.3, 1.7) if self.top <= level < self.hem - 0.08]
        return [*first, *(self.edge(level, side) for level in (*levels, self.hem))]

    def _trunk(self) -> Points:
        collar = self.figure.torso([(0, self.top)]) if self.top else self.neckline()
        low = [(0.0, 1.26 if self.legs else self.hem + 0.03)]
        sides = self.figure.torso([*self._side(1), *low, *self._side(-1)[::-1]])
        return smooth(np.concatenate((collar, sides)))

    def _panel(self, side: int) -> Points:
        """Return one half of a garment that is open in front."""
        inner = [(side * self.opening * share, level) for share, level in ((1, self.hem + 0.02), (0.7, 0.3 * self.hem))]
        return smooth(self.figure.torso([(side * 0.04, -0.02), *self._side(side), *inner, (side * 0.03, 0.04)]))


def part_of(garment: Garment, name: str) -> list[Instance]:
    """Return the instances of a garment part or a closure; sleeves and buckles are painted with what they are on."""
    figure, rng, opening = garment.figure, garment.figure.rng, garment.opening
    match name:
        case "hood":
            half = [(0.0, -1.4), (1.1, -1.1), (1.5, -0.2), (1.6, 0.8), (0.9, 1.7)]
            return [[smooth(figure.on_face(half + [(-x, y) for x, y in half[:0:-1]]))]]
        case "collar":
            tip, low = rng.uniform(0.05, 0.07), rng.uniform(0.14, 0.2)
            return [_mirrored(garment, [(0.042, -0.06), (0.058, 0.03), (tip, low), (0.004, 0.085), (0.028, 0.02)])]
        case "lapel":
            wide, edge = rng.uniform(0.06, 0.078), opening * 0.75
            outline = [(0.035, -0.04), (0.056, 0.02), (wide, 0.22), (wide * 0.8, 0.28), (edge, 0.6)]
            return [[shape] for shape in _mirrored(garment, [*outline, (0.014 + edge / 2, 0.1)])]
        case "epaulette":
            lines = _mirrored(garment, [(0.05, 0.03), (figure.half_width(0.05, 1), 0.065)])
            return [[band(line, 0.014)] for line in lines]
        case "pocket":
            x, level = (0.055, rng.choice([0.3, 0.8])) if garment.has_trunk else (0.052, 0.98)
            wide, tall, tilt = rng.uniform(0.02, 0.03), rng.uniform(0.02, 0.03), rng.uniform(-0.25, 0.25)
            return [[box(figure.torso([(side * x, level)]), wide, tall, side * tilt)] for side in SIDES]
        case "neckline":
            return [[band(garment.neckline(), rng.uniform(0.007, 0.011))]]
        case "zipper":
            start, stop = (garment.neck + 0.05, min(garment.hem, 1.1) - 0.03) if garment.has_trunk else (0.72, 0.95)
            line = figure.torso([(opening * (0.6 + 0.4 * y), y) for y in np.linspace(start, stop, 4)])
            return [[band(line, 0.007), box(line[0] + (0, 0.014), 0.009, 0.014)]]
        case _:
            return [_decoration(garment, name)]


def _decoration(garment: Garment, name: str) -> Instance:
    """Return the outlines of one of Fashionpedia's ten decorations."""
    figure, rng, has_trunk = garment.figure, garment.figure.rng, garment.has_trunk
    match name:
        case "applique":
            turn, radius = np.linspace(0, 2 * np.pi, 10, endpoint=False), rng.uniform(0.03, 0.045)
            star = np.stack((np.sin(turn), -np.cos(turn)), axis=1) * np.resize((1.0, 0.45), (10, 1))
            return [_spot(garment) + star * radius]
        case "bead":
            line = smooth(garment.neckline(), closed=False) if has_trunk else _hem(garment)
            return [dot for down in (0.016, 0.032) for dot in _dots(np.add(line[2:-2], (0, down)), 0.007)]
        case "bow":
            center, size = (
                figure.torso([(0, garment.neck + 0.06 if has_trunk else WAIST + 0.1)]),
                rng.uniform(0.035, 0.055),
            )
            half = (smooth([(0, 0), (1.1, -0.6), (1.1, 0.5)]), np.array([(0, 0), (0.75, 1.4), (0.3, 1.4)]))
            wings = [center + shape * (x, size) for shape in half for x in (-size, size)]
            return [ellipse(center, size * 0.25, size * 0.3), *wings]
        case "flower":
            spot = _spot(garment)
            centers = [spot, spot + rng.uniform(-0.05, 0.05, 2)]
            petals = [rotate(ellipse((0.6, 0), 0.5, 0.3), turn) * 0.024 for turn in range(6)]
            return [center + petal for center in centers for petal in petals]
        case "fringe":
            return [_waved(_hem(garment), rng.uniform(0.04, 0.07), 0.012)]
        case "ribbon":
            line, fall = garment.around(WAIST if has_trunk else 0.8), rng.uniform(0.1, 0.18)
            return [band(line, 0.01), *(band([line[6], line[6] + (x, fall)], 0.01) for x in (-0.02, 0.035))]
        case "rivet":
            columns, top = (0.045, 0.063, 0.081), 0.14 if has_trunk else 0.9
            return _dots(
                figure.torso([(side * x, top + y) for side in SIDES for x in columns for y in (0, 0.06)]), 0.0065
            )
        case "ruffle":
            deep = rng.uniform(0.025, 0.04)
            return [_waved(_hem(garment), *(deep * wave for wave in (1, 1.3, 1.4, 1.3, 1, 0.7, 0.6, 0.7)))]
        case "sequin":
            top, low = (0.18, rng.uniform(0.4, 0.58)) if has_trunk else (0.75, 1.05)
            rows = [garment.around(level, 0.6, count=8) for level in np.arange(top, low, 0.05)]
            return [shape for row in rows for shape in _dots(row, 0.009)]
        case "tassel":
            line, long = _hem(garment), rng.uniform(0.05, 0.08)
            bell = np.array([(-0.004, -0.02), (0.004, -0.02), (0.016, long), (-0.016, long)])
            return [line[index] + bell for index in (len(line) // 4, 3 * len(line) // 4)]
    raise ValueError(f"No shape for {name!r}")


def _mirrored(garment: Garment, outline: Sequence[tuple[float, float]]) -> list[Points]:
    """Return an outline, given as `Figure.torso` takes it, on both sides of the body."""
    return [garment.figure.torso([(side * x, level) for x, level in outline]) for side in SIDES]


def _spot(garment: Garment) -> Points:
    """Return a position for something small: on the chest, or on a thigh."""
    rng = garment.figure.rng
    side, level = rng.choice(SIDES), rng.uniform(0.25, 0.4) if garment.has_trunk else rng.uniform(0.95, 1.15)
    return garment.figure.torso([(side * max(0.045, garment.opening + 0.02), level)]).ravel()


def _hem(garment: Garment) -> Points:
    """Return the lower edge from left to right; that of trousers is their waist."""
    return smooth(garment.around(0.8 if garment.legs else garment.hem - 0.02, 0.95), closed=False)


def _waved(line: Points, *depths: float) -> Points:
    """Return a band that hangs down from `line`, with `depths` repeated along its lower edge."""
    lower = line + np.stack((np.zeros(len(line)), np.resize(depths, len(line))), axis=1)
    return np.concatenate((line, lower[::-1]))


def _dots(line: Points, radius: float) -> list[Points]:
    return [ellipse(point, radius, radius) for point in line]
