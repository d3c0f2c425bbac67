"""Outlines of a class in a mask as polygons, exact along the edges of pixels, or with fewer corners."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from clothseg.types import BoolArray, UInt8Array

Corners = npt.NDArray[np.int32]


def outline(inside: BoolArray | UInt8Array, *, tolerance: float = 1.0) -> list[Corners]:
    """Return one polygon per connected piece of a mask.

    Corners lie on the edges of pixels, x from 0 to W and y from 0 to H, so that a pixel's whole square is inside. (The
    contours of `cv2.findContours` run through the centres of pixels: half a pixel is lost at every edge, and a single
    pixel is no polygon.) A hole is joined to the outline by a slit without width, so that a format of plain polygons
    keeps it.

    Args:
        inside: (H, W), true where the class is.
        tolerance: an outline with fewer corners may stray this many pixels from the exact one; 0 keeps it exact.

    Returns:
        (N, 2) int32 corners, x and y, of each piece, from the top left down; pieces that touch at a corner are two.

    >>> [corners.tolist() for corners in outline(np.eye(2, dtype=bool))]
    [[[0, 0], [1, 0], [1, 1], [0, 1]], [[1, 1], [2, 1], [2, 2], [1, 2]]]
    """
    plane = np.asarray(inside, dtype=np.uint8)
    count, pieces, figures, _ = cv2.connectedComponentsWithStats(plane, connectivity=4)
    polygons = []
    for number in range(1, count):
        x, y, width, height = (int(value) for value in figures[number, :4])
        piece = pieces[y : y + height, x : x + width] == number
        loops = [_simplified(loop, tolerance) for loop in _loops(piece)]
        polygons.append(np.asarray(_joined(loops) + np.array((x, y)), dtype=np.int32))
    return polygons


def _loops(piece: BoolArray) -> list[Corners]:
    """Return the outline of a 4-connected piece and then those of its holes, each a closed loop of (N, 2) corners.

    A corner is where an odd number of the four pixels around a point, or two that face each other, are inside. Sorted
    by rows, corners pair up as the ends of horizontal edges; sorted by columns, of vertical ones.
    """
    padded = np.pad(piece, 1).astype(np.int8)
    upper, lower = padded[:-1], padded[1:]
    num_inside = upper[:, :-1] + upper[:, 1:] + lower[:, :-1] + lower[:, 1:]
    is_crossing = (num_inside == 2) & (upper[:, :-1] == lower[:, 1:])
    times = np.where(num_inside % 2 == 1, 1, np.where(is_crossing, 2, 0))
    y, x = np.nonzero(times)
    repeats = times[y, x]
    corners = np.stack((np.repeat(x, repeats), np.repeat(y, repeats)), axis=1)
    indices = np.arange(len(corners))
    # A crossing is two corners: of the edge from the left and of that to the right. Sorted by columns, the first of
    # them gets the edge from above, which keeps the pixel at the top left apart from that at the bottom right; where
    # the other two pixels are inside, it is to be the second.
    signs = np.repeat(np.where(upper[y, x] == 1, 1, -1), repeats)
    by_column = np.lexsort((indices * signs, corners[:, 1], corners[:, 0]))
    across, down = indices ^ 1, np.empty_like(indices)
    down[by_column] = by_column[indices ^ 1]
    return _walked(corners, across, down)


def _walked(corners: npt.NDArray[np.intp], across: npt.NDArray[np.intp], down: npt.NDArray[np.intp]) -> list[Corners]:
    next_across, next_down = across.tolist(), down.tolist()
    is_seen = [False] * len(corners)
    loops = []
    for first in range(len(corners)):
        if is_seen[first]:
            continue
        loop, index = [], first
        while not is_seen[index]:
            beside = next_across[index]
            loop += [index, beside]
            is_seen[index] = is_seen[beside] = True
            index = next_down[beside]
        loops.append(corners[loop].astype(np.int32))
    return loops  # the outline starts highest, so it is the first


def _simplified(loop: Corners, tolerance: float) -> Corners:
    if tolerance <= 0:
        return loop
    fewer = cv2.approxPolyDP(loop, tolerance, True)[:, 0]
    return np.asarray(fewer if len(fewer) >= 3 else loop, dtype=np.int32)


def _joined(loops: list[Corners]) -> Corners:
    """Return one closed line through an outline and its holes, connected by the shortest lines.

    Holes run in the opposite direction, so that the area is right and both fill rules exclude them.
    """
    line = loops[0]
    for loop in loops[1:]:
        hole = loop[::-1]
        distances = np.abs(line[:, None] - hole[None]).sum(axis=2)
        leave, enter = np.unravel_index(int(distances.argmin()), distances.shape)
        turned = np.roll(hole, -int(enter), axis=0)
        line = np.concatenate((line[: leave + 1], turned, turned[:1], line[leave:]))
    return line
