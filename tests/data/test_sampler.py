from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from clothseg.data.sampler import EpochSampler, SampleKey, ShardSampler
from clothseg.errors import DataError, SettingError

NewSampler = Callable[[], EpochSampler]
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=9)


@st.composite
def samplers(draw: st.DrawFn, shuffle: st.SearchStrategy[bool] | None = None) -> NewSampler:
    """Return what makes equal samplers, photo by photo or in shards, of one epoch on one process of several."""
    counts, batch_size, epoch = draw(COUNTS), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    is_shuffled = draw(st.booleans() if shuffle is None else shuffle)
    window = draw(st.none() | st.integers(1, 4))
    num_ranks = draw(st.integers(1, min(5, sum(counts))))
    rank = draw(st.integers(0, num_ranks - 1))

    def new() -> EpochSampler:
        sampler = sampler_of(counts, window=window, shuffle=is_shuffled, batch_size=batch_size)
        sampler.distribute(rank=rank, num_ranks=num_ranks)
        sampler.set_epoch(epoch)
        return sampler

    return new


def sampler_of(
    counts: Sequence[int], *, seed: int = 3, window: int | None = 2, shuffle: bool = True, batch_size: int = 4
) -> EpochSampler:
    if window is None:
        return EpochSampler(sum(counts), seed=seed, shuffle=shuffle, batch_size=batch_size)
    return ShardSampler(counts, window=window, seed=seed, shuffle=shuffle, batch_size=batch_size)


def photos(sampler: EpochSampler, epoch: int = 0) -> list[int]:
    sampler.set_epoch(epoch)
    return [key.photo for key in sampler]


@given(new=samplers())
def test_processes_draw_an_epoch_without_overlap(new: NewSampler) -> None:
    sampler = new()
    drawn: list[SampleKey] = []
    lengths = []
    for rank in range(sampler.num_ranks):
        sampler.distribute(rank=rank, num_ranks=sampler.num_ranks)
        share = list(sampler)
        assert len(share) == len(sampler)
        drawn += share
        lengths.append(len(share))
    chosen, every = {key.photo for key in drawn}, set(range(sampler.num_samples))
    assert len(drawn) == len(chosen)
    assert {key.epoch for key in drawn} == {sampler.epoch}
    if not sampler.shuffle:
        assert chosen == every, "validation keeps a last batch of one"
        assert max(lengths) - min(lengths) <= 1
        return
    assert chosen <= every
    assert len(set(lengths)) == 1, "gradients are averaged batch by batch"
    share_size = sampler.num_samples // sampler.num_ranks
    is_single = sampler.batch_size > 1 and share_size > sampler.batch_size and share_size % sampler.batch_size == 1
    assert lengths[0] == share_size - is_single


@given(new=samplers(), batches_done=st.integers(0, 14))
def test_start_at_skips_whole_batches_once(new: NewSampler, batches_done: int) -> None:
    sampler = new()
    whole = list(BatchSampler(sampler, sampler.batch_size, drop_last=False))
    sampler.start_at(batches_done, epoch=sampler.epoch)
    assert len(sampler) == sum(map(len, whole))
    assert list(BatchSampler(sampler, sampler.batch_size, drop_last=False)) == whole[batches_done:]
    assert list(BatchSampler(sampler, sampler.batch_size, drop_last=False)) == whole
    sampler.start_at(2, epoch=sampler.epoch + 1)
    assert len(list(sampler)) == len(sampler), "of another epoch"


@pytest.mark.parametrize("window", [None, 2])
def test_the_order_depends_on_seed_and_epoch_alone(window: int | None) -> None:
    counts = [9, 8, 7, 8, 8]
    one, other = (sampler_of(counts, seed=5, window=window) for _ in range(2))
    photos(one, 0)
    assert photos(one, 3) == photos(other, 3)
    orders = {tuple(photos(one, epoch)) for epoch in range(4)} | {tuple(photos(sampler_of(counts, window=window)))}
    assert len(orders) == 5


@pytest.mark.parametrize("window", [None, 2])
def test_photos_left_out_of_one_epoch_are_drawn_in_others(window: int | None) -> None:
    """9 photos in batches of 4 leave one out, which must not always be the last of its shard."""
    sampler = sampler_of([5, 4], window=window)
    left_out = [set(range(9)) - set(photos(sampler, epoch)) for epoch in range(20)]
    assert all(len(one) == 1 for one in left_out)
    assert len(set.union(*left_out)) > 4


@given(counts=COUNTS, window=st.integers(1, 4), num_ranks=st.integers(1, 3))
def test_only_a_window_of_shards_is_needed_at_a_time(counts: list[int], window: int, num_ranks: int) -> None:
    if sum(counts) < num_ranks:
        return
    shard_of = [shard for shard, count in enumerate(counts) for _ in range(count)]
    for rank in range(num_ranks):
        sampler = sampler_of(counts, window=window)
        sampler.distribute(rank=rank, num_ranks=num_ranks)
        keys = list(sampler)
        left = set()
        for number, key in enumerate(keys):
            assert shard_of[key.photo] in key.shards[:window]
            assert len(key.shards) <= 2 * window
            assert set(key.shards) <= {shard_of[one.photo] for one in keys}, "no shard of another process"
            if number and keys[number - 1].shards != key.shards:
                left |= {shard_of[one.photo] for one in keys[:number]}
            assert shard_of[key.photo] not in left, "a shard is not needed again once its window is over"


def test_photos_of_a_window_are_mixed_and_those_of_validation_are_not() -> None:
    order = photos(sampler_of([50, 50, 50, 50], window=4))
    shards = [photo // 50 for photo in order]
    assert sum(one != other for one, other in pairwise(shards)) > 100
    assert order != sorted(order)
    assert photos(sampler_of([3, 2], shuffle=False)) == [0, 1, 2, 3, 4]


def test_what_cannot_be_distributed_is_refused() -> None:
    for window in (None, 2):
        with pytest.raises(DataError, match="2 photos cannot be distributed over 3 processes"):
            sampler_of([1, 1], window=window).distribute(rank=0, num_ranks=3)
    with pytest.raises(SettingError, match="-1 batches"):
        sampler_of([1, 1]).start_at(-1)
