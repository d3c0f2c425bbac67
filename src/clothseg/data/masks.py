"""Masks painted from runs: regions laid over one another become a class for each pixel and a PNG, at no pixel's cost.

A photo of 550 x 830 has 450,000 pixels, but its clothes have some 1,500 edges along its columns. Everything here works
on the edges: which region is on top between two of them, how many pixels that is, and where the PNG's rows differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clothseg.encoding import png_from_rows
from clothseg.labels import BACKGROUND_ID
from clothseg.rle import Edges
from clothseg.types import Int64Array, UInt8Array


@dataclass(frozen=True)
class PaintedMask:
    """The class of each pixel of a photo, as stretches of one class down the columns."""

    height: int
    width: int
    starts: Int64Array
    """(n,) first pixel of each stretch, rising; those before are background. Pixel (y, x) is number x * height + y."""
    class_ids: UInt8Array
    """(n,) the class of each stretch."""

    def pixels_per_class(self, num_classes: int) -> Int64Array:
        """Return (num_classes,) how many pixels each class has."""
        counts = np.bincount(self.class_ids, weights=self._ends() - self.starts, minlength=num_classes)
        counts[BACKGROUND_ID] += self.starts[0] if len(self.starts) else self.height * self.width
        return counts.astype(np.int64)

    def to_array(self) -> UInt8Array:
        """Return (height, width) uint8, class ids."""
        return np.add.accumulate(self._row_differences()[:, 1:], axis=0, dtype=np.uint8)

    def to_png(self) -> bytes:
        """Return the mask as an 8-bit grey PNG whose values are class ids."""
        return png_from_rows(self._row_differences())

    def _ends(self) -> Int64Array:
        return np.append(self.starts[1:], self.height * self.width)

    def _row_differences(self) -> UInt8Array:
        """Return (height, 1 + width) uint8: PNG's filter 2, each pixel less the one above, and its number in front.

        The pixel above is the pixel before in the order of the stretches, so only their first pixels differ from 0,
        and the top row, which has nothing above.
        """
        rows = np.zeros((self.height, self.width + 1), dtype=np.uint8)
        rows[:, 0] = 2
        if not len(self.starts):
            return rows
        columns = self.starts // self.height
        lines = self.starts - columns * self.height
        differences = self.class_ids.copy()
        differences[1:] -= self.class_ids[:-1]
        np.copyto(differences, self.class_ids, where=lines == 0)
        rows.ravel()[lines * (self.width + 1) + columns + 1] = differences
        last_columns = (self._ends() - 1) // self.height
        for stretch in np.flatnonzero((last_columns > columns) & (self.class_ids != BACKGROUND_ID)).tolist():
            rows[0, columns[stretch] + 2 : last_columns[stretch] + 2] = self.class_ids[stretch]
        return rows


def paint(regions: Sequence[tuple[int, Edges]], height: int, width: int) -> PaintedMask:
    """Lay regions over one another; the later covers the earlier.

    Args:
        regions: (class id, edges) of each, in the order of painting. The edges lie within height * width.
        height: of the photo in pixels.
        width: of the photo in pixels.
    """
    regions = [(class_id, edges) for class_id, edges in regions if len(edges)]
    if not regions:
        return PaintedMask(height, width, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.uint8))
    unsorted = np.concatenate([edges for _, edges in regions])
    order = unsorted.argsort()
    edges = unsorted[order]
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    class_ids = np.zeros(len(edges), dtype=np.uint8)  # of the stretch that begins at each edge
    begin = 0
    for class_id, own_edges in regions:
        own = places[begin : begin + len(own_edges)]
        begin += len(own_edges)
        _cover(class_ids, own, class_id)
    # Of several edges at one pixel the last one counts: the stretches between them are empty.
    kept = np.append(edges[1:] != edges[:-1], edges[-1] < height * width)
    return PaintedMask(height, width, edges[kept], class_ids[kept])


def _cover(class_ids: UInt8Array, places: Int64Array, class_id: int) -> None:
    """Set the stretches that lie in a region; `places` are its edges' places among all edges."""
    first, last = places[0], places[-1]
    turns = np.zeros(last - first, dtype=bool)
    turns[places[:-1] - first] = True
    np.copyto(class_ids[first:last], class_id, where=np.logical_xor.accumulate(turns))
