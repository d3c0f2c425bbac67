"""Outlines that the sample figures are made of: smooth curves, tubes, ellipses and ribbons."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TypeAlias

import numpy as np

from clothseg.types import Float64Array

Points: TypeAlias = Float64Array
"""(N, 2) float64: x to the right, y down."""
Path2d: TypeAlias = Points | Sequence[Points] | Sequence[Sequence[float]]
"""Anything `numpy.asarray` turns into points."""


def smooth(points: Path2d, *, closed: bool = True, steps: int = 6) -> Points:
    """Return a curve through `points` with `steps` points from one to the next.

    Source: the uniform Catmull-Rom spline (Catmull and Rom, 1974).
    """
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        padded = np.concatenate((knots[-1:], knots, knots[:2]))
    else:
        padded = np.concatenate((knots[:1], knots, knots[-1:]))
    around = np.stack((padded[:-3], padded[1:-2], padded[2:-1], padded[3:]), axis=1)
    curve = np.asarray((_weights(steps) @ around).reshape(-1, 2), dtype=np.float64)
    return curve if closed else np.concatenate((curve, knots[-1:]))


@cache
def _weights(steps: int) -> Points:
    """Return how much each of four neighbouring knots counts at each step between the middle two: (steps, 4)."""
    t = np.arange(steps)[:, None] / steps
    powers = np.concatenate((t**0, t, t**2, t**3), axis=1)
    spline = np.array([[0.0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    return np.asarray(0.5 * powers @ spline, dtype=np.float64)


def tube(path: Path2d, widths: Sequence[float], *, round_ends: tuple[bool, bool] = (True, True)) -> Points:
    """Return the outline of a limb: a smooth line through `path`, `widths` its half width at each point of it."""
    line = smooth(path, closed=False)
    at = np.linspace(0, len(widths) - 1, len(line))
    half = np.interp(at, range(len(widths)), widths)[:, None]
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = np.stack((-along[:, 1], along[:, 0]), axis=1)
    left, right = line + across * half, line - across * half
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    end = line[-1] + half[-1] * (np.cos(turn) * across[-1] + np.sin(turn) * along[-1])
    start = line[0] + half[0] * (-np.cos(turn) * across[0] - np.sin(turn) * along[0])
    return np.concatenate((left, end if round_ends[1] else left[:0], right[::-1], start if round_ends[0] else left[:0]))


def ribbon(path: Path2d, half_width: float) -> Points:
    """Return the outline of a band of one width along `path`, cut straight at its ends."""
    return tube(path, (half_width, half_width), round_ends=(False, False))


def ellipse(center: Points, radii: tuple[float, float], *, angle: float = 0.0, count: int = 28) -> Points:
    """Return an ellipse turned by `angle` radians."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return center + rotate(np.stack((radii[0] * np.cos(turn), radii[1] * np.sin(turn)), axis=1), angle)


def star(center: Points, radius: float, *, tips: int = 5, inner: float = 0.45, angle: float = 0.0) -> Points:
    """Return a star; with many tips and `inner` near 1 it is a cog, rounded it is a flower."""
    turn = np.linspace(0, 2 * np.pi, 2 * tips, endpoint=False) + angle
    length = radius * np.where(np.arange(2 * tips) % 2 == 0, 1.0, inner)
    return center + np.stack((length * np.sin(turn), -length * np.cos(turn)), axis=1)


def box(center: Points, half: tuple[float, float], *, angle: float = 0.0) -> Points:
    """Return a rectangle turned by `angle` radians, with slightly soft corners."""
    x, y, soft = half[0], half[1], 0.15 * min(half)
    corners = [(-x + soft, -y), (x - soft, -y), (x, -y + soft), (x, y - soft)]
    corners += [(x - soft, y), (-x + soft, y), (-x, y - soft), (-x, -y + soft)]
    return center + rotate(np.array(corners), angle)


def rotate(points: Points, angle: float) -> Points:
    """Return `points` turned by `angle` radians about the origin, clockwise as seen in a picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]), dtype=np.float64)


def xy(x: float, y: float) -> Points:
    """Return one point, or a step from one point to another."""
    return np.array([x, y], dtype=np.float64)


def direction(angle: float) -> Points:
    """Return the unit vector at `angle` radians from straight down, positive to the right."""
    return np.array([np.sin(angle), np.cos(angle)])


def mix(start: Points, end: Points, share: float) -> Points:
    """Return the point `share` of the way from `start` to `end`."""
    return np.asarray(start + (end - start) * share)
