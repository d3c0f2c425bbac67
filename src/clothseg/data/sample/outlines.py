"""From a finished canvas to COCO instances: traces what is visible of each, as polygons or as RLE."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from clothseg.data.sample.canvas import SUPERSAMPLING, Canvas
from clothseg.data.sample.shapes import Points
from clothseg.types import UInt8Array

SMALLEST_PART = 5.0
"""Visible parts below this many photo pixels are left out, as a person outlining a photo would."""
SMALLEST_HOLE = 40.0
"""Holes from this many photo pixels up are kept: such an instance becomes RLE, as in Fashionpedia."""
_TOLERANCE = 0.3  # how far a simplified outline may leave the traced one, in fine pixels


def annotate(canvas: Canvas) -> list[dict[str, Any]]:
    """Return what is visible of each instance: COCO `segmentation`, `area`, `bbox`, `iscrowd`, and its `category`.

    Hidden instances are left out. An instance with holes is compressed RLE with `iscrowd` 1, all others are polygons.
    """
    found = []
    for number, category in enumerate(canvas.instances):
        layers = [layer for layer, owners in enumerate(canvas.owners) if number in owners]
        segmentation = _trace(canvas, layers)
        if segmentation is None:
            continue
        runs = _runs(segmentation, canvas)
        area = int(coco.area(runs))
        if area:
            found.append(
                {
                    "category": category,
                    "segmentation": segmentation,
                    "area": area,
                    "bbox": [float(side) for side in coco.toBbox(runs)],
                    "iscrowd": int(isinstance(segmentation, dict)),
                }
            )
    return found


def visible(canvas: Canvas, layers: list[int], box: tuple[int, int, int, int]) -> UInt8Array:
    """Return where one of `layers` is on top within `box` (photo pixels): 255 there, else 0, on the fine raster."""
    table = np.zeros(256, dtype=np.uint8)
    table[layers] = 255
    x0, y0, x1, y1 = (side * SUPERSAMPLING for side in box)
    return np.asarray(cv2.LUT(canvas.top[y0:y1, x0:x1], table), dtype=np.uint8)


def _trace(canvas: Canvas, layers: list[int]) -> list[list[float]] | dict[str, Any] | None:
    if not layers:
        return None
    boxes = np.array([canvas.boxes[layer] for layer in layers])
    box = tuple(int(side) for side in (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0)))
    mask = visible(canvas, layers, (box[0], box[1], box[2], box[3]))
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    smallest = SMALLEST_PART * SUPERSAMPLING**2
    parts = []
    for contour, (_, _, _, parent) in zip(contours, tree[0] if contours else (), strict=True):
        size = cv2.contourArea(contour)
        if parent >= 0 and size >= SMALLEST_HOLE * SUPERSAMPLING**2:
            return _whole(mask, box, canvas)
        if parent < 0 and size >= smallest:
            outline = (_outline(contour) + np.array(box[:2]) * SUPERSAMPLING + 0.5) / SUPERSAMPLING
            np.clip(outline, 0, (canvas.width, canvas.height), out=outline)
            parts.append([round(float(number), 2) for number in outline.ravel()])
    return parts or None


def _outline(contour: npt.NDArray[Any]) -> Points:
    """Return a traced contour, (N, 1, 2) int32 centres of border pixels, as a smooth outline around the pixels."""
    points = contour[:, 0].astype(np.float64)
    smoothed = points
    if len(points) > 12:
        smoothed = np.mean([np.roll(points, shift, axis=0) for shift in (-2, -1, 0, 1, 2)], axis=0)
    along = np.roll(smoothed, -1, axis=0) - np.roll(smoothed, 1, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # OpenCV walks an outer contour anticlockwise as seen in the picture, so its outside lies to the right of the walk.
    outside = smoothed + 0.5 * np.stack((-along[:, 1], along[:, 0]), axis=1)
    kept = cv2.approxPolyDP(outside.astype(np.float32)[:, None], _TOLERANCE, True)[:, 0]
    return np.asarray(kept if len(kept) >= 3 else outside, dtype=np.float64)


def _whole(mask: UInt8Array, box: tuple[int, ...], canvas: Canvas) -> dict[str, Any]:
    coarse = cv2.resize(mask, (box[2] - box[0], box[3] - box[1]), interpolation=cv2.INTER_AREA)
    full = np.zeros((canvas.height, canvas.width), dtype=np.uint8, order="F")
    full[box[1] : box[3], box[0] : box[2]] = coarse >= 128
    runs = coco.encode(full)
    return {"size": [canvas.height, canvas.width], "counts": runs["counts"].decode("ascii")}


def _runs(segmentation: list[list[float]] | dict[str, Any], canvas: Canvas) -> Any:
    if isinstance(segmentation, dict):
        return segmentation
    return coco.merge(coco.frPyObjects(segmentation, canvas.height, canvas.width))
