"""The order of a packed data set's photos: a pure function of seed and epoch that needs few shards at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from clothseg.types import Int64Array

# Ends of the seeds, so that no two choices, nor an augmentation (seed, epoch, photo), share their random numbers.
_SHARDS, _START, _WINDOW = 1, 2, 3


class ShardKey(NamedTuple):
    """Which sample, which of its augmentations, and which shards are needed at this time."""

    epoch: int
    photo: int
    """Its index in the split."""
    ahead: tuple[int, ...]
    """The shards of this window, then those of the next."""


@dataclass(frozen=True, eq=False)
class Window:
    """Some shards, and their photos in the order in which they are drawn."""

    shards: tuple[int, ...]
    following: tuple[int, ...]
    """The shards of the next window."""
    indices: Int64Array
    """(num_samples,) among all photos of the split."""


class ShardOrder:
    """Orders the photos of an epoch so that only a window of shards is needed at a time.

    The shards come in a random order, each beginning at a random photo of its own; cut into windows of `window` shards,
    whose photos are mixed. Photos lie in their shards in random order already, so a window is a fair draw of the whole.

    Args:
        counts: photos of each shard.
        seed: start of the random order.
        window: shards whose photos are mixed.
        shuffle: if not, photos come as they lie, one shard after the other.

    >>> order = ShardOrder([3, 2], seed=1, window=1, shuffle=False)
    >>> [window.indices.tolist() for window in order.windows(0, 1, 5)]
    [[1, 2], [3, 4]]
    """

    def __init__(self, counts: Sequence[int], *, seed: int, window: int, shuffle: bool) -> None:
        self._counts = np.asarray(counts, dtype=np.int64)
        self._first = np.concatenate(([0], np.cumsum(self._counts)))
        self.seed = seed
        self.window = window
        self.shuffle = shuffle

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def description(self) -> str:
        """What the order depends on beside seed and epoch, in words, so that two can be told apart."""
        digest = hashlib.sha256(self._counts.astype("<i8").tobytes()).hexdigest()[:8]
        return f"{len(self._counts)} shards ({digest}), {self.window} at a time"

    def locate(self, index: int) -> tuple[int, int]:
        """Return the shard of a photo, and its place in it."""
        if not 0 <= index < len(self):
            raise IndexError(f"Photo {index} of {len(self)}")
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        return shard, index - int(self._first[shard])

    def windows(self, epoch: int, start: int, stop: int, *, skip: int = 0) -> Iterator[Window]:
        """Yield the windows of one part of an epoch, so that processes can share the shards out.

        Args:
            epoch: which epoch, from 0.
            start: first photo of the part, in the epoch's order of shards.
            stop: photo behind the last.
            skip: leave out that many photos, which were drawn before; windows left out whole cost nothing.
        """
        order = np.arange(len(self._counts))
        if self.shuffle:
            order = self._generator(epoch, 0, _SHARDS).permutation(order)
        ends = np.cumsum(self._counts[order])
        first = int(np.searchsorted(ends, start, side="right"))
        last = int(np.searchsorted(ends - self._counts[order], stop, side="left"))
        for begin in range(first, last, self.window):
            places = range(begin, min(begin + self.window, last))
            count = min(stop, int(ends[places[-1]])) - max(start, int(ends[begin] - self._counts[order[begin]]))
            if skip >= count:
                skip -= count
                continue
            parts = [self._part(epoch, int(order[place]), int(ends[place]), start, stop) for place in places]
            indices = np.concatenate(parts)
            if self.shuffle:
                indices = self._generator(epoch, start + begin, _WINDOW).permutation(indices)
            behind = order[places[-1] + 1 : min(places[-1] + 1 + self.window, last)]
            yield Window(tuple(order[places].tolist()), tuple(behind.tolist()), indices[skip:])
            skip = 0

    def _part(self, epoch: int, shard: int, end: int, start: int, stop: int) -> Int64Array:
        """Return the photos of a shard that fall into a part of the epoch in which the shard ends at `end`."""
        count = int(self._counts[shard])
        places = np.arange(max(0, start - (end - count)), min(count, stop - (end - count)))
        if self.shuffle:
            places = (places + self._generator(epoch, shard, _START).integers(count)) % count
        return np.asarray(self._first[shard] + places)

    def _generator(self, epoch: int, place: int, choice: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, place, choice])
