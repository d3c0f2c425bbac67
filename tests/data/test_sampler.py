from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from clothseg.data.sampler import EpochSampler, SampleKey
from clothseg.errors import DataError

NewSampler = Callable[[], EpochSampler]


@st.composite
def samplers(draw: st.DrawFn) -> NewSampler:
    """Return what makes equal samplers of one epoch on one process of several."""
    num_samples, batch_size, epoch = draw(st.integers(1, 60)), draw(st.integers(1, 9)), draw(st.integers(0, 5))
    is_shuffled = draw(st.booleans())
    num_ranks = draw(st.integers(1, min(5, num_samples)))
    rank = draw(st.integers(0, num_ranks - 1))

    def new() -> EpochSampler:
        sampler = sampler_of(num_samples, shuffle=is_shuffled, batch_size=batch_size)
        sampler.distribute(rank=rank, num_ranks=num_ranks)
        sampler.set_epoch(epoch)
        return sampler

    return new


def sampler_of(num_samples: int, *, seed: int = 3, shuffle: bool = True, batch_size: int = 4) -> EpochSampler:
    return EpochSampler(num_samples, seed=seed, shuffle=shuffle, batch_size=batch_size)


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


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one, other = (sampler_of(40, seed=5) for _ in range(2))
    photos(one, 0)
    assert photos(one, 3) == photos(other, 3)
    assert len({tuple(photos(one, epoch)) for epoch in range(4)} | {tuple(photos(sampler_of(40)))}) == 5
    assert photos(sampler_of(5, shuffle=False)) == [0, 1, 2, 3, 4]


def test_photos_left_out_of_one_epoch_are_drawn_in_others() -> None:
    """9 photos in batches of 4 leave one out, which must not always be the same."""
    sampler = sampler_of(9)
    left_out = [set(range(9)) - set(photos(sampler, epoch)) for epoch in range(20)]
    assert all(len(one) == 1 for one in left_out)
    assert len(set.union(*left_out)) > 4


def test_what_cannot_be_distributed_is_refused() -> None:
    with pytest.raises(DataError, match="2 photos cannot be distributed over 3 processes"):
        sampler_of(2).distribute(rank=0, num_ranks=3)
