"""A mask as COCO run-length codes: every class in one pass over the runs, without a full mask per class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from clothseg.labels import BACKGROUND_ID, IGNORED_ID
from clothseg.types import BoolArray, Int64Array, UInt8Array

# A count below 2**32 needs at most seven characters of five bits each, its sign counted.
_MOST_CHARACTERS = 7


@dataclass(frozen=True)
class Region:
    """All pixels of one class in a mask."""

    class_id: int
    size: tuple[int, int]
    """(height, width) of the mask."""
    counts: str
    """COCO's compressed run-length code, column by column."""
    area: int
    """Pixels."""
    bbox: tuple[int, int, int, int]
    """(x, y, width, height) of the smallest box around the pixels."""

    @property
    def rle(self) -> dict[str, Any]:
        """The code as `pycocotools.mask.decode` takes it."""
        return {"size": list(self.size), "counts": self.counts}


@dataclass(frozen=True)
class _Runs:
    """Where a mask, read column by column, keeps one value; sorted by value, then by place."""

    values: UInt8Array
    starts: Int64Array
    ends: Int64Array


def encode_regions(mask: UInt8Array) -> tuple[Region, ...]:
    """Return the region of each class in a mask but the background, lowest id first.

    What no region covers is background, so the regions together hold the whole mask.

    Args:
        mask: (H, W) uint8, class ids; 255 is padding and gets no region.

    >>> mask = np.array([[0, 2, 2], [0, 2, 0]], dtype=np.uint8)
    >>> encode_regions(mask)
    (Region(class_id=2, size=(2, 3), counts='231', area=3, bbox=(1, 0, 2, 2)),)
    """
    runs = _sorted_runs(mask)
    class_ids, firsts = np.unique(runs.values, return_index=True)
    lasts = np.append(firsts[1:], len(runs.values))
    wanted = (class_ids != BACKGROUND_ID) & (class_ids != IGNORED_ID)
    parts = [slice(first, last) for first, last in zip(firsts[wanted], lasts[wanted], strict=True)]
    counts = [_counts(runs.starts[part], runs.ends[part], mask.size) for part in parts]
    height, width = mask.shape
    return tuple(
        Region(
            class_id=int(class_id),
            size=(height, width),
            counts=code,
            area=int((runs.ends[part] - runs.starts[part]).sum()),
            bbox=_bbox(runs.starts[part], runs.ends[part], height),
        )
        for class_id, part, code in zip(class_ids[wanted], parts, compress(counts), strict=True)
    )


def _sorted_runs(mask: UInt8Array) -> _Runs:
    if mask.size == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return _Runs(np.zeros(0, dtype=np.uint8), nothing, nothing)
    columns: UInt8Array = np.asarray(cv2.transpose(mask), dtype=np.uint8).reshape(
        -1
    )  # several times as fast as mask.T.ravel()
    changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts = np.concatenate(([0], changes))
    ends = np.concatenate((changes, [columns.size]))
    values = columns[starts]
    order = np.argsort(values, kind="stable")
    return _Runs(values[order], starts[order], ends[order])


def _counts(starts: Int64Array, ends: Int64Array, num_pixels: int) -> Int64Array:
    """Return the lengths of the runs of one class and of the gaps before, between and after them, a gap first."""
    counts = np.empty(2 * len(starts) + 1, dtype=np.int64)
    counts[0] = starts[0]
    counts[1::2] = ends - starts
    counts[2:-1:2] = starts[1:] - ends[:-1]
    counts[-1] = num_pixels - ends[-1]
    return counts if counts[-1] else counts[:-1]


def _bbox(starts: Int64Array, ends: Int64Array, height: int) -> tuple[int, int, int, int]:
    first_columns, tops = np.divmod(starts, height)
    last_columns, bottoms = np.divmod(ends - 1, height)
    left, right = int(first_columns[0]), int(last_columns[-1])
    if np.any(first_columns != last_columns):  # a run over two columns holds the end of one and the start of the next
        return left, 0, right - left + 1, height
    top = int(tops.min())
    return left, top, right - left + 1, int(bottoms.max()) - top + 1


def compress(counts: list[Int64Array]) -> list[str]:
    """Return COCO's compressed string of each list of run lengths.

    From the fourth on, a length is written as the difference to the one two before it; five bits to a character, lowest
    first, a sixth bit where more follow, and the last one's top bit is the sign.

    Source: `rleToString` in cocoapi's maskApi.c, here for all lengths at once.
    """
    if not counts:
        return []
    differences = [np.concatenate((one[:3], one[3:] - one[1:-2])) for one in counts]
    rest = np.concatenate(differences)
    characters = np.empty((len(rest), _MOST_CHARACTERS), dtype=np.uint8)
    used = np.zeros(characters.shape, dtype=bool)
    lengths = np.zeros(len(rest), dtype=np.int64)
    going = np.ones(len(rest), dtype=bool)
    for place in range(_MOST_CHARACTERS):
        used[:, place] = going
        lengths += going
        bits = rest & 0x1F
        rest = rest >> 5
        more = rest != np.where(bits & 0x10, -1, 0)
        characters[:, place] = bits + 48 + 0x20 * more
        going = going & more
        if not going.any():
            break
    text = characters[used].tobytes().decode("ascii")
    ends = np.cumsum([0, *(len(one) for one in counts)])
    borders = np.concatenate(([0], np.cumsum(lengths)))[ends]
    return [text[start:end] for start, end in pairwise(borders)]


def decode_region(rle: Mapping[str, Any]) -> BoolArray:
    """Return the pixels of a compressed run-length code, as `Region.rle` or `pycocotools.mask.encode` give it.

    Returns:
        (H, W) bool.

    >>> decode_region({"size": [2, 3], "counts": "231"}).astype(int)
    array([[0, 1, 1],
           [0, 1, 0]])
    """
    height, width = rle["size"]
    counts = _decompressed(rle["counts"])
    is_inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(is_inside, counts).reshape(width, height).T


def _decompressed(text: str) -> Int64Array:
    """Return the run lengths of a compressed string; the inverse of `compress`."""
    codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(codes < 0x20)
    starts = np.concatenate(([0], ends[:-1] + 1))
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts + 1))
    counts = np.add.reduceat((codes & 0x1F) << shifts, starts)
    counts -= np.where(codes[ends] & 0x10, np.int64(32) << shifts[ends], 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts
