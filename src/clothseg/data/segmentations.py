"""The outlines of an annotation file: raw JSON becomes checked run edges; native code gets no malformed outline."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from clothseg.data.report import RecordError
from clothseg.rle import Edges, RunLengthError, edges_from_counts, edges_from_pairs, edges_from_text, edges_from_trusted
from clothseg.types import Float64Array

Polygon = Float64Array
"""(2n,) alternating x and y of n points, in pixels."""

FARTHEST = 16
"""How many photo widths or heights away from the photo a point may be. pycocotools walks every pixel of an outline."""
LONGEST_OUTLINE = 4_000_000
"""Pixels of outline that an annotation may have; pycocotools takes about 80 bytes of memory for each."""

MISSING = "segmentation missing"
POLYGON = "polygon"
COORDINATE = "coordinate"
RUN_LENGTHS = "run lengths"

TOO_FEW_POINTS: Edges = np.zeros(0, dtype=np.int64)
"""The edges of a polygon of one or two points: none. Compared by identity."""


class _RunLengths(msgspec.Struct):
    size: list[int | float]
    counts: str | list[int | float] = ""
    encoded_pixels: str | None = None
    """Pairs of start and length, as `imaterialist.write_coco` copies them, in place of `counts`."""


_polygons_decoder = msgspec.json.Decoder(list[list[float]])
_run_lengths_decoder = msgspec.json.Decoder(_RunLengths)


def read_outlines(photos: Sequence[tuple[Sequence[bytes], int, int]]) -> list[list[list[Edges] | RecordError]]:
    """Read all outlines of some photos.

    Polygons are rasterised by pycocotools, each after its check. A polygon of one or two points beside larger polygons
    has no area, and becomes `TOO_FEW_POINTS`.

    Args:
        photos: of each photo, the `segmentation` of each annotation as it is in the file (polygons, or run lengths
            as a list or a compressed string), and the photo's height and width in pixels.

    Returns:
        For each annotation of each photo the edges of its parts, which may overlap, or why it cannot be used.
    """
    found = [
        [_read_outline(segmentation, height, width) for segmentation in segmentations]
        for segmentations, height, width in photos
    ]
    outlines = [outline for photo in found for outline in photo if not isinstance(outline, RecordError)]
    # All strings together, since each call of NumPy costs as much as decoding a thousand numbers.
    decoded = iter(edges_from_trusted([part for outline in outlines for part in outline if isinstance(part, bytes)]))
    return [
        [
            outline
            if isinstance(outline, RecordError)
            else [next(decoded) if isinstance(part, bytes) else part for part in outline]
            for outline in photo
        ]
        for photo in found
    ]


def _read_outline(segmentation: bytes, height: int, width: int) -> list[Edges | bytes] | RecordError:
    """Return the edges of each part, or a part's compressed run lengths as pycocotools made them."""
    try:
        if segmentation[:1] == b"{":
            return [_read_run_lengths(segmentation, height, width)]
        polygons, num_too_short = _read_polygons(segmentation)
        if not _is_within(polygons, height, width):
            raise RecordError(COORDINATE, "points too far outside the photo, or too long an outline")
    except RecordError as error:
        return error
    strings = [part["counts"] for part in coco_mask.frPyObjects(polygons, height, width)]
    return [*[TOO_FEW_POINTS] * num_too_short, *strings]


def _read_polygons(segmentation: bytes) -> tuple[list[Polygon], int]:
    """Return the polygons of three points or more, and how many shorter polygons there are beside them."""
    try:
        points = _polygons_decoder.decode(segmentation)
    except msgspec.ValidationError as error:
        if segmentation in (b"", b"null"):
            raise RecordError(MISSING, "it has no segmentation") from error
        if "Expected `array" in str(error):
            raise RecordError(POLYGON, f"its segmentation is neither polygons nor run lengths ({error})") from error
        raise RecordError(COORDINATE, f"a coordinate is not a finite number ({error})") from error
    except msgspec.DecodeError as error:
        raise RecordError(MISSING, "it has no segmentation") from error
    if not points:
        raise RecordError(MISSING, "its segmentation is empty")
    for polygon in points:
        if len(polygon) % 2:
            raise RecordError(POLYGON, f"a polygon has {len(polygon)} coordinates, an odd number")
    enclosing = [polygon for polygon in points if len(polygon) >= 6]
    if not enclosing:
        raise RecordError(POLYGON, f"a polygon has {len(points[0]) // 2} points; a polygon needs 3 or more")
    return [np.array(polygon) for polygon in enclosing], len(points) - len(enclosing)


def _is_within(polygons: Sequence[Polygon], height: int, width: int) -> bool:
    """Return whether the polygons are near the photo and their outlines, in all, are no longer than allowed."""
    coordinates = np.concatenate(polygons)
    lowest, highest = coordinates.min(), coordinates.max()
    limit = FARTHEST * max(height, width)
    if lowest < -limit or highest > limit:
        return False
    # No two points are farther apart than highest - lowest: the sum is only needed where that bound is too large.
    if len(coordinates) / 2 * (highest - lowest) <= LONGEST_OUTLINE:
        return True
    return sum(_outline_length(polygon) for polygon in polygons) <= LONGEST_OUTLINE


def _outline_length(polygon: Polygon) -> float:
    points = polygon.reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum())


def _read_run_lengths(segmentation: bytes, height: int, width: int) -> Edges:
    try:
        run_lengths = _run_lengths_decoder.decode(segmentation)
    except msgspec.DecodeError as error:
        raise RecordError(RUN_LENGTHS, f"its run lengths cannot be read ({error})") from error
    if run_lengths.size != [height, width]:
        raise RecordError(RUN_LENGTHS, f"its run lengths are for {run_lengths.size}, the photo has [{height}, {width}]")
    try:
        if run_lengths.encoded_pixels is not None:
            return edges_from_pairs(run_lengths.encoded_pixels, height * width)
        if isinstance(run_lengths.counts, str):
            return edges_from_text(run_lengths.counts, height * width)
        return edges_from_counts(run_lengths.counts, height * width)
    except RunLengthError as error:
        raise RecordError(RUN_LENGTHS, str(error)) from error
