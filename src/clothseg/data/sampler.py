"""The order in which samples are drawn: a pure function of seed and epoch, shared out over processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from clothseg.data.shard_order import ShardKey
from clothseg.errors import DataError, SettingError

SampleKey = tuple[int, int] | ShardKey
"""(epoch, index): which sample, and which of its augmentations; with shards, also those that are needed."""


class EpochSampler(Sampler[SampleKey]):
    """Yields the keys `(epoch, index)` of one epoch, those of one process where several train together.

    The order needs no random state: whoever knows seed and epoch can continue an epoch at any batch.

    With `shuffle` (training) every process gets equally many batches of equal sizes, as gradients are averaged batch by
    batch. What cannot be shared out evenly sits out the epoch: fewer samples than there are processes, and a last batch
    of a single sample per process, over which some decoders' batch norm has nothing to average. Each epoch orders the
    samples anew, so others sit out the next time. On one process with more than one sample in the last batch, every
    sample is drawn exactly once.

    Without `shuffle` (validation) every sample is drawn exactly once by exactly one process; nothing is repeated to
    fill up, which would count it twice. Processes may differ by one sample, so only sums over an epoch may be shared.

    Args:
        num_samples: how many samples there are.
        seed: start of the random order.
        shuffle: draw in a new random order each epoch, for training; else in ascending order, for validation.
        rank: which process this is, from 0.
        num_ranks: how many processes share the samples.
        batch_size: samples per batch and process.

    Raises:
        DataError: there are fewer samples than processes.

    >>> sampler = EpochSampler(5, seed=1, shuffle=False, batch_size=2)
    >>> sampler.set_epoch(3)
    >>> list(sampler)
    [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
    """

    def __init__(
        self, num_samples: int, *, seed: int, shuffle: bool, rank: int = 0, num_ranks: int = 1, batch_size: int
    ) -> None:
        self.num_samples = num_samples
        self.seed = seed
        self.shuffle = shuffle
        self.batch_size = batch_size
        self.epoch = 0
        self._start: tuple[int | None, int] = (None, 0)
        self.share(rank=rank, num_ranks=num_ranks)

    def share(self, *, rank: int, num_ranks: int) -> None:
        """Draw from now on only what falls to process `rank` of `num_ranks`.

        Raises:
            DataError: there are fewer samples than processes.
        """
        if self.num_samples < num_ranks:
            raise DataError(
                f"{self.num_samples} photos cannot be shared out over {num_ranks} processes. "
                "Prepare more photos, or use fewer DEVICES"
            )
        self.rank = rank
        self.num_ranks = num_ranks

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of `epoch` from the next iteration on. Lightning calls this at the start of every epoch."""
        self.epoch = epoch

    def start_at(self, batches_done: int, *, epoch: int | None = None) -> None:
        """Leave out the first `batches_done` batches of the next iteration, once.

        Args:
            batches_done: batches of this process that a checkpoint has already seen.
            epoch: leave them out only if the next iteration is of this epoch; None: whichever it is.

        Raises:
            SettingError: `batches_done` is below 0.
        """
        if batches_done < 0:
            raise SettingError(f"start_at got {batches_done} batches. Allowed: a whole number from 0 up")
        self._start = (epoch, batches_done)

    @property
    def next_batch(self) -> int:
        """Number of the batch, from 0, with which the next iteration begins."""
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
        """What the order depends on beside seed, epoch and number of samples, so that two can be told apart."""
        return "photo by photo"

    def _keys(self, epoch: int, first: int) -> Iterator[SampleKey]:
        """Yield the keys of this process from its sample number `first` on."""
        everyone = np.arange(self.num_samples)
        if self.shuffle:
            everyone = np.random.default_rng([self.seed, epoch]).permutation(everyone)
        for index in everyone[self.rank :: self.num_ranks][first : len(self)]:
            yield epoch, int(index)
