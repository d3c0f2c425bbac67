from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from clothseg.data.shard_order import ShardOrder
from clothseg.data.shard_sampler import ShardSampler
from clothseg.errors import DataError

COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=9)


def sampler_of(
    counts: Sequence[int], *, seed: int = 3, window: int = 2, shuffle: bool = True, batch_size: int = 4
) -> ShardSampler:
    return ShardSampler(ShardOrder(counts, seed=seed, window=window, shuffle=shuffle), batch_size=batch_size)


def photos(sampler: ShardSampler, epoch: int = 0) -> list[int]:
    sampler.set_epoch(epoch)
    return [photo for _, photo, _ in sampler]


@given(
    counts=COUNTS,
    window=st.integers(1, 4),
    num_ranks=st.integers(1, 4),
    batch_size=st.integers(1, 5),
    shuffle=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_processes_share_an_epoch_without_overlap(counts, window, num_ranks, batch_size, shuffle, epoch) -> None:
    if sum(counts) < num_ranks:
        return
    drawn, lengths = [], []
    for rank in range(num_ranks):
        sampler = sampler_of(counts, window=window, shuffle=shuffle, batch_size=batch_size)
        sampler.share(rank=rank, num_ranks=num_ranks)
        share = photos(sampler, epoch)
        assert len(share) == len(sampler)
        drawn += share
        lengths.append(len(share))
    assert len(drawn) == len(set(drawn))
    assert set(drawn) <= set(range(sum(counts)))
    if shuffle:
        assert len(set(lengths)) == 1, "gradients are averaged batch by batch"
        assert sum(counts) - len(drawn) < 2 * num_ranks
    else:
        assert drawn == list(range(sum(counts)))
        assert max(lengths) - min(lengths) <= 1


@given(
    counts=COUNTS,
    window=st.integers(1, 4),
    num_ranks=st.integers(1, 3),
    batch_size=st.integers(1, 5),
    batches_done=st.integers(0, 14),
    shuffle=st.booleans(),
)
def test_start_at_resumes_at_the_next_batch(counts, window, num_ranks, batch_size, batches_done, shuffle) -> None:
    if sum(counts) < num_ranks:
        return
    for rank in range(num_ranks):
        whole, rest = (sampler_of(counts, window=window, shuffle=shuffle, batch_size=batch_size) for _ in range(2))
        for sampler in (whole, rest):
            sampler.share(rank=rank, num_ranks=num_ranks)
            sampler.set_epoch(2)
        rest.start_at(batches_done, epoch=2)
        expected = list(BatchSampler(whole, batch_size, drop_last=False))[batches_done:]
        assert list(BatchSampler(rest, batch_size, drop_last=False)) == expected


@given(counts=COUNTS, window=st.integers(1, 4), num_ranks=st.integers(1, 3))
def test_only_a_window_of_shards_is_needed_at_a_time(counts, window, num_ranks) -> None:
    if sum(counts) < num_ranks:
        return
    shard_of = [shard for shard, count in enumerate(counts) for _ in range(count)]
    for rank in range(num_ranks):
        sampler = sampler_of(counts, window=window)
        sampler.share(rank=rank, num_ranks=num_ranks)
        keys = list(sampler)
        left = set()
        for number, (_, photo, ahead) in enumerate(keys):
            assert shard_of[photo] in ahead[:window]
            assert len(ahead) <= 2 * window
            assert set(ahead) <= {shard_of[key.photo] for key in keys}, "no shard of another process"
            if number and keys[number - 1].ahead != ahead:
                left |= {shard_of[key.photo] for key in keys[:number]}
            assert shard_of[photo] not in left, "a shard is not needed again once its window is over"


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    counts = [9, 8, 7, 8, 8]
    one, other = sampler_of(counts, seed=5), sampler_of(counts, seed=5)
    photos(one, 0)
    assert photos(one, 3) == photos(other, 3)
    orders = {tuple(photos(one, epoch)) for epoch in range(4)} | {tuple(photos(sampler_of(counts, seed=6)))}
    assert len(orders) == 5


def test_photos_left_out_of_one_epoch_are_drawn_in_others() -> None:
    """9 photos in batches of 4 leave one out, which must not always be the last of its shard."""
    sampler = sampler_of([5, 4], batch_size=4)
    left_out = [set(range(9)) - set(photos(sampler, epoch)) for epoch in range(20)]
    assert all(len(one) == 1 for one in left_out)
    assert len(set.union(*left_out)) > 4


def test_photos_of_a_window_are_mixed() -> None:
    order = photos(sampler_of([50, 50, 50, 50], window=4))
    shards = [photo // 50 for photo in order]
    changes = sum(one != other for one, other in pairwise(shards))
    assert changes > 100
    assert order != sorted(order)


def test_what_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(DataError, match="2 photos cannot be shared out over 3 processes"):
        sampler_of([1, 1]).share(rank=0, num_ranks=3)
