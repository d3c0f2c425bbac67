"""COCO's run-length encoding (RLE) of masks: encode all classes at once, decode, check untrusted codes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from clothseg.labels import BACKGROUND_ID, IGNORED_ID
from clothseg.types import BoolArray, Int64Array, UInt8Array

Edges = Int64Array
"""(2n,) start and end of each of n runs of a region, alternating, in pixels down the columns: pixel (y, x) of a photo
of height H is number x * H + y. Strictly rising."""

# Source: rleToString and rleFrString in common/maskApi.c of github.com/cocodataset/cocoapi: 5 bits a character from 48
# up, the sixth says that more follow; from the fourth number on, each is stored as its difference to the last but one.
_CHARACTERS = bytes(range(48, 112))
_TOO_LONG_A_NUMBER = re.compile(rb"[P-o]{7}")  # 7 characters are 35 bits, more than any photo has pixels


class RunLengthError(ValueError):
    """Run lengths that do not describe a region of the photo; the message says why."""


@dataclass(frozen=True)
class Region:
    """All pixels of one class in a mask."""

    class_id: int
    size: tuple[int, int]
    """(height, width) of the mask."""
    counts: str
    """COCO's compressed run-length encoding, column by column."""
    area: int
    """Pixels."""
    bbox: tuple[int, int, int, int]
    """(x, y, width, height) of the smallest box around the pixels."""

    @property
    def rle(self) -> dict[str, Any]:
        """The encoding as `pycocotools.mask.decode` takes it."""
        return {"size": list(self.size), "counts": self.counts}


def encode_regions(mask: UInt8Array) -> tuple[Region, ...]:
    """Return the region of each class in a mask except the background, lowest id first.

    What no region covers is background, so the regions together hold the whole mask. One search for runs serves all
    classes: on a large photo this is ten times as fast as `pycocotools.mask.encode` of each class.

    Args:
        mask: (H, W) uint8, class ids; 255 is padding and gets no region.

    >>> mask = np.array([[0, 2, 2], [0, 2, 0]], dtype=np.uint8)
    >>> encode_regions(mask)
    (Region(class_id=2, size=(2, 3), counts='231', area=3, bbox=(1, 0, 2, 2)),)
    """
    if mask.size == 0:
        return ()
    # Several times as fast as mask.T.ravel().
    columns = np.asarray(cv2.transpose(mask), dtype=np.uint8).reshape(-1)
    changes = np.flatnonzero(columns[1:] != columns[:-1]) + 1
    starts, ends = np.concatenate(([0], changes)), np.concatenate((changes, [columns.size]))
    values = columns[starts]
    order = np.argsort(values, kind="stable")
    class_ids, firsts = np.unique(values[order], return_index=True)
    runs_by_class = zip(class_ids.tolist(), np.split(order, firsts[1:]), strict=True)
    return tuple(
        _region(class_id, starts[runs], ends[runs], mask.shape)
        for class_id, runs in runs_by_class
        if class_id not in (BACKGROUND_ID, IGNORED_ID)
    )


def _region(class_id: int, starts: Int64Array, ends: Int64Array, size: tuple[int, ...]) -> Region:
    """Return the region that consists of the runs from `starts` to before `ends`, in pixels down the columns."""
    height, width = size
    edges = np.concatenate(([0], np.stack((starts, ends), axis=1).reshape(-1), [height * width]))
    counts = np.diff(edges)  # background first, which may be empty
    compressed = coco_mask.frPyObjects({"size": [height, width], "counts": counts[: None if counts[-1] else -1]}, *size)
    return Region(
        class_id=class_id,
        size=(height, width),
        counts=compressed["counts"].decode("ascii"),
        area=int((ends - starts).sum()),
        bbox=_bbox(starts, ends, height),
    )


def _bbox(starts: Int64Array, ends: Int64Array, height: int) -> tuple[int, int, int, int]:
    first_columns, tops = np.divmod(starts, height)
    last_columns, bottoms = np.divmod(ends - 1, height)
    left, right = int(first_columns[0]), int(last_columns[-1])
    if np.any(first_columns != last_columns):  # a run over two columns holds the end of one and the start of the next
        return left, 0, right - left + 1, height
    top = int(tops.min())
    return left, top, right - left + 1, int(bottoms.max()) - top + 1


def decode_region(rle: Mapping[str, Any]) -> BoolArray:
    """Return the pixels of a compressed encoding, as `Region.rle` or `pycocotools.mask.encode` give it.

    Returns:
        (H, W) bool.

    >>> decode_region({"size": [2, 3], "counts": "231"}).astype(int)
    array([[0, 1, 1],
           [0, 1, 0]])
    """
    height, width = rle["size"]
    (ends,) = _run_ends([rle["counts"].encode("ascii")])
    is_inside = np.arange(len(ends)) % 2 == 1
    return np.repeat(is_inside, np.diff(ends, prepend=0)).reshape(width, height).T


def edges_from_text(counts: str, num_pixels: int) -> Edges:
    """Decode and check a compressed COCO run-length string.

    Raises:
        RunLengthError: it is not one, or its runs do not add up to `num_pixels`.
    """
    content = counts.encode("utf-8", "surrogatepass")
    if content.translate(None, _CHARACTERS):
        raise RunLengthError("the run lengths have characters that COCO's code does not have")
    if not content or content[-1] >= 80 or _TOO_LONG_A_NUMBER.search(content):
        raise RunLengthError("the run lengths are cut off or not COCO's code")
    ends = _run_ends([content])[0]
    return _checked(np.diff(ends, prepend=0), num_pixels)


def edges_from_counts(counts: Sequence[int | float], num_pixels: int) -> Edges:
    """Check an uncompressed COCO run-length list and return its edges.

    Raises:
        RunLengthError: a length is no whole number or negative, or they do not add up to `num_pixels`.
    """
    if any(isinstance(count, float) and not count.is_integer() for count in counts):
        raise RunLengthError("a run is no whole number of pixels long")
    try:
        lengths = np.array([int(count) for count in counts], dtype=np.int64)
    except OverflowError as error:
        raise RunLengthError("a run is longer than the photo has pixels") from error
    return _checked(lengths, num_pixels)


def edges_from_pairs(text: str, num_pixels: int) -> Edges:
    """Check Kaggle's run lengths, pairs of a run's first pixel, from 1 down the columns, and its length.

    Raises:
        RunLengthError: they are no pairs of whole numbers, out of order, overlap, or end beyond `num_pixels`.

    >>> edges_from_pairs("2 3 9 1", 12)
    array([1, 4, 8, 9])
    """
    if text.strip("0123456789 "):
        raise RunLengthError("the run lengths are not whole numbers with spaces between them")
    numbers = np.fromstring(text, dtype=np.int64, sep=" ")
    if len(numbers) % 2:
        raise RunLengthError(f"the run lengths are {len(numbers)} numbers, not pairs of a start and a length")
    if len(numbers) and (numbers.min() < 1 or numbers.max() > num_pixels):
        raise RunLengthError(f"a start or a length is not from 1 to the photo's {num_pixels} pixels")
    edges = numbers - 1
    edges[1::2] = edges[::2] + numbers[1::2]
    return _checked(np.diff(edges, prepend=0, append=num_pixels), num_pixels)


def edges_from_trusted(strings: Sequence[bytes]) -> list[Edges]:
    """Return the edges of compressed strings that pycocotools itself has just made, all at once."""
    return [ends[: len(ends) // 2 * 2] for ends in _run_ends(strings)] if strings else []


def _checked(lengths: Int64Array, num_pixels: int) -> Edges:
    if len(lengths) and (lengths.min() < 0 or lengths.max() > num_pixels):
        raise RunLengthError("a run is negative or longer than the photo has pixels")
    total = int(lengths.sum())
    if total != num_pixels:
        too = "short" if total < num_pixels else "long"
        raise RunLengthError(
            f"the run lengths are too {too}: they add up to {total}, the photo has {num_pixels} pixels"
        )
    edges = lengths.cumsum()[: len(lengths) // 2 * 2]
    if (edges[1:] > edges[:-1]).all():
        return edges
    positions, occurrences = np.unique(edges, return_counts=True)
    odd: Edges = positions[occurrences % 2 == 1]  # a run of no pixels has two edges at one position: no edge
    return odd


def _run_ends(strings: Sequence[bytes]) -> list[Int64Array]:
    """Decode compressed strings, none of them empty: where each run ends, background and region alternating.

    All strings are decoded together, since each call of NumPy costs as much as a thousand numbers. Each string starts
    at an even index, so that in rows of two, each number is below the last but one before it.
    """
    codes = np.frombuffer(b"".join(strings), dtype=np.uint8) - np.uint8(48)
    last = np.flatnonzero(codes < 32)
    numbers = _signed_numbers(codes, last)
    stops = last.searchsorted(np.cumsum([len(string) for string in strings]))
    counts = np.diff(stops, prepend=0)
    even_counts = counts + (counts & 1)
    starts = np.cumsum(even_counts) - even_counts
    lengths = np.zeros(int(even_counts.sum()), dtype=np.int64)
    lengths[np.arange(len(numbers)) + np.repeat(starts - (stops - counts), counts)] = numbers
    first = lengths[starts]
    lengths[starts] = 0  # the third number is no difference to the first
    rows = lengths.reshape(-1, 2)
    before = -rows[starts // 2]
    rows.cumsum(axis=0, out=rows)
    before += rows[starts // 2]
    rows -= np.repeat(before, even_counts // 2, axis=0)
    lengths[starts] = first
    ends = lengths.cumsum()
    ends -= np.repeat(ends[starts] - first, even_counts)
    return [ends[start : start + count] for start, count in zip(starts.tolist(), counts.tolist(), strict=True)]


def _signed_numbers(codes: UInt8Array, last: Int64Array) -> Int64Array:
    """Put numbers together from groups of 5 bits, lowest first; `last` are the indices of each number's last group."""
    bits = (codes & 31).astype(np.int64)
    numbers = bits[last]
    numbers -= (numbers & 16) << 1  # two's complement: the highest bit of the last group is the sign
    num_more = np.diff(last, prepend=-1) - 1
    for offset in range(1, int(num_more.max(initial=0)) + 1):
        longer = np.flatnonzero(num_more >= offset)
        numbers[longer] = numbers[longer] << 5 | bits[last[longer] - offset]
    return numbers
