"""The order of the samples of an epoch: a function of seed and epoch, distributed over processes, resumed anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from clothseg.errors import DataError, SettingError
from clothseg.types import Int64Array


class SampleKey(NamedTuple):
    """Which sample, and which of its augmentations."""

    epoch: int
    photo: int
    """Its index in the split."""
    shards: tuple[int, ...] = ()
    """Of a packed dataset: the shards of this window, then those of the next, which are fetched in advance."""


class EpochSampler(Sampler[SampleKey]):
    """Yields the keys of one epoch, those of one process where several train together.

    The order needs no random state: seed and epoch are enough to resume an epoch at any batch.

    With `shuffle` (training) every process gets equally many batches of equal sizes, as gradients are averaged batch by
    batch. An epoch leaves out what cannot be distributed evenly: fewer samples than there are processes, and a last
    batch of a single sample per process, which batch norm of some decoders cannot normalise. Each epoch has another
    order, so the next one leaves out other samples. On one process with more than one sample in the last batch, every
    sample is drawn exactly once.

    Without `shuffle` (validation) every sample is drawn exactly once by exactly one process; no sample is repeated as
    padding, which would count it twice. Processes may differ by one sample, so only sums over an epoch may be reduced.

    Args:
        num_samples: how many samples there are.
        seed: start of the random order.
        shuffle: draw in a new random order each epoch, for training; else in ascending order, for validation.
        batch_size: samples per batch and process.

    >>> sampler = EpochSampler(5, seed=1, shuffle=False, batch_size=2)
    >>> sampler.set_epoch(3)
    >>> [key.photo for key in sampler]
    [0, 1, 2, 3, 4]
    """

    def __init__(self, num_samples: int, *, seed: int, shuffle: bool, batch_size: int) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.epoch = 0
        self._start: tuple[int | None, int] = (None, 0)
        self.rank, self.num_ranks = 0, 1

    def distribute(self, *, rank: int, num_ranks: int) -> None:
        """Draw from now on only the samples of process `rank`, from 0, of the `num_ranks` that share them.

        Raises:
            DataError: there are fewer samples than processes.
        """
        if self.num_samples < num_ranks:
            raise DataError(
                f"{self.num_samples} photos cannot be distributed over {num_ranks} processes. "
                "Prepare more photos, or use fewer DEVICES"
            )
        self.rank, self.num_ranks = rank, num_ranks

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of `epoch` from the next iteration on. Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def start_at(self, batches_done: int, *, epoch: int | None = None) -> None:
        """Skip the first `batches_done` batches of the next iteration, once.

        Args:
            batches_done: batches of this process that were trained before the checkpoint.
            epoch: skip them only if the next iteration is of this epoch; None: in any epoch.

        Raises:
            SettingError: `batches_done` is below 0.
        """
        if batches_done < 0:
            raise SettingError(f"start_at got {batches_done} batches. Allowed: a whole number from 0 up")
        self._start = (epoch, batches_done)

    @property
    def next_batch(self) -> int:
        """Number of the batch, from 0, with which the next iteration starts."""
        epoch, batches_done = self._start
        return batches_done if epoch in (None, self.epoch) else 0

    def __len__(self) -> int:
        """Return the samples of a full epoch for this process, whatever `start_at` said."""
        if not self.shuffle:
            return len(range(self.rank, self.num_samples, self.num_ranks))
        count = self.num_samples // self.num_ranks
        leaves_one = count % self.batch_size == 1 and count > self.batch_size
        return count - 1 if leaves_one and self.batch_size > 1 else count

    def __iter__(self) -> Iterator[SampleKey]:
        epoch, first = self.epoch, self.next_batch * self.batch_size
        self._start = (None, 0)
        yield from self._keys(epoch, first)

    @property
    def description(self) -> str:
        """What the order depends on beside seed, epoch and number of samples; equal descriptions mean equal orders."""
        return "photo by photo"

    def _keys(self, epoch: int, first: int) -> Iterator[SampleKey]:
        """Yield the keys of this process from its sample number `first` on."""
        everyone = np.arange(self.num_samples)
        if self.shuffle:
            everyone = np.random.default_rng([self.seed, epoch]).permutation(everyone)
        for index in everyone[self.rank :: self.num_ranks][first : len(self)]:
            yield SampleKey(epoch, int(index))


# Last numbers of the seeds, so that no two choices, nor an augmentation (seed, epoch, photo), use the same stream.
_SHARDS, _START, _WINDOW = 1, 2, 3


class ShardSampler(EpochSampler):
    """Yields the keys of one epoch in an order that needs only a window of shards at a time.

    The shards come in a random order, each beginning at a random photo. Each process draws a contiguous part of this
    order, so that together they read every shard about once, and cuts it into windows of `window` shards whose photos
    are mixed. Photos are in their shards in random order already, so a window is a random sample of the dataset.
    Without `shuffle`, photos come in the order of the shards.

    Args:
        counts: photos of each shard.
        window: shards whose photos are mixed.
        seed, shuffle, batch_size: as for `EpochSampler`.
    """

    def __init__(self, counts: Sequence[int], *, window: int, seed: int, shuffle: bool, batch_size: int) -> None:
        super().__init__(sum(counts), seed=seed, shuffle=shuffle, batch_size=batch_size)
        self._counts = np.asarray(counts, dtype=np.int64)
        self._first = np.cumsum(self._counts) - self._counts
        self._window = window

    @property
    def description(self) -> str:
        """What the order depends on beside seed, epoch and number of samples; equal descriptions mean equal orders."""
        digest = hashlib.sha256(self._counts.astype("<i8").tobytes()).hexdigest()[:8]
        return f"{len(self._counts)} shards ({digest}), {self._window} at a time"

    def _keys(self, epoch: int, first: int) -> Iterator[SampleKey]:
        share, rest = divmod(self.num_samples, self.num_ranks)
        start = self.rank * share + (0 if self.shuffle else min(self.rank, rest))
        order = np.arange(len(self._counts))
        if self.shuffle:
            order = self._generator(epoch, 0, _SHARDS).permutation(order)
        stop = start + len(self)
        ends = np.cumsum(self._counts[order])
        begins = ends - self._counts[order]
        last = int(np.searchsorted(begins, stop, side="left"))
        for begin in range(int(np.searchsorted(ends, start, side="right")), last, self._window):
            end = min(begin + self._window, last)
            if min(ends[end - 1], stop) - start <= first:
                continue
            chosen = np.concatenate([self._shard(epoch, shard) for shard in order[begin:end].tolist()])
            chosen = chosen[max(0, start - begins[begin]) : stop - begins[begin]]
            if self.shuffle:
                chosen = self._generator(epoch, start + begin, _WINDOW).permutation(chosen)
            shards = tuple(order[begin : min(end + self._window, last)].tolist())
            done = max(0, begins[begin] - start)
            for index in chosen[max(0, first - done) :].tolist():
                yield SampleKey(epoch, index, shards)

    def _shard(self, epoch: int, shard: int) -> Int64Array:
        """Return the indices of a shard's photos, beginning at a random one."""
        count = int(self._counts[shard])
        indices = self._first[shard] + np.arange(count)
        return np.roll(indices, -self._generator(epoch, shard, _START).integers(count)) if self.shuffle else indices

    def _generator(self, epoch: int, position: int, choice: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, position, choice])
