"""One person on a canvas: where it stands, and its skin, face and hair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clothseg.data.sample.body import SIDES, Body, Limb
from clothseg.data.sample.canvas import Canvas, Layer
from clothseg.data.sample.colors import Color, hair_color, skin_color
from clothseg.data.sample.fabric import Fabric
from clothseg.data.sample.shapes import Path2d, Points, ellipse, rotate, smooth, tube, xy

HAIRSTYLES = ("short", "bob", "long", "bun", "curly", "bald")


@dataclass(frozen=True)
class Place:
    """Where a figure stands in the photo."""

    hips: Points
    """Photo position of the point between the hips."""
    height: float
    """Photo pixels of the whole figure."""
    angle: float = 0.0
    """Turn of the whole figure, in radians."""

    def to_photo(self, points: Path2d) -> Points:
        """Return points of the body, in units of its height, as photo pixels."""
        return self.hips + self.height * rotate(np.asarray(points, dtype=np.float64), self.angle)


@dataclass
class Figure:
    """A body in its place on a canvas, ready to be dressed."""

    canvas: Canvas
    body: Body
    place: Place
    rng: np.random.Generator
    skin: Color
    hair: Color
    hairstyle: str

    @classmethod
    def random(cls, canvas: Canvas, body: Body, place: Place, rng: np.random.Generator) -> Figure:
        """Return a figure with random skin and hair."""
        hairstyle = str(rng.choice(HAIRSTYLES, p=[0.25, 0.2, 0.27, 0.12, 0.11, 0.05]))
        return cls(canvas, body, place, rng, skin_color(rng), hair_color(rng), hairstyle)

    @property
    def height(self) -> float:
        """Photo pixels of the whole figure."""
        return self.place.height

    def paint(
        self,
        shapes: Sequence[Path2d],
        fabric: Fabric,
        owners: tuple[int, ...] = (),
        *,
        angle: float = 0.0,
        bulge: float = 0.03,
        shadow: float = 0.3,
        creases: Sequence[Path2d] = (),
    ) -> None:
        """Paint shapes given in units of the body; `bulge` is in those units too. See `Layer`."""
        self.canvas.paint(
            Layer(
                [self.place.to_photo(shape) for shape in shapes],
                fabric,
                owners,
                angle + self.place.angle,
                bulge * self.height,
                shadow,
                [self.place.to_photo(crease) for crease in creases],
            )
        )

    def wear(self, category: str, *owners: int) -> tuple[int, ...]:
        """Begin an instance of `category` lying on the instances `owners`, and return the owners of its layers."""
        return (*owners, self.canvas.instance(category))

    def on_face(self, points: Path2d) -> Points:
        """Return points given in head radii from the head's centre as points of the body."""
        scaled = np.asarray(points, dtype=np.float64) * self.body.head_radii
        return self.body.head + rotate(scaled, self.body.head_angle)

    def paint_legs(self) -> None:
        """Paint bare legs and feet."""
        fabric = self._skin_fabric()
        for limb in self.body.legs:
            self.paint(leg_shapes(self.body, limb, 0.0, 2.0), fabric, bulge=0.035, shadow=0.2)
            self.paint([foot_shape(limb, 0.016)], fabric, bulge=0.015, shadow=0.0)

    def paint_trunk(self) -> None:
        """Paint the bare trunk and neck."""
        body, fabric = self.body, self._skin_fabric()
        levels = (0.03, 0.12, 0.3, 0.62, 0.88, 1.12)
        right = [body.torso(body.half_width(level) * 0.93, level) for level in levels]
        left = [body.torso(-body.half_width(level) * 0.93, level) for level in levels]
        self.paint([smooth([*right, *left[::-1]])], fabric, bulge=0.05, shadow=0.0)
        throat = tube([body.torso(0, 0.12), body.neck, body.head], (0.05, 0.03, 0.028))
        self.paint([throat], fabric, bulge=0.03, shadow=0.1)

    def paint_arm(self, side: int) -> None:
        """Paint a bare arm and its hand."""
        limb, fabric = self.body.arms[max(side, 0)], self._skin_fabric()
        widths = np.array((0.027, 0.021, 0.021, 0.0135)) * self.body.build
        self.paint(limb.sleeve(0, 2, (0, 1, 1.3, 2), list(widths)), fabric, bulge=0.025, shadow=0.3)
        self.paint(hand_shapes(limb, side), fabric, bulge=0.012, shadow=0.15)

    def paint_hair_behind(self) -> None:
        """Paint the hair that hangs behind the head and the shoulders."""
        length = {"long": self.rng.uniform(2.4, 4.2), "bob": self.rng.uniform(1.1, 1.7)}.get(self.hairstyle)
        if length is None:
            return
        wide = self.rng.uniform(1.2, 1.5)
        outline = [(0, -1.25), (1.1, -0.8), (wide, 0.3), (wide * 0.95, length * 0.8), (0.6, length)]
        outline += [(0, length * 0.93)] + [(-x, y) for x, y in reversed(outline[1:])]
        strands = [self.on_face([(x, 0.0), (x * 1.1, length * 0.9)]) for x in (-1.1, -0.8, 0.8, 1.1)]
        self.paint([smooth(self.on_face(outline))], self._hair_fabric(), bulge=0.04, creases=strands)

    def paint_head(self) -> None:
        """Paint the head: ears, face and the hair in front."""
        fabric = self._skin_fabric()
        for side in SIDES:
            ear = self.on_face([(side * 0.98, 0.05)])[0]
            self.paint([ellipse(ear, (0.009, 0.015))], fabric, bulge=0.01, shadow=0.0)
        jaw = self.rng.uniform(0.62, 0.8)
        half = [(0.0, -1.0), (0.7, -0.78), (0.97, -0.15), (0.9, 0.35), (jaw * 0.8, 0.78), (0.22, 1.0)]
        self.paint([smooth(self.on_face(half + [(-x, y) for x, y in half[:0:-1]]))], fabric, bulge=0.03, shadow=0.35)
        self._paint_features()
        self._paint_hair_in_front()

    def _paint_features(self) -> None:
        dark = Fabric(np.array([40, 28, 26], np.float32), folds=0, grain=0)
        white = Fabric(np.array([240, 238, 234], np.float32), folds=0, grain=0)
        lips = Fabric(np.clip(self.skin * (0.82, 0.55, 0.55), 0, 255).astype(np.float32), folds=0, grain=0)
        nose = Fabric(self.skin * np.float32(0.86), folds=0, grain=0)
        look = self.rng.uniform(-0.05, 0.05)
        if self.height * self.body.head_radii[0] > 7:
            eyes = [ellipse(np.array([side * 0.4, 0.02]), (0.19, 0.085)) for side in SIDES]
            self._paint_flat([self.on_face(eye) for eye in eyes], white)
        pupils = [ellipse(np.array([side * 0.4 + look, 0.02]), (0.09, 0.075)) for side in SIDES]
        self._paint_flat([self.on_face(pupil) for pupil in pupils], dark)
        lift = self.rng.uniform(-0.06, 0.06)
        brows = [
            tube([(side * 0.2, -0.16), (side * 0.42, -0.23 + lift), (side * 0.62, -0.15)], (0.04, 0.045, 0.02))
            for side in SIDES
        ]
        brow_fabric = Fabric(self.hair * np.float32(0.7), folds=0, grain=0)
        self._paint_flat([self.on_face(brow) for brow in brows], brow_fabric)
        self._paint_flat([self.on_face(tube([(0.02, 0.1), (0.07, 0.32), (-0.04, 0.36)], (0.03, 0.05, 0.03)))], nose)
        smile = self.rng.uniform(-0.02, 0.1)
        mouth = [(-0.3, 0.6 - smile / 2), (0, 0.56 + smile), (0.3, 0.6 - smile / 2), (0.0, 0.68 + smile)]
        self._paint_flat([self.on_face(smooth(mouth))], lips)

    def _paint_flat(self, shapes: Sequence[Path2d], fabric: Fabric) -> None:
        self.paint(shapes, fabric, bulge=0.0, shadow=0.0)

    def _paint_hair_in_front(self) -> None:
        if self.hairstyle == "bald":
            return
        fabric, part = self._hair_fabric(), self.rng.uniform(-0.5, 0.5)
        low = {"short": -0.1, "curly": 0.3, "bun": -0.15}.get(self.hairstyle, 0.6)
        line = self.rng.uniform(-0.6, -0.3)
        outer = [(-1.06, low), (-1.12, -0.5), (-0.7, -1.08), (0, -1.24), (0.7, -1.08), (1.12, -0.5), (1.06, low)]
        inner = [(0.9, -0.1), (0.72, line), (part, line - 0.12), (-0.72, line), (-0.9, -0.1)]
        shapes = [smooth(self.on_face(outer + inner))]
        if self.hairstyle == "bun":
            shapes.append(self.on_face(ellipse(np.array([0.0, -1.4]), (0.48, 0.4))))
        if self.hairstyle == "curly":
            turns = np.linspace(-np.pi, 0, 9)
            shapes += [
                self.on_face(ellipse(np.array([1.1 * np.cos(turn), -0.3 + 0.95 * np.sin(turn)]), (0.38, 0.3)))
                for turn in turns
            ]
        strands = [self.on_face([(part, -1.1), (x, line + 0.05)]) for x in (-0.6, -0.25, 0.25, 0.6)]
        self.paint(shapes, fabric, bulge=0.025, shadow=0.25, creases=strands)

    def _skin_fabric(self) -> Fabric:
        return Fabric(self.skin, gloss=0.08, grain=0.012, folds=0.02)

    def _hair_fabric(self) -> Fabric:
        return Fabric(self.hair, gloss=0.25, grain=0.08, folds=0.16)


def leg_shapes(body: Body, limb: Limb, start: float, stop: float, ease: float = 0.0) -> list[Points]:
    """Return the outlines of a leg from `start` to `stop`, `ease` wider than the skin on each side."""
    widths = np.array((0.052, 0.044, 0.032, 0.034, 0.019)) * body.build + ease
    return limb.sleeve(start, stop, (0, 0.5, 1, 1.35, 2), list(widths))


def foot_shape(limb: Limb, half_width: float) -> Points:
    """Return the outline of a bare foot, seen from the front and a little from the side."""
    heel = limb.end + (limb.end - limb.tip) * 0.15 + xy(0, 0.01)
    instep, toes = (heel + limb.tip) / 2 + xy(0, 0.006), limb.tip + xy(0, 0.006)
    return tube([heel, instep, toes], (half_width, half_width, half_width * 0.9))


def hand_shapes(limb: Limb, side: int) -> list[Points]:
    """Return palm, fingers and thumb, fingers held together."""
    along = limb.tip - limb.end
    across = np.array([-along[1], along[0]]) * -side
    palm = tube([limb.end - along * 0.15, limb.end + along * 0.35, limb.tip], (0.0145, 0.0175, 0.011))
    thumb = tube([limb.end + along * 0.1, limb.end + along * 0.45 + across * 0.35], (0.008, 0.006))
    return [palm, thumb]
