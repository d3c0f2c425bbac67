"""COCO's run-length code as the edges of its runs, checked before anything is painted from it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Edges = npt.NDArray[np.int64]
"""(2n,) start and end of each of n runs of a region, by turns, in pixels down the columns: pixel (y, x) of a photo of
height H is number x * H + y. Never falling."""

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


def edges_from_counts(counts: Sequence[int], num_pixels: int) -> Edges:
    """Check an uncompressed COCO run-length list and return its edges.

    Raises:
        RunLengthError: a length is negative, or they do not add up to `num_pixels`.
    """
    try:
        lengths = np.array(counts, dtype=np.int64)
    except OverflowError as error:
        raise RunLengthError("a run is longer than the photo has pixels") from error
    return _checked(lengths, num_pixels)


def edges_from_trusted(strings: Sequence[bytes]) -> list[Edges]:
    """Return the edges of compressed strings that pycocotools itself has just made, many in one go."""
    return [ends[: len(ends) // 2 * 2] for ends in _run_ends(strings)]


def _checked(lengths: npt.NDArray[np.int64], num_pixels: int) -> Edges:
    if len(lengths) and (lengths.min() < 0 or lengths.max() > num_pixels):
        raise RunLengthError("a run is negative or longer than the photo has pixels")
    total = int(lengths.sum())
    if total != num_pixels:
        too = "short" if total < num_pixels else "long"
        raise RunLengthError(
            f"the run lengths are too {too}: they add up to {total}, the photo has {num_pixels} pixels"
        )
    return lengths.cumsum()[: len(lengths) // 2 * 2]


def _run_ends(strings: Sequence[bytes]) -> list[npt.NDArray[np.int64]]:
    """Decode compressed strings: where each run ends, background and region by turns, background first."""
    codes = np.frombuffer(b"".join(strings), dtype=np.uint8) - np.uint8(48)
    last = np.flatnonzero(codes < 32)
    bits = (codes & 31).astype(np.int64)
    numbers = bits[last]
    numbers -= (numbers & 16) << 1  # two's complement: the highest bit of the last character is the sign
    num_more = np.diff(last, prepend=-1) - 1
    for place in range(1, int(num_more.max(initial=0)) + 1):
        longer = np.flatnonzero(num_more >= place)
        numbers[longer] = numbers[longer] << 5 | bits[last[longer] - place]
    result = []
    begin = 0
    for end in last.searchsorted(np.cumsum([len(string) for string in strings])).tolist():
        lengths = numbers[begin:end]
        lengths[1::2].cumsum(out=lengths[1::2])
        lengths[2::2].cumsum(out=lengths[2::2])
        result.append(lengths.cumsum())
        begin = end
    return result
