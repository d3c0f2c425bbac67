"""COCO's run-length code as the edges of its runs, checked before anything is painted from it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from clothseg.types import Int64Array, UInt8Array

Edges = Int64Array
"""(2n,) start and end of each of n runs of a region, by turns, in pixels down the columns: pixel (y, x) of a photo of
height H is number x * H + y. Rising, no two equal."""

# Source: rleToString and rleFrString in common/maskApi.c of github.com/cocodataset/cocoapi: 5 bits a character from 48
# up, the sixth says that more follow; from the fourth number on, each is stored as its difference to the last but one.
_CHARACTERS = bytes(range(48, 112))
_TOO_LONG_A_NUMBER = re.compile(rb"[P-o]{7}")  # 7 characters hold 35 bits, more than any photo has pixels


class RunLengthError(ValueError):
    """Run lengths that do not describe a region of the photo; the message says why."""


def edges_from_text(counts: str, num_pixels: int) -> Edges:
    """Decode and check a compressed COCO run-length string.

    Raises:
        RunLengthError: it is not one, or its runs do not add up to `num_pixels`.
    """
    content = counts.encode("utf-8", "surrogatepass")
    if content.translate(None, _CHARACTERS):
        raise RunLengthError("the run lengths hold characters that COCO's code does not have")
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


def edges_from_trusted(strings: Sequence[bytes]) -> list[Edges]:
    """Return the edges of compressed strings that pycocotools itself has just made, many in one go."""
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
    places, occurrences = np.unique(edges, return_counts=True)
    kept: Edges = places[occurrences % 2 == 1]  # a run of no pixels has two edges at one place, which are none
    return kept


def _run_ends(strings: Sequence[bytes]) -> list[Int64Array]:
    """Decode compressed strings, none of them empty: where each run ends, background and region by turns.

    All strings are decoded together, since each call of NumPy costs as much as a thousand numbers. Each string starts
    at an even place, so that as rows of two, a number stands below the last but one before it.
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
    """Put numbers together from groups of 5 bits, lowest first; `last` are the places of each number's last group."""
    bits = (codes & 31).astype(np.int64)
    numbers = bits[last]
    numbers -= (numbers & 16) << 1  # two's complement: the highest bit of the last group is the sign
    num_more = np.diff(last, prepend=-1) - 1
    for place in range(1, int(num_more.max(initial=0)) + 1):
        longer = np.flatnonzero(num_more >= place)
        numbers[longer] = numbers[longer] << 5 | bits[last[longer] - place]
    return numbers
