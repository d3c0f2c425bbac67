"""The order of the samples of an epoch: a function of seed and epoch, distributed over processes, resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from clothseg.errors import DataError


class SampleKey(NamedTuple):
    """Which sample, and which of its augmentations."""

    epoch: int
    photo: int
    """Its index in the split."""


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

    def start_at(self, batches_done: int, *, epoch: int) -> None:
        """Skip the first `batches_done` batches of this process in the next iteration, if it is of this epoch."""
        self._start = (epoch, batches_done)

    @property
    def next_batch(self) -> int:
        """Number of the batch, from 0, with which the next iteration starts."""
        epoch, batches_done = self._start
        return batches_done if epoch == self.epoch else 0

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
        everyone = np.arange(self.num_samples)
        if self.shuffle:
            everyone = np.random.default_rng([self.seed, epoch]).permutation(everyone)
        for index in everyone[self.rank :: self.num_ranks][first : len(self)]:
            yield SampleKey(epoch, int(index))
