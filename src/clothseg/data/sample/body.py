"""A sample figure's body: proportions, pose and joints, in units of its height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clothseg.data.sample.shapes import Points, direction, mix, rotate, tube

TORSO_LENGTH = 0.31
_LEVELS = (0.0, 0.05, 0.18, 0.32, 0.62, 0.88, 1.0, 1.2)
_HALF_WIDTHS = (0.04, 0.1, 0.098, 0.086, 0.068, 0.088, 0.092, 0.085)
_HIP = (False, False, False, False, False, True, True, True)

SIDES = (-1, 1)
"""The left and the right of the picture."""


@dataclass(frozen=True)
class Limb:
    """An arm or a leg: three joints from the trunk outwards, and where the hand or foot ends."""

    root: Points
    middle: Points
    end: Points
    tip: Points

    def sleeve(self, start: float, stop: float, stops: Sequence[float], widths: Sequence[float]) -> list[Points]:
        """Return the outlines around the limb from `start` to `stop`, one above and one below the middle joint.

        Args:
            start: 0 the root, 1 the middle joint, 2 the end.
            stop: as `start`.
            stops: places along the limb, rising, that `widths` are given for.
            widths: half the width at each of `stops`.
        """
        shapes = []
        for first, last in ((start, min(stop, 1.0)), (max(start, 1.0), stop)):
            if last - first > 0.01:
                shares = np.linspace(first, last, 4)
                ends = first < 0.5 or first == 1.0, last == 1.0 and stop > 1.0
                half = [float(width) for width in np.interp(shares, stops, widths)]
                shapes.append(tube([self.at(float(share)) for share in shares], half, round_ends=ends))
        return shapes

    def at(self, share: float) -> Points:
        """Return the point at `share`, 0 the root, 1 the middle joint, 2 the end."""
        if share <= 1:
            return mix(self.root, self.middle, share)
        return mix(self.middle, self.end, share - 1)


@dataclass(frozen=True)
class Body:
    """Joints and widths; origin between the hips, x to the right, y down, the whole about 1 tall."""

    neck: Points
    head: Points
    """Centre of the head."""
    head_radii: tuple[float, float]
    head_angle: float
    shoulder_angle: float
    hip_angle: float
    bend: float
    """How far the middle of the spine leaves the straight line, to the right."""
    half_widths: Points
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]
    build: float
    """Thickness of the limbs, about 1."""

    def torso(self, x: float, level: float) -> Points:
        """Return the point `x` beside the spine at `level`: 0 the base of the neck, 1 the hips, more the legs."""
        center = self.neck * (1 - level) if level <= 1 else np.array([0.0, (level - 1) * TORSO_LENGTH])
        inside = min(max(level, 0.0), 1.0)
        center = center + np.array([self.bend * 4 * inside * (1 - inside), 0.0])
        angle = self.shoulder_angle * (1 - inside) + self.hip_angle * inside
        return np.asarray(center + x * np.array([np.cos(angle), np.sin(angle)]))

    def half_width(self, level: float) -> float:
        """Return half the width of the trunk at `level`."""
        return float(np.interp(level, _LEVELS, self.half_widths))

    def reach(self, level: float, side: int) -> float:
        """Return how far the legs, skin included, reach to `side` of the middle at `level` below the hips."""
        height = (level - 1) * TORSO_LENGTH
        limb = self.legs[max(side, 0)]
        points = np.array([limb.root, limb.middle, limb.end])
        return float(side * np.interp(height, points[:, 1], points[:, 0])) + 0.042 * self.build


def random_body(rng: np.random.Generator) -> Body:
    """Return a body of random build in a random pose: standing, walking, arms hanging, akimbo, spread or raised."""
    build = rng.uniform(0.85, 1.2)
    shoulders, hips = rng.uniform(0.88, 1.12), rng.uniform(0.9, 1.12)
    turned = rng.choice([1.0, 1.0, rng.uniform(0.75, 0.95)])
    widths = np.array(_HALF_WIDTHS) * np.where(_HIP, hips, shoulders) * turned * (0.75 + 0.25 * build)
    widths[4] *= rng.uniform(0.92, 1.2)
    shoulder_angle, hip_angle = rng.normal(0, 0.06), rng.normal(0, 0.05)
    lean = rng.normal(0, 0.05)
    neck = rotate(np.array([0.0, -TORSO_LENGTH]), lean)
    size = rng.uniform(0.92, 1.12)
    head_angle = lean + rng.normal(0, 0.1)
    head = neck + rotate(np.array([0.0, -0.112 * size]), head_angle)
    shoulder = widths[1] - 0.026
    across = np.array([np.cos(shoulder_angle), np.sin(shoulder_angle)])
    base = neck + rotate(np.array([0.0, 0.037]), shoulder_angle)
    arms = tuple(_arm(rng, base + side * shoulder * across, side) for side in SIDES)
    gait = _gait(rng)
    legs = tuple(_leg(rng, rotate(np.array([side * 0.048 * hips, 0.01]), hip_angle), side, gait) for side in SIDES)
    bend = rng.normal(0, 0.01)
    radii = (0.048 * size * rng.uniform(0.92, 1.06), 0.066 * size)
    left, right = arms
    return Body(
        neck, head, radii, head_angle, shoulder_angle, hip_angle, bend, widths, (left, right), (legs[0], legs[1]), build
    )


def _arm(rng: np.random.Generator, shoulder: Points, side: int) -> Limb:
    """Return an arm whose angles count from straight down, outwards positive."""
    upper, lower = {
        0: (rng.uniform(0.05, 0.3), rng.uniform(-0.15, 0.35)),
        1: (rng.uniform(0.6, 0.85), rng.uniform(-0.9, -0.6)),
        2: (rng.uniform(0.5, 1.4), rng.uniform(0.6, 1.7)),
        3: (rng.uniform(0.15, 0.4), rng.uniform(-1.9, -0.7)),
        4: (rng.uniform(1.2, 2.2), rng.uniform(2.4, 3.3)),
        5: (rng.uniform(0.15, 0.4), rng.uniform(2.3, 2.9)),
    }[int(rng.choice(6, p=[0.42, 0.17, 0.13, 0.13, 0.08, 0.07]))]
    elbow = shoulder + 0.165 * direction(side * upper)
    wrist = elbow + 0.14 * direction(side * lower)
    return Limb(shoulder, elbow, wrist, wrist + 0.058 * direction(side * (lower + rng.normal(0, 0.15))))


def _gait(rng: np.random.Generator) -> tuple[float, float, float]:
    """Return the spread of the legs, and how much each knee is bent."""
    spread = rng.choice([rng.uniform(0.0, 0.08), rng.uniform(0.08, 0.3)], p=[0.6, 0.4])
    bends = [0.0, 0.0]
    if rng.random() < 0.4:
        bends[rng.integers(2)] = rng.uniform(0.1, 0.5)
    return float(spread), bends[0], bends[1]


def _leg(rng: np.random.Generator, hip: Points, side: int, gait: tuple[float, float, float]) -> Limb:
    spread, bent = gait[0] + rng.normal(0, 0.02), gait[1 + max(side, 0)]
    knee = hip + 0.235 * direction(side * (spread + 0.6 * bent)) * (1, 1 - 0.25 * bent)
    ankle = knee + 0.22 * direction(side * (spread - 0.7 * bent)) * (1, 1 - 0.2 * bent)
    return Limb(hip, knee, ankle, ankle + 0.07 * direction(side * rng.uniform(0.25, 1.1)) * (1, 0.55))
