"""One sample person on a canvas: proportions, pose, skin and hair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from clothseg.data.sample.canvas import Canvas, Cloth, Color, Points, band, ellipse, rotate, smooth

SIDES = (-1, 1)
"""The left and the right of the picture."""
WAIST, HIPS = 0.64, 1.0
"""Levels of the body: 0 is the base of the neck, more than 1 are the legs."""
TORSO_LENGTH = 0.31
_LEVELS = (0.0, 0.05, 0.18, 0.32, 0.62, 0.88, 1.0, 1.2)
_HALF_WIDTHS = (0.04, 0.1, 0.098, 0.086, 0.068, 0.088, 0.092, 0.085)
_SKIN = ((240, 204, 178), (224, 172, 136), (198, 140, 100), (161, 107, 72), (118, 76, 50), (84, 54, 38))
_HAIR = ((28, 24, 24), (54, 36, 26), (92, 60, 38), (150, 105, 60), (214, 178, 112), (150, 66, 34), (170, 166, 162))


@dataclass(frozen=True)
class Limb:
    """An arm or a leg: three joints from the trunk outwards, and where the hand or foot ends."""

    root: Points
    middle: Points
    end: Points
    tip: Points

    def at(self, share: float) -> Points:
        """Return the point at `share`: 0 the root, 1 the middle joint, 2 the end."""
        first, second = (self.root, self.middle) if share <= 1 else (self.middle, self.end)
        return np.asarray(first + (second - first) * (share if share <= 1 else share - 1))

    def part(self, start: float, stop: float, *widths: float) -> list[Points]:
        """Return the outlines from `start` to `stop`, one above and one below the middle joint.

        Args:
            start: as the share of `at`.
            stop: as `start`.
            widths: half widths, spread evenly from the root to the end of the limb.
        """
        shapes = []
        for first, last in ((start, min(stop, 1.0)), (max(start, 1.0), stop)):
            if last - first > 0.01:
                shares = np.linspace(first, last, 4)
                half = np.interp(shares, np.linspace(0, 2, len(widths)), widths)
                is_joint = last == 1.0 < stop or first == 1.0
                path = [self.at(float(share)) for share in shares]
                shapes.append(band(path, *half, round_ends=is_joint or first < 0.5))
        return shapes


@dataclass(frozen=True)
class Figure:
    """A person at a position on a canvas; origin between the hips, x to the right, y down, in units of its height."""

    canvas: Canvas
    rng: np.random.Generator
    hips: Points
    """Photo position of the origin."""
    height: float
    """Photo pixels of the whole person."""
    lean: float
    """Angle of the whole person, in radians."""
    build: float
    """Thickness, about 1."""
    neck: Points
    head: Points
    """Centre of the head."""
    head_radii: Points
    head_angle: float
    arms: tuple[Limb, ...]
    legs: tuple[Limb, ...]
    skin: Color
    hair: Color
    hair_length: float
    """How far hair hangs down, in radii of the head: negative is none."""

    @classmethod
    def random(cls, canvas: Canvas, hips: Points, height: float, rng: np.random.Generator) -> Figure:
        """Return a figure of random build, colours and pose: arms hanging, akimbo, spread, bent or raised."""
        build, size = rng.uniform(0.85, 1.2), rng.uniform(0.92, 1.12)
        neck = rotate(np.array([0.0, -TORSO_LENGTH]), rng.normal(0, 0.05))
        head_angle = rng.normal(0, 0.1)
        shoulders = neck + np.array([[-0.074], [0.074]]) * (build, 0) + (0, 0.037)
        spread = rng.uniform(0, 0.08) if rng.random() < 0.6 else rng.uniform(0.08, 0.3)
        skin, hair = (np.array(tones[rng.integers(len(tones))]) * rng.uniform(0.92, 1.04) for tones in (_SKIN, _HAIR))
        return cls(
            canvas,
            rng,
            hips,
            height,
            float(rng.normal(0, 0.03)),
            build,
            neck,
            neck + rotate(np.array([0.0, -0.112 * size]), head_angle),
            np.array((0.048 * rng.uniform(0.92, 1.06), 0.066)) * size,
            head_angle,
            tuple(_arm(rng, root, side) for side, root in zip(SIDES, shoulders, strict=True)),
            tuple(_leg(rng, np.array([side * 0.048, 0.01]), side, spread) for side in SIDES),
            skin.astype(np.float32),
            hair.astype(np.float32),
            float(rng.choice([-1.0, -0.1, 0.6, rng.uniform(1.1, 1.7), rng.uniform(2.4, 4.0)])),
        )

    def paint(self, shapes: Sequence[npt.ArrayLike], cloth: Cloth, owners: tuple[int, ...] = ()) -> None:
        """Paint shapes in units of the body; see `Canvas.paint`."""
        turned = [rotate(np.asarray(shape, dtype=np.float64), self.lean) for shape in shapes]
        self.canvas.paint([self.hips + self.height * shape for shape in turned], cloth, owners)

    def torso(self, points: npt.ArrayLike) -> Points:
        """Return points given as (distance to the spine, level), with levels as `WAIST`, as points of the body."""
        x, level = np.asarray(points, dtype=np.float64).T
        spine = self.neck * np.maximum(1 - level, 0)[:, None]
        return np.asarray(spine + np.stack((x, np.maximum(level - 1, 0) * TORSO_LENGTH), axis=1))

    def on_face(self, points: npt.ArrayLike) -> Points:
        """Return points given in radii of the head from its centre as points of the body."""
        return self.head + rotate(np.asarray(points, dtype=np.float64) * self.head_radii, self.head_angle)

    def half_width(self, level: float, side: int) -> float:
        """Return how far the trunk, or below it the legs, reach to `side` of the spine at `level`."""
        trunk = float(np.interp(level, _LEVELS, _HALF_WIDTHS)) * (0.5 + 0.5 * self.build)
        if level <= HIPS:
            return trunk
        limb = self.legs[max(side, 0)]
        points = np.array([limb.root, limb.middle, limb.end])
        reach = float(side * np.interp((level - 1) * TORSO_LENGTH, points[:, 1], points[:, 0]))
        return max(trunk - 0.012, reach + 0.042 * self.build)

    def leg(self, side: int, start: float, stop: float, ease: float = 0.0) -> list[Points]:
        """Return the outlines of a leg, `ease` wider than the skin; `start` and `stop` are as those of `Limb.part`."""
        widths = np.array((0.052, 0.044, 0.032, 0.033, 0.019)) * self.build + ease
        return self.legs[max(side, 0)].part(start, stop, *widths)

    def foot(self, side: int, half_width: float) -> Points:
        """Return the outline of a foot."""
        limb = self.legs[max(side, 0)]
        heel = limb.end + (limb.end - limb.tip) * 0.15
        return band([np.add(heel, (0, 0.01)), (heel + limb.tip) / 2, limb.tip], half_width, round_ends=True)

    def hand(self, side: int, ease: float = 0.0) -> Points:
        """Return the outline of a hand, `ease` wider than the skin."""
        limb = self.arms[max(side, 0)]
        return band([limb.at(1.95), limb.at(2), limb.tip], 0.0145 + ease, 0.0175 + ease, 0.011 + ease, round_ends=True)

    def paint_skin(self) -> None:
        """Paint the bare legs, trunk and neck."""
        skin = Cloth.plain(self.skin)
        for side in SIDES:
            self.paint([*self.leg(side, 0, 2), self.foot(side, 0.016)], skin)
        levels = (0.05, 0.2, 0.32, 0.62, 0.88, 1.12)
        half = [(self.half_width(min(level, 1.0), 1) * 0.93, level) for level in levels]
        self.paint([smooth(self.torso(half + [(-x, level) for x, level in half[::-1]]))], skin)
        self.paint([band([*self.torso([(0, 0.12), (0, 0)]), self.head], 0.05, 0.03, 0.028)], skin)

    def paint_arm(self, side: int) -> None:
        """Paint a bare arm and its hand."""
        widths = np.array((0.027, 0.024, 0.021, 0.019, 0.0135)) * self.build
        self.paint([*self.arms[max(side, 0)].part(0, 2, *widths), self.hand(side)], Cloth.plain(self.skin))

    def paint_hair(self) -> None:
        """Paint the hair that hangs behind the head."""
        if self.hair_length > 1:
            half = [(0, -1.25), (1.1, -0.8), (1.35, 0.3), (1.2, self.hair_length * 0.8), (0.6, self.hair_length)]
            self.paint([smooth(self.on_face(half + [(-x, y) for x, y in half[:0:-1]]))], Cloth.plain(self.hair))

    def paint_head(self) -> None:
        """Paint the head: face and the hair in front."""
        self.paint([self.on_face(ellipse((0, 0), 0.98, 1))], Cloth.plain(self.skin))
        eyes = [self.on_face(ellipse((side * 0.4, 0.02), 0.15, 0.09)) for side in SIDES]
        self.paint(eyes, Cloth.plain((40, 28, 26)))
        self.paint([self.on_face(ellipse((0, 0.6), 0.3, 0.09))], Cloth.plain(self.skin * (0.8, 0.55, 0.55)))
        if self.hair_length > -1:
            low, part = min(self.hair_length, 0.6), self.rng.uniform(-0.5, 0.5)
            outer = [(-1.06, low), (-1.12, -0.5), (-0.7, -1.08), (0, -1.24), (0.7, -1.08), (1.12, -0.5), (1.06, low)]
            inner = [(0.9, -0.1), (0.72, -0.45), (part, -0.57), (-0.72, -0.45), (-0.9, -0.1)]
            self.paint([smooth(self.on_face(outer + inner))], Cloth.plain(self.hair))


def _arm(rng: np.random.Generator, shoulder: Points, side: int) -> Limb:
    """Return an arm in one of five poses: its angles count from straight down, outwards positive."""
    poses = (
        ((0.05, 0.3), (-0.15, 0.35)),
        ((0.6, 0.85), (-0.9, -0.6)),
        ((0.5, 1.4), (0.6, 1.7)),
        ((0.15, 0.4), (-1.9, -0.7)),
        ((1.2, 2.2), (2.4, 3.2)),
    )
    upper, lower = (rng.uniform(*bounds) for bounds in poses[rng.choice(5, p=[0.42, 0.17, 0.15, 0.15, 0.11])])
    elbow = shoulder + 0.165 * _direction(side * upper)
    wrist = elbow + 0.14 * _direction(side * lower)
    return Limb(shoulder, elbow, wrist, wrist + 0.058 * _direction(side * lower))


def _leg(rng: np.random.Generator, hip: Points, side: int, spread: float) -> Limb:
    bent = rng.uniform(0.1, 0.5) if rng.random() < 0.2 else 0.0
    knee = hip + 0.235 * _direction(side * (spread + 0.6 * bent)) * (1, 1 - 0.25 * bent)
    ankle = knee + 0.22 * _direction(side * (spread - 0.7 * bent)) * (1, 1 - 0.2 * bent)
    return Limb(hip, knee, ankle, ankle + 0.07 * _direction(side * rng.uniform(0.25, 1.1)) * (1, 0.55))


def _direction(angle: float) -> Points:
    """Return the unit vector at `angle` radians from straight down, positive to the right."""
    return np.array([np.sin(angle), np.cos(angle)])
