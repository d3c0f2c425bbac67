"""Outlines of an annotation file, as raw JSON, become checked run edges; native code sees none that is malformed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np
from pycocotools import mask as coco_mask

from clothseg.data.problems import RecordError
from clothseg.rle import (
    Edges,
    RunLengthError,
    edges_from_counts,
    edges_from_text,
    edges_from_trusted,
)
from clothseg.types import Float64Array

Polygon = Float64Array
"""(2n,) x and y of n points, by turns, in pixels."""

FARTHEST = 16
"""How many photo sides away from the photo a point may lie. pycocotools walks every pixel of an outline."""
LONGEST_OUTLINE = 4_000_000
"""Pixels of outline that an annotation may have; pycocotools takes about 80 bytes of memory for each."""

MISSING = "segmentation missing"
POLYGON = "polygon"
COORDINATE = "coordinate"
RUN_LENGTHS = "run lengths"


TOO_FEW_POINTS: Edges = np.zeros(0, dtype=np.int64)
"""The edges of a polygon of one or two points: none. Compared by identity."""


class _RunLengths(msgspec.Struct):
    counts: str | list[int | float]
    size: list[int | float]


_polygons_decoder = msgspec.json.Decoder(list[list[float]])
_run_lengths_decoder = msgspec.json.Decoder(_RunLengths)


@dataclass
class _Photo:
    """The outlines of one photo on their way."""

    results: list[list[Edges] | RecordError]
    polygons: list[Polygon]
    places: list[tuple[int, int]]
    """Which of the polygons belong to each annotation: first, and one after the last."""


def read_outlines(photos: Sequence[tuple[Sequence[bytes], int, int]]) -> list[list[list[Edges] | RecordError]]:
    """Read all outlines of some photos.

    Polygons are rasterised by pycocotools, and only after every one of them is checked. A polygon of one or two points
    beside proper ones encloses nothing, and becomes `TOO_FEW_POINTS`.

    Args:
        photos: of each photo, the `segmentation` of each annotation as it stands in the file (polygons, or run lengths
            as a list or a compressed string), and the photo's height and width in pixels.

    Returns:
        For each annotation of each photo the edges of its parts, which may overlap, or why it cannot be used.
    """
    found = []
    strings: list[bytes] = []
    for segmentations, height, width in photos:
        photo = _read_photo(segmentations, height, width)
        if photo.polygons:
            strings += [one["counts"] for one in coco_mask.frPyObjects(photo.polygons, height, width)]
        found.append(photo)
    edges = iter(edges_from_trusted(strings))
    for photo in found:
        own = list(islice(edges, len(photo.polygons)))
        for number, (first, last) in enumerate(photo.places):
            result = photo.results[number]
            if isinstance(result, list):
                result += own[first:last]
    return [photo.results for photo in found]


def _read_photo(segmentations: Sequence[bytes], height: int, width: int) -> _Photo:
    photo = _Photo([], [], [])
    for segmentation in segmentations:
        first = len(photo.polygons)
        try:
            if segmentation[:1] == b"{":
                photo.results.append([_read_run_lengths(segmentation, height, width)])
            else:
                polygons, num_too_short = _read_polygons(segmentation)
                photo.polygons += polygons
                photo.results.append([TOO_FEW_POINTS] * num_too_short)
        except RecordError as error:
            photo.results.append(error)
        photo.places.append((first, len(photo.polygons)))
    if photo.polygons and not _all_within(photo.polygons, height, width):  # together; now one by one
        for number, (first, last) in enumerate(photo.places):
            if first < last and not _all_within(photo.polygons[first:last], height, width):
                photo.results[number] = RecordError(
                    COORDINATE, "points too far outside the photo, or too long an outline"
                )
                photo.polygons[first:last] = [_NOTHING] * (last - first)
    return photo


_NOTHING: Polygon = np.zeros(6)


def _read_polygons(segmentation: bytes) -> tuple[list[Polygon], int]:
    """Return the polygons of three points or more, and how many others there are beside them."""
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
        raise RecordError(POLYGON, f"a polygon has {len(points[0]) // 2} points; it takes 3 to enclose anything")
    return [np.array(polygon) for polygon in enclosing], len(points) - len(enclosing)


def _all_within(polygons: Sequence[Polygon], height: int, width: int) -> bool:
    """Return whether the polygons lie near the photo and their outlines, in all, are no longer than allowed."""
    coordinates = np.concatenate(polygons)
    lowest, highest = coordinates.min(), coordinates.max()
    limit = FARTHEST * max(height, width)
    if lowest < -limit or highest > limit:
        return False
    # No two points are farther apart than highest - lowest: only where that bound says too much, it is summed up.
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
        if isinstance(run_lengths.counts, str):
            return edges_from_text(run_lengths.counts, height * width)
        return edges_from_counts(run_lengths.counts, height * width)
    except RunLengthError as error:
        raise RecordError(RUN_LENGTHS, str(error)) from error
