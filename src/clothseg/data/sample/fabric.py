"""The cloth of sample figures: plain, glossy and patterned fabrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.data.sample.colors import Color, cloth_color, color, second_color
from clothseg.types import Float32Array, Float64Array, UInt8Array

Tile = Float32Array
"""(n, n, 3) float32 RGB: one repeat of a pattern."""


@dataclass(frozen=True)
class Fabric:
    """What a layer is made of."""

    color: Color
    tile: UInt8Array | None = None
    """One repeat of the pattern in photo pixels; None is plain."""
    angle: float = 0.0
    """Turn of the pattern on the body, in radians."""
    gloss: float = 0.0
    """Strength of highlights, 0 to 1."""
    grain: float = 0.02
    """Strength of the pixel noise of the cloth."""
    folds: float = 0.1
    """Strength of the shading of folds."""

    def render(self, box: tuple[int, int, int, int], origin: tuple[float, float], angle: float) -> Float32Array:
        """Return the cloth's colour in `box`, (x0, y0, x1, y1): (h, w, 3) float32, before light.

        Args:
            box: photo pixels.
            origin: photo position the pattern starts from.
            angle: turn of the body part that wears it, in radians.
        """
        x0, y0, x1, y1 = box
        if self.tile is None:
            return np.broadcast_to(self.color, (y1 - y0, x1 - x0, 3)).astype(np.float32)
        matrix = texture_matrix(box, origin, self.angle + angle)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        drawn = cv2.warpAffine(self.tile, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_WRAP)
        return np.asarray(drawn, dtype=np.float32)


def texture_matrix(
    box: tuple[int, int, int, int],
    origin: tuple[float, float],
    angle: float,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> Float64Array:
    """Return the (2, 3) map from a pixel of `box` to a pixel of a texture that starts at `origin`."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos / stretch[0], sin / stretch[0]], [-sin / stretch[1], cos / stretch[1]]])
    return np.column_stack((turn, turn @ (np.array(box[:2]) - origin)))


def cloth(rng: np.random.Generator, height: float, *, patterns: tuple[str, ...] = ()) -> Fabric:
    """Return a random cloth for a figure `height` pixels tall; half of all are plain unless `patterns` names some."""
    base = cloth_color(rng)
    angle = rng.choice([0.0, 0.0, np.pi / 2, np.pi / 4, rng.uniform(-0.3, 0.3)])
    folds, grain = rng.uniform(0.06, 0.2), rng.uniform(0.01, 0.05)
    gloss = rng.uniform(0.2, 0.5) if rng.random() < 0.15 else 0.0
    if not patterns and rng.random() < 0.42:
        return Fabric(base, None, angle, gloss, grain, folds)
    names = patterns or tuple(PATTERNS)
    name = names[rng.integers(len(names))]
    small, large = _REPEATS[name]
    side = int(np.clip(rng.uniform(small, large) * height, 4, 128))
    tile = np.clip(PATTERNS[name](rng, side, base, second_color(rng, base)), 0, 255).astype(np.uint8)
    return Fabric(base, tile, angle, gloss, grain, folds)


def metal(rng: np.random.Generator) -> Fabric:
    """Return gold, brass, silver or steel."""
    tones = ((214, 176, 84), (176, 138, 70), (206, 208, 214), (120, 124, 132))
    return Fabric(np.array(tones[rng.integers(len(tones))], np.float32), gloss=0.8, grain=0.06, folds=0.0)


def leather(rng: np.random.Generator) -> Fabric:
    """Return a plain, slightly shining material for belts, bags and shoes."""
    return Fabric(cloth_color(rng) * np.float32(0.85), gloss=rng.uniform(0.2, 0.6), grain=0.025, folds=0.06)


def _between(first: Color, second: Color, share: npt.NDArray[Any]) -> Tile:
    return np.asarray(first * (1 - share) + second * share, dtype=np.float32)


def _wave(side: int) -> Float32Array:
    return np.asarray(np.sin(np.arange(side) * (2 * np.pi / side)), dtype=np.float32)


def _stripes(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    tile = np.tile(first, (side, side, 1))
    tile[: max(1, int(side * rng.uniform(0.2, 0.6)))] = second
    if rng.random() < 0.3:
        start = int(side * 0.75)
        tile[start : start + max(1, side // 10)] = cloth_color(rng)
    return tile


def _gingham(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    band = (np.arange(side) < side * rng.uniform(0.35, 0.6)).astype(np.float32)
    share = (band[:, None] + band[None, :])[..., None] / 2
    return _between(first, second, share)


def _tartan(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    tile = np.tile(first, (side, side, 1))
    for tint in (second, cloth_color(rng), second):
        start, width = rng.integers(0, side), max(1, int(side * rng.uniform(0.04, 0.25)))
        rows = (start + np.arange(width)) % side
        tile[rows] = 0.5 * tile[rows] + 0.5 * tint
        tile[:, rows] = 0.5 * tile[:, rows] + 0.5 * tint
    return tile


def _dots(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    rows, columns = np.mgrid[:side, :side] / side
    radius = rng.uniform(0.12, 0.24)
    near = np.hypot(rows - 0.5, columns - 0.5)
    corner = np.hypot(np.minimum(rows, 1 - rows), np.minimum(columns, 1 - columns))
    share = np.clip((radius - np.minimum(near, corner)) * side + 0.5, 0, 1)[..., None]
    return _between(first, second, share)


def _knit(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    rows, columns = np.mgrid[:side, :side] / side
    stitch = np.sin(2 * np.pi * (2 * rows + 2 * np.abs(columns - 0.5))) * 0.16 - 0.2 * (np.abs(columns - 0.5) > 0.42)
    tile = first * (1 + stitch[..., None])
    if rng.random() < 0.35:
        tile[: side // 2] = second * (1 + stitch[: side // 2, :, None])
    return np.asarray(tile, dtype=np.float32)


def _denim(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    rows, columns = np.mgrid[:side, :side]
    blue = color(rng.uniform(0.57, 0.63), rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.75))
    twill = ((rows + columns) % 4 < 2) * 0.12 - 0.06
    fade = 0.02 * _wave(side)[:, None]
    speckle = rng.standard_normal((side, side)) * 0.07
    return np.asarray(blue * (1 + twill + fade + speckle)[..., None], dtype=np.float32)


def _floral(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    tile = np.tile(first, (side, side, 1))
    tints = (second, cloth_color(rng), color(rng.uniform(0.25, 0.4), 0.5, 0.5))
    for number in range(7):
        center, radius = rng.uniform(0, side, 2), side * rng.uniform(0.05, 0.12)
        turn, tint = rng.uniform(0, 6.3), [float(part) for part in tints[number % 3]]
        for petal in range(5):
            angle = turn + petal * 2 * np.pi / 5
            spot = center + radius * np.array([np.cos(angle), np.sin(angle)])
            for wrap in ((0, 0), (side, 0), (0, side), (-side, 0), (0, -side)):
                at = (spot + wrap).round().astype(int)
                cv2.circle(tile, (int(at[0]), int(at[1])), max(1, round(radius * 0.7)), tint, -1, cv2.LINE_AA)
        middle = center.round().astype(int)
        cv2.circle(tile, (int(middle[0]), int(middle[1])), max(1, round(radius * 0.5)), (240, 210, 90), -1)
    return tile


def _clouds(rng: np.random.Generator, side: int) -> Float32Array:
    seeds = np.tile(rng.standard_normal((4, 4)).astype(np.float32), (3, 3))
    drawn = cv2.resize(seeds, (3 * side, 3 * side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(drawn[side : 2 * side, side : 2 * side], dtype=np.float32)


def _camouflage(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    tile = np.tile(first, (side, side, 1))
    tile[_clouds(rng, side) > 0.1] = 0.5 * first + 0.5 * second
    tile[_clouds(rng, side) > 0.6] = second * 0.7
    return tile


def _tie_dye(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    share = np.clip(0.5 + 0.5 * _clouds(rng, side), 0, 1)[..., None]
    return _between(first, second, share)


def _tweed(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    share = rng.random((side, side, 1), dtype=np.float32) * 0.6
    return _between(first, second, share)


def _herringbone(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    rows, columns = np.mgrid[:side, :side]
    share = ((rows + np.abs(columns - side // 2)) % max(4, side // 3) < max(2, side // 6))[..., None] * 0.6
    return _between(first, second, share)


def _sequins(rng: np.random.Generator, side: int, first: Color, second: Color) -> Tile:
    rows, columns = np.mgrid[:side, :side]
    cell = np.hypot(rows % 4 - 1.5, columns % 4 - 1.5)
    shine = np.kron(rng.uniform(0.3, 1.7, (-(-side // 4),) * 2), np.ones((4, 4)))[:side, :side]
    return np.asarray(np.where(cell < 1.9, shine, 0.5)[..., None] * first, dtype=np.float32)


PATTERNS: dict[str, Callable[[np.random.Generator, int, Color, Color], Tile]] = {
    "stripes": _stripes,
    "gingham": _gingham,
    "tartan": _tartan,
    "dots": _dots,
    "knit": _knit,
    "denim": _denim,
    "floral": _floral,
    "camouflage": _camouflage,
    "tie-dye": _tie_dye,
    "tweed": _tweed,
    "herringbone": _herringbone,
    "sequins": _sequins,
}
"""Every pattern a cloth can have; each function draws one repeat of `side` pixels from two colours."""

# Size of one repeat, least and most, as a share of the figure's height.
_REPEATS: dict[str, tuple[float, float]] = {
    "stripes": (0.015, 0.07),
    "gingham": (0.015, 0.05),
    "tartan": (0.06, 0.14),
    "dots": (0.02, 0.06),
    "knit": (0.01, 0.022),
    "denim": (0.08, 0.12),
    "floral": (0.1, 0.2),
    "camouflage": (0.12, 0.25),
    "tie-dye": (0.15, 0.3),
    "tweed": (0.06, 0.1),
    "herringbone": (0.02, 0.035),
    "sequins": (0.08, 0.12),
}
