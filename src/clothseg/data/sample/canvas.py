"""The canvas of a sample photo: paints outlines in layers, and traces what stays visible of each instance."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from clothseg.types import Float32Array, Float64Array, UInt8Array

Points: TypeAlias = Float64Array
"""(N, 2) float64: x to the right, y down."""
Color: TypeAlias = Float32Array
"""(3,) float32 RGB, 0 to 255."""

SUPERSAMPLING = 2
"""Outlines are filled on a raster this many times finer than the photo; edges are blended from it."""
MAX_LAYERS = 255
SMALLEST_PART = 5.0
"""Visible parts below this many photo pixels are left out, as a person outlining a photo would."""
SMALLEST_HOLE = 40.0
"""Holes from this many photo pixels up are kept: such an instance becomes RLE, as in Fashionpedia."""
_SHIFT = 4  # fractional bits of OpenCV's polygon coordinates
_TOLERANCE = 0.3  # how far a simplified outline may leave the traced one, in fine pixels
_PATTERNS = (0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 8)  # sums of: 1 rows, 2 columns, 4 dots, 8 diagonals; 0 is plain


def smooth(points: npt.ArrayLike, *, closed: bool = True, steps: int = 5) -> Points:
    """Return a curve through `points` with `steps` points from one to the next.

    Source: the uniform Catmull-Rom spline (Catmull and Rom, 1974).
    """
    knots = np.asarray(points, dtype=np.float64)
    ends = (knots[-1:], knots[:2]) if closed else (knots[:1], knots[-1:])
    padded = np.concatenate((ends[0], knots, ends[1]))
    around = np.stack((padded[:-3], padded[1:-2], padded[2:-1], padded[3:]), axis=1)
    spline = np.array([[0.0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]])
    weights = 0.5 * (np.arange(steps)[:, None] / steps) ** np.arange(4) @ spline
    curve = np.asarray((weights @ around).reshape(-1, 2), dtype=np.float64)
    return curve if closed else np.concatenate((curve, knots[-1:]))


def band(path: npt.ArrayLike, *widths: float, round_ends: bool = False) -> Points:
    """Return the outline of a band along a smooth line through `path`; `widths` are half widths, spread along it."""
    line = smooth(path, closed=False)
    half = np.interp(np.linspace(0, len(widths) - 1, len(line)), range(len(widths)), widths)[:, None]
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = along[:, ::-1] * (-1, 1)
    left, right = line + across * half, line - across * half
    if not round_ends:
        return np.concatenate((left, right[::-1]))
    turn = np.linspace(0, np.pi, 9)[1:-1, None]
    end = line[-1] + half[-1] * (np.cos(turn) * across[-1] + np.sin(turn) * along[-1])
    start = line[0] - half[0] * (np.cos(turn) * across[0] + np.sin(turn) * along[0])
    return np.concatenate((left, end, right[::-1], start))


def ellipse(center: npt.ArrayLike, x: float, y: float, angle: float = 0.0) -> Points:
    """Return an ellipse of radii `x` and `y`, turned by `angle` radians."""
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    return np.asarray(center) + rotate(np.stack((x * np.cos(turn), y * np.sin(turn)), axis=1), angle)


def box(center: npt.ArrayLike, x: float, y: float, angle: float = 0.0) -> Points:
    """Return a rectangle of half sides `x` and `y`, turned by `angle` radians."""
    return np.asarray(center) + rotate(np.array([(-x, -y), (x, -y), (x, y), (-x, y)]), angle)


def rotate(points: Points, angle: float) -> Points:
    """Return `points` turned by `angle` radians about the origin, clockwise as seen in a picture."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]), dtype=np.float64)


@dataclass(frozen=True)
class Cloth:
    """What a layer is made of: one colour, or a pattern of two."""

    color: Color
    second: Color
    pattern: int = 0
    """Sum of the patterns that `second` is drawn in, 0 for none."""

    @classmethod
    def plain(cls, color: Any) -> Cloth:
        """Return a cloth of one colour."""
        return cls(np.asarray(color, np.float32), np.asarray(color, np.float32))

    @classmethod
    def random(cls, rng: np.random.Generator) -> Cloth:
        """Return a cloth in colours and a pattern that any class may have: colour must not give a class away."""
        return cls(random_color(rng), random_color(rng), _PATTERNS[rng.integers(len(_PATTERNS))])


def random_color(rng: np.random.Generator) -> Color:
    """Return any colour that clothes have, from black to white and of any hue."""
    saturation = rng.uniform(0.2, 0.9) if rng.random() < 0.65 else rng.uniform(0, 0.15)
    hue, value = rng.random(), rng.uniform(0.1, 0.95)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32) * 255


class Canvas:
    """A photo that is being drawn: the top layer of each pixel, and the person of each layer.

    Args:
        height: rows of the photo.
        width: columns of the photo.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width
        self.top: UInt8Array = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), dtype=np.uint8)
        """Number of the topmost layer at each point of the fine raster; 0 is the background."""
        self.owners: list[tuple[int, ...]] = [()]
        """Instances that each layer belongs to; none for skin and hair."""
        self.instances: list[str] = []
        """Fashionpedia category of each instance."""
        self._cloths = [Cloth.plain((0, 0, 0))]
        self._boxes = [np.zeros((2, 2), dtype=np.int64)]

    def instance(self, category: str, *owners: int) -> tuple[int, ...]:
        """Begin an instance of a Fashionpedia category that lies on the instances `owners`; return all of them."""
        self.instances.append(category)
        return (*owners, len(self.instances) - 1)

    def paint(self, shapes: Sequence[npt.ArrayLike], cloth: Cloth, owners: tuple[int, ...] = ()) -> None:
        """Paint outlines in photo pixels as one layer over everything so far; outside the photo nothing happens."""
        if len(self.owners) > MAX_LAYERS:
            return
        points = np.concatenate([np.asarray(shape) for shape in shapes])
        box = np.array([np.floor(points.min(axis=0)) - 2, np.ceil(points.max(axis=0)) + 2])
        self._boxes.append(np.clip(box, 0, (self.width, self.height)).astype(np.int64))
        for shape in shapes:
            # OpenCV's coordinates are fixed-point numbers, with a pixel's centre at a whole number.
            scaled = np.clip(np.asarray(shape) * SUPERSAMPLING - 0.5, -1e4, 3e4) * (1 << _SHIFT)
            cv2.fillPoly(self.top, [np.rint(scaled).astype(np.int32)], len(self.owners), shift=_SHIFT)
        self.owners.append(owners)
        self._cloths.append(cloth)

    def render(self, background: Float32Array, scale: float, rng: np.random.Generator) -> Float32Array:
        """Return the photo, (H, W, 3) float32 RGB, 0 to 255.

        Args:
            background: photo without the layers, as the result.
            scale: height of a person in photo pixels, by which patterns are drawn larger or smaller.
            rng: source of the patterns' sizes and angles.
        """
        # Looked up by OpenCV, which is several times faster than an index of numpy.
        first, second, masks = (np.zeros((1, 256, channels), dtype=np.uint8) for channels in (3, 3, 1))
        for number, cloth in enumerate(self._cloths):
            first[0, number], second[0, number], masks[0, number] = cloth.color, cloth.second, cloth.pattern
        coarse = _patterns((self.height, self.width), scale, rng)
        patterns = cv2.resize(coarse, self.top.shape[::-1], interpolation=cv2.INTER_NEAREST)
        is_second = cv2.bitwise_and(cv2.LUT(self.top, masks), patterns)
        layers = cv2.merge([self.top, self.top, self.top])
        fine = cv2.copyTo(cv2.LUT(layers, second), is_second, cv2.LUT(layers, first))
        size = (self.width, self.height)
        painted = cv2.resize(fine, size, interpolation=cv2.INTER_AREA)
        edges = cv2.morphologyEx(self.top, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        covered, near = (
            cv2.resize(cv2.threshold(plane, 0, 255, cv2.THRESH_BINARY)[1], size, interpolation=cv2.INTER_AREA)
            for plane in (self.top, edges)
        )
        near = cv2.blur(cv2.blur(near, (5, 5)), (5, 5))
        share = covered * np.float32(1 / 255)
        shade = 1 - np.minimum(near * np.float32(0.9 / 255), 0.5)
        behind, before = (cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB) for plane in (1 - share, share * shade))
        return np.asarray(cv2.multiply(background, behind) + before * painted, dtype=np.float32)

    def annotate(self) -> list[dict[str, Any]]:
        """Return what is visible of each instance: COCO `segmentation`, `area`, `bbox`, `iscrowd`, and its `category`.

        Hidden instances are left out. An instance with holes is compressed RLE with `iscrowd` 1, others are polygons.
        """
        found = []
        for number, category in enumerate(self.instances):
            segmentation = self._trace([layer for layer, owners in enumerate(self.owners) if number in owners])
            if not segmentation:
                continue
            is_crowd = isinstance(segmentation, dict)
            runs = segmentation if is_crowd else coco.merge(coco.frPyObjects(segmentation, self.height, self.width))
            row = {"category": category, "segmentation": segmentation, "area": int(coco.area(runs))}
            if row["area"]:
                found.append(row | {"bbox": [float(side) for side in coco.toBbox(runs)], "iscrowd": int(is_crowd)})
        return found

    def visible(self, layers: Sequence[int], start: Sequence[int], stop: Sequence[int]) -> UInt8Array:
        """Return where one of `layers` is on top, between two (x, y) of the photo: 255 or 0, on the fine raster."""
        table = np.zeros(256, dtype=np.uint8)
        table[list(layers)] = 255
        (x0, y0), (x1, y1) = np.multiply(start, SUPERSAMPLING), np.multiply(stop, SUPERSAMPLING)
        return np.asarray(cv2.LUT(self.top[y0:y1, x0:x1], table), dtype=np.uint8)

    def _trace(self, layers: list[int]) -> list[list[float]] | dict[str, Any] | None:
        boxes = np.array([self._boxes[layer] for layer in layers or [0]])
        start, stop = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        if (stop <= start).any():
            return None
        mask = self.visible(layers, start, stop)
        contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        parts = []
        for contour, (_, _, _, parent) in zip(contours, tree[0] if contours else (), strict=True):
            size = cv2.contourArea(contour) / SUPERSAMPLING**2
            if parent >= 0 and size >= SMALLEST_HOLE:
                return self._compressed(mask, start, stop)
            if parent < 0 and size >= SMALLEST_PART:
                outline = (_outside(contour) + 0.5) / SUPERSAMPLING + start
                parts.append(np.clip(outline, 0, (self.width, self.height)).round(2).ravel().tolist())
        return parts

    def _compressed(self, mask: UInt8Array, start: npt.NDArray[Any], stop: npt.NDArray[Any]) -> dict[str, Any]:
        whole = np.zeros((self.height, self.width), dtype=np.uint8, order="F")
        coarse = cv2.resize(mask, [int(side) for side in stop - start], interpolation=cv2.INTER_AREA)
        whole[start[1] : stop[1], start[0] : stop[0]] = coarse >= 128
        return {"size": [self.height, self.width], "counts": coco.encode(whole)["counts"].decode("ascii")}


def _outside(contour: npt.NDArray[Any]) -> Points:
    """Return a traced contour, (N, 1, 2) int32 centres of border pixels, as an outline around the pixels."""
    points = contour[:, 0].astype(np.float64)
    if len(points) > 12:
        points = np.mean([np.roll(points, shift, axis=0) for shift in (-2, -1, 0, 1, 2)], axis=0)
    along = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # OpenCV walks an outer contour anticlockwise as seen in the picture, so its outside lies to the right of the walk.
    outside = points + 0.5 * along[:, ::-1] * (-1, 1)
    kept = cv2.approxPolyDP(outside.astype(np.float32)[:, None], _TOLERANCE, True)[:, 0]
    return np.asarray(kept if len(kept) >= 3 else outside, dtype=np.float64)


def _patterns(shape: Sequence[int], scale: float, rng: np.random.Generator) -> UInt8Array:
    """Return which patterns are drawn at each point: (h, w) uint8, the sum of their numbers in `_PATTERNS`."""
    height, width = shape
    angle, wave = rng.uniform(-0.3, 0.3), 2 * np.pi / (scale * rng.uniform(0.02, 0.06))
    rows, columns = np.arange(height, dtype=np.float32)[:, None] * wave, np.arange(width, dtype=np.float32) * wave
    along = np.sin(rows * np.cos(angle) - columns * np.sin(angle), dtype=np.float32)
    across = np.sin(rows * np.sin(angle) + columns * np.cos(angle), dtype=np.float32)
    diagonal = np.sin((rows + columns) * 0.7, dtype=np.float32)
    return np.asarray((along > 0.2) + 2 * (across > 0.3) + 4 * (along * across > 0.45) + 8 * (diagonal > 0), np.uint8)
