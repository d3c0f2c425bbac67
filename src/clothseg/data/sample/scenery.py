"""What stands behind sample figures, and how the finished photo was lit and taken."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from clothseg.data.sample.canvas import lit
from clothseg.data.sample.colors import cloth_color, color
from clothseg.types import Float32Array, UInt8Array


def backdrop(rng: np.random.Generator, height: int, width: int, ground: float) -> Float32Array:
    """Return a background, (height, width, 3) float32 RGB; `ground` is the photo row where the floor begins."""
    names = tuple(SCENES)
    scene = SCENES[names[rng.integers(len(names))]]
    half = (max(8, height // 2), max(8, width // 2))
    drawn = scene(rng, *half, int(np.clip(ground / 2, 4, half[0] - 2)))
    depth = rng.choice([0.0, 1.0, rng.uniform(1.5, 5)])
    if depth:
        drawn = np.asarray(cv2.GaussianBlur(drawn, (0, 0), float(depth)), dtype=np.float32)
    return np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def cast_shadow(photo: Float32Array, center: tuple[float, float], radii: tuple[float, float], strength: float) -> None:
    """Darken the ground around a figure's feet, in place."""
    height, width = photo.shape[:2]
    x0, x1 = (int(np.clip(center[0] + side * 2 * radii[0], 0, width)) for side in (-1, 1))
    y0, y1 = (int(np.clip(center[1] + side * 2 * radii[1], 0, height)) for side in (-1, 1))
    if x1 <= x0 or y1 <= y0:
        return
    rows, columns = np.ogrid[y0:y1, x0:x1]
    away = ((columns - center[0]) / radii[0]) ** 2 + ((rows - center[1]) / radii[1]) ** 2
    photo[y0:y1, x0:x1] *= (1 - strength * np.exp(-away * 1.2))[..., None].astype(np.float32)


def develop(photo: Float32Array, rng: np.random.Generator) -> UInt8Array:
    """Return the photo as a camera gives it: exposure, contrast, tint, vignette, softness and noise; uint8."""
    height, width = photo.shape[:2]
    gain = rng.uniform(0.8, 1.15) * (1 + rng.normal(0, 0.035, 3))
    contrast = rng.uniform(0.85, 1.12)
    photo = photo * (gain * contrast).astype(np.float32)
    photo += np.float32(128 * (1 - contrast))
    if rng.random() < 0.6:
        rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, width, dtype=np.float32)[None]
        slope = rng.normal(0, 0.08, 2)
        fall = 1 - rng.uniform(0.05, 0.25) * (rows**2 + columns**2) / 2 + slope[0] * rows + slope[1] * columns
        photo = lit(photo, fall.astype(np.float32))
    if rng.random() < 0.3:
        photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), float(rng.uniform(0.4, 0.9))), dtype=np.float32)
    noise = rng.integers(-128, 128, (height, width), dtype=np.int8) * np.float32(rng.uniform(0.0, 0.045))
    photo += noise[..., None]
    return np.asarray(cv2.convertScaleAbs(np.maximum(photo, 0)), dtype=np.uint8)


def _gradient(height: int, width: int, top: Float32Array, bottom: Float32Array) -> Float32Array:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    return np.asarray(np.broadcast_to(top + (bottom - top) * share, (height, width, 3)), dtype=np.float32).copy()


def _noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Float32Array:
    seeds = rng.standard_normal((cells, cells)).astype(np.float32)
    drawn = cv2.resize(seeds, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(drawn[..., None], dtype=np.float32)


def _tint(value: Float32Array) -> tuple[float, float, float]:
    red, green, blue = (float(part) for part in np.clip(value, 0, 255))
    return red, green, blue


def _studio(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    tone = color(rng.random(), rng.uniform(0.02, 0.35), rng.uniform(0.5, 0.95))
    scene = _gradient(height, width, tone, tone * np.float32(rng.uniform(0.75, 1.05)))
    scene[ground:] *= np.linspace(rng.uniform(0.82, 1.0), 1.08, height - ground, dtype=np.float32)[:, None, None]
    scene *= 1 + 0.03 * _noise(rng, height, width, 4)
    return scene


def _street(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    sky = color(rng.uniform(0.54, 0.62), rng.uniform(0.05, 0.35), rng.uniform(0.75, 0.98))
    scene = _gradient(height, width, sky, sky * np.float32(1.05))
    left = -rng.uniform(0, 30)
    while left < width:
        wide, top = rng.uniform(0.18, 0.45) * width, ground * rng.uniform(0.02, 0.55)
        wall = color(rng.uniform(0.0, 0.15), rng.uniform(0.05, 0.4), rng.uniform(0.3, 0.8))
        cv2.rectangle(scene, (int(left), int(top)), (int(left + wide), ground), _tint(wall), -1)
        glass = _tint(wall * np.float32(rng.uniform(0.4, 0.7)) + np.float32(rng.uniform(0, 40)))
        step = rng.uniform(0.05, 0.1) * height
        for row in np.arange(top + step * 0.4, ground - step, step):
            for column in np.arange(left + step * 0.3, left + wide - step * 0.5, step * 0.9):
                start = (int(column), int(row))
                cv2.rectangle(scene, start, (int(column + step * 0.45), int(row + step * 0.6)), glass, -1)
        left += wide
    pavement = color(rng.uniform(0, 0.6), rng.uniform(0, 0.1), rng.uniform(0.35, 0.7))
    scene[ground:] = pavement * (1 + 0.05 * _noise(rng, height, width, 24)[ground:])
    middle = rng.uniform(0, width)
    for lane in np.linspace(-2, 2, 9):
        start, end = (int(middle + lane * width * 0.2), ground), (int(middle + lane * width * 1.2), height)
        cv2.line(scene, start, end, _tint(pavement * np.float32(0.82)), 1, cv2.LINE_AA)
    return scene


def _park(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    sky = color(rng.uniform(0.52, 0.6), rng.uniform(0.1, 0.5), rng.uniform(0.8, 1.0))
    scene = _gradient(height, width, sky, np.float32(0.4) * sky + np.float32(150))
    green = rng.uniform(0.16, 0.38)
    for _ in range(int(rng.integers(12, 30))):
        center = (int(rng.uniform(0, width)), int(ground * rng.uniform(0.2, 1.0)))
        leaves = color(green + rng.normal(0, 0.03), rng.uniform(0.3, 0.7), rng.uniform(0.2, 0.6))
        axes = (int(width * rng.uniform(0.06, 0.2)), int(height * rng.uniform(0.03, 0.12)))
        cv2.ellipse(scene, center, axes, 0, 0, 360, _tint(leaves), -1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 4))):
        x, wide = int(rng.uniform(0, width)), max(1, int(width * rng.uniform(0.01, 0.04)))
        cv2.line(scene, (x, int(ground * 0.3)), (x, ground), (78, 60, 46), wide)
    grass = color(green, rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.65))
    scene[ground:] = grass * (1 + 0.12 * _noise(rng, height, width, 40)[ground:])
    return scene


def _room(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    wall = color(rng.random(), rng.uniform(0.0, 0.35), rng.uniform(0.55, 0.95))
    scene = _gradient(height, width, wall, wall * np.float32(0.9))
    if rng.random() < 0.3:
        step = int(rng.integers(8, 24))
        scene[:, :: max(2, step)] *= 0.93
    for _ in range(int(rng.integers(0, 4))):
        start = rng.uniform(0, 0.9, 2) * (width, ground)
        end = start + rng.uniform(0.1, 0.35, 2) * (width, height)
        corners = [tuple(int(side) for side in corner) for corner in (start, np.minimum(end, (width, ground - 2)))]
        cv2.rectangle(scene, corners[0], corners[1], _tint(cloth_color(rng)), -1)
        cv2.rectangle(scene, corners[0], corners[1], _tint(cloth_color(rng) * np.float32(0.5)), 2)
    floor = color(rng.uniform(0.03, 0.12), rng.uniform(0.1, 0.6), rng.uniform(0.3, 0.75))
    scene[ground:] = floor * (1 + 0.06 * _noise(rng, height, width, 10)[ground:])
    for share in np.linspace(0, 1, int(rng.integers(2, 8))) ** 2:
        row = int(ground + share * (height - ground))
        scene[row : row + 1] *= 0.85
    scene[max(0, ground - 3) : ground] = wall * np.float32(0.7)
    return scene


def _bricks(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    brick = color(rng.uniform(0.0, 0.09), rng.uniform(0.15, 0.6), rng.uniform(0.35, 0.75))
    tall = int(rng.integers(6, 14))
    rows, columns = np.mgrid[:height, :width]
    course = rows // tall
    shifted = columns + (course % 2) * tall
    cell = (course * 7919 + (shifted // (2 * tall)) * 104729) % 61
    scene = brick * (0.85 + 0.3 * cell[..., None] / 61)
    scene[(rows % tall == 0) | (shifted % (2 * tall) == 0)] = brick * 0.5 + 90
    ground_tone = color(rng.uniform(0, 0.15), rng.uniform(0, 0.15), rng.uniform(0.3, 0.6))
    scene[ground:] = ground_tone * (1 + 0.06 * _noise(rng, height, width, 20)[ground:])
    return np.asarray(scene, dtype=np.float32)


def _lights(rng: np.random.Generator, height: int, width: int, ground: int) -> Float32Array:
    dusk = color(rng.uniform(0.55, 0.8), rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.4))
    scene = _gradient(height, width, dusk, dusk * np.float32(1.3))
    spots = np.zeros_like(scene)
    for _ in range(int(rng.integers(15, 45))):
        center = (int(rng.uniform(0, width)), int(rng.uniform(0, ground)))
        glow = color(rng.choice([0.1, 0.12, 0.55, 0.95, 0.35]), rng.uniform(0.2, 0.8), rng.uniform(0.3, 0.7))
        cv2.circle(spots, center, max(1, int(width * rng.uniform(0.01, 0.06))), _tint(glow), -1, cv2.LINE_AA)
    scene += spots * np.float32(0.7)
    scene[ground:] *= 0.7
    return scene


SCENES: dict[str, Callable[[np.random.Generator, int, int, int], Float32Array]] = {
    "studio": _studio,
    "street": _street,
    "park": _park,
    "room": _room,
    "bricks": _bricks,
    "lights": _lights,
}
"""Every kind of background; each function draws (height, width, 3) float32 RGB with the floor from row `ground` on."""
