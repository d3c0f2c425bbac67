"""The canvas of a sample photo: paints lit layers of cloth and remembers which layer lies on top of each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.data.sample.fabric import Fabric, texture_matrix
from clothseg.data.sample.shapes import Path2d, Points
from clothseg.types import BoolArray, Float32Array, UInt8Array

SUPERSAMPLING = 2
"""Outlines are filled on a raster this many times finer than the photo; edges are blended from it."""
MAX_LAYERS = 255
_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates


@dataclass(frozen=True)
class Layer:
    """One shape to paint."""

    shapes: Sequence[Path2d]
    """Outlines in photo pixels, painted as one; where they overlap, they join."""
    fabric: Fabric
    owners: tuple[int, ...] = ()
    """Instances that the painted pixels belong to; none for skin, hair and buttons."""
    angle: float = 0.0
    """Turn of the body part, in radians: the pattern turns with it."""
    bulge: float = 8.0
    """How far in from its edges the layer looks rounded, in photo pixels."""
    shadow: float = 0.3
    """Strength of the shadow it throws on the layers below."""
    creases: Sequence[Points] = field(default=())
    """Lines in photo pixels that are drawn dark: seams, pleats, folds."""


class Canvas:
    """A photo in the making.

    Args:
        photo: (H, W, 3) float32 RGB, 0 to 255: the background; it is painted over.
        light: (x, y) of the direction the light comes from, length about 1.
        rng: source of the noise in cloth.
    """

    def __init__(self, photo: Float32Array, light: tuple[float, float], rng: np.random.Generator) -> None:
        self.photo = photo
        self.light = light
        self.height, self.width = photo.shape[:2]
        self.top: UInt8Array = np.zeros((self.height * SUPERSAMPLING, self.width * SUPERSAMPLING), dtype=np.uint8)
        """Number of the topmost layer at each point of the fine raster; 0 is the background."""
        self.owners: list[tuple[int, ...]] = [()]
        self.boxes: list[tuple[int, int, int, int]] = [(0, 0, self.width, self.height)]
        self.instances: list[str] = []
        self._noise: Float32Array = rng.standard_normal((96, 96), dtype=np.float32)
        folds = cv2.GaussianBlur(rng.standard_normal((64, 64), dtype=np.float32), (0, 0), 2.5)
        self._folds: Float32Array = np.asarray(folds / np.std(folds), dtype=np.float32)

    def instance(self, category: str) -> int:
        """Begin an instance of a Fashionpedia category and return its number."""
        self.instances.append(category)
        return len(self.instances) - 1

    def paint(self, layer: Layer) -> None:
        """Paint a layer over everything so far; outside the photo nothing happens."""
        box = self._box(layer)
        if box is None or len(self.owners) > MAX_LAYERS:
            return
        x0, y0, x1, y1 = box
        fine = self.top[
            y0 * SUPERSAMPLING : y1 * SUPERSAMPLING,
            x0 * SUPERSAMPLING : x1 * SUPERSAMPLING,
        ]
        size = (x1 - x0, y1 - y0)
        covered = _coverage(fine > 0, size)
        number = len(self.owners)
        self.owners.append(layer.owners)
        self.boxes.append(box)
        for shape in layer.shapes:
            cv2.fillPoly(self.top, [_fixed(shape, SUPERSAMPLING)], number, shift=_SHIFT)
        alpha = _coverage(fine == number, size)
        patch = self.photo[y0:y1, x0:x1]
        if layer.shadow:
            self._shade_below(patch, alpha, covered, layer)
        patch[:] = cv2.blendLinear(self._lit(layer, alpha, box), patch, alpha, 1 - alpha)

    def _box(self, layer: Layer) -> tuple[int, int, int, int] | None:
        points = np.concatenate([np.asarray(shape) for shape in layer.shapes])
        margin = 2 + (0.7 * layer.bulge if layer.shadow else 0)
        x0, y0 = np.maximum(np.floor(points.min(axis=0) - margin), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(points.max(axis=0) + margin), (self.width, self.height)).astype(int)
        return (int(x0), int(y0), int(x1), int(y1)) if x1 - x0 > 1 and y1 - y0 > 1 else None

    def _shade_below(self, patch: Float32Array, alpha: Float32Array, covered: Float32Array, layer: Layer) -> None:
        """Darken what was painted before, on the side away from the light; never the background, which is far away."""
        if not covered.any():
            return
        size = alpha.shape[::-1]
        half = (max(1, size[0] // 2), max(1, size[1] // 2))
        reach = max(1.0, 0.25 * layer.bulge)
        move = np.array([[1, 0, -self.light[0] * reach * 0.7], [0, 1, -self.light[1] * reach * 0.7]])
        blurred = _soft(_resized(alpha, half), reach)
        thrown = np.asarray(cv2.warpAffine(blurred, move, half, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)
        patch[:] = lit(patch, 1 - _resized(thrown, size) * covered * np.float32(layer.shadow))

    def _lit(self, layer: Layer, alpha: Float32Array, box: tuple[int, int, int, int]) -> Float32Array:
        """Return the layer's colour under the light: (h, w, 3) float32."""
        fabric = layer.fabric
        points = np.asarray(layer.shapes[0])
        origin = (float(points[0, 0]), float(points[0, 1]))
        size = alpha.shape[::-1]
        half = (max(1, size[0] // 2), max(1, size[1] // 2))
        soft = _soft(_resized(alpha, half), max(1.0, layer.bulge / 2))
        slope_x, slope_y = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
        lift = (slope_x * -self.light[0] + slope_y * -self.light[1]) * np.float32(-0.11 * max(1.0, layer.bulge / 2))
        shade = 0.64 + 0.3 * soft + np.clip(lift, -0.3, 0.22)
        if fabric.folds:
            stretch = (max(1.0, layer.bulge * 0.35), max(2.0, layer.bulge * 1.3))
            matrix = texture_matrix(
                (box[0] // 2, box[1] // 2, 0, 0), (origin[0] / 2, origin[1] / 2), layer.angle, stretch
            )
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            folds = cv2.warpAffine(self._folds, matrix, half, flags=flags, borderMode=cv2.BORDER_WRAP)
            shade += folds * np.float32(fabric.folds)
        if layer.creases:
            shade *= self._crease(layer, box, half)
        shade = _resized(shade, size)
        if fabric.grain:
            shade += self._grain(box) * np.float32(fabric.grain)
        color = lit(fabric.render(box, origin, layer.angle), shade)
        if fabric.gloss:
            shine = _resized(np.maximum(lift, 0) ** 2, size)
            color += (shine * np.float32(fabric.gloss * 1500))[..., None]
        return color

    def _crease(self, layer: Layer, box: tuple[int, int, int, int], half: tuple[int, int]) -> Float32Array:
        drawn = np.zeros(half[::-1], dtype=np.uint8)
        for crease in layer.creases:
            line = _fixed(np.asarray(crease) - box[:2], 0.5)
            cv2.polylines(drawn, [line], False, 100, max(1, round(layer.bulge / 20)), cv2.LINE_AA, _SHIFT)
        return np.asarray(1 - cv2.blur(drawn, (3, 3)) / np.float32(255), dtype=np.float32)

    def _grain(self, box: tuple[int, int, int, int]) -> Float32Array:
        x0, y0, x1, y1 = box
        rows, columns = np.arange(y0, y1) % 96, np.arange(x0, x1) % 96
        return self._noise[rows[:, None], columns[None, :]]


def lit(image: Float32Array, factor: Float32Array) -> Float32Array:
    """Return (h, w, 3) `image` times (h, w) `factor`; OpenCV is several times faster here than broadcasting."""
    return np.asarray(cv2.multiply(image, cv2.cvtColor(factor, cv2.COLOR_GRAY2RGB)), dtype=np.float32)


def _coverage(fine: BoolArray, size: tuple[int, int]) -> Float32Array:
    """Return which share of each photo pixel is True on the fine raster; `size` is (width, height)."""
    drawn = cv2.resize(fine.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA)
    return np.asarray(drawn * np.float32(1 / 255), dtype=np.float32)


def _resized(plane: Float32Array, size: tuple[int, int]) -> Float32Array:
    """Return (h, w) `plane` at `size`, (width, height)."""
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _fixed(shape: Path2d, scale: float) -> npt.NDArray[np.int32]:
    """Return points as OpenCV's fixed-point numbers, a pixel's centre at a whole number, on a raster `scale` finer."""
    scaled = np.asarray(shape, dtype=np.float64) * scale - 0.5
    return np.asarray(np.rint(np.clip(scaled, -1e4, 3e4) * (1 << _SHIFT)), dtype=np.int32)


def _soft(alpha: Float32Array, reach: float) -> Float32Array:
    side = 2 * int(reach / 2 + 0.5) + 1
    kernel = (max(3, side), max(3, side))
    blurred = cv2.blur(alpha, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(cv2.blur(blurred, kernel, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)
