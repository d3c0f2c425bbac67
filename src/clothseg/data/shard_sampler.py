"""The order in which samples of a packed data set are drawn, shared out over processes shard by shard."""

from __future__ import annotations

from collections.abc import Iterator

from clothseg.data.sampler import EpochSampler
from clothseg.data.shard_order import ShardKey, ShardOrder


class ShardSampler(EpochSampler):
    """Yields the keys of one epoch as `EpochSampler` does, in an order in which few shards are needed at a time.

    Each process draws a run of its own out of the epoch's shards, so that together they read every shard about once.

    Args:
        order: of the split's shards; `order.shuffle` tells training from validation.
        batch_size: samples per batch and process.

    Raises:
        DataError: there are fewer samples than processes.
    """

    def __init__(self, order: ShardOrder, *, batch_size: int) -> None:
        super().__init__(len(order), seed=order.seed, shuffle=order.shuffle, batch_size=batch_size)
        self.order = order

    @property
    def description(self) -> str:
        """What the order depends on beside seed, epoch and number of samples, so that two can be told apart."""
        return self.order.description

    def _keys(self, epoch: int, first: int) -> Iterator[ShardKey]:
        share, rest = divmod(self.num_samples, self.num_ranks)
        start = self.rank * share + (0 if self.shuffle else min(self.rank, rest))
        for window in self.order.windows(epoch, start, start + len(self), skip=first):
            ahead = window.shards + window.following
            for index in window.indices.tolist():
                yield ShardKey(epoch, index, ahead)
