import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler

from clothseg.data.sampler import EpochSampler
from clothseg.errors import DataError, SettingError

SIZES = st.integers(1, 60)


def keys(sampler: EpochSampler, epoch: int = 0) -> list[tuple[int, int]]:
    sampler.set_epoch(epoch)
    return list(sampler)


@given(num_samples=SIZES, batch_size=st.integers(1, 9), epoch=st.integers(0, 5))
def test_an_epoch_draws_every_sample_once_but_a_lonely_last_one(num_samples: int, batch_size: int, epoch: int) -> None:
    sampler = EpochSampler(num_samples, seed=3, shuffle=True, batch_size=batch_size)
    drawn = keys(sampler, epoch)
    is_lonely = batch_size > 1 and num_samples > batch_size and num_samples % batch_size == 1
    assert len(drawn) == len(set(drawn)) == len(sampler) == num_samples - is_lonely
    assert {key[0] for key in drawn} == {epoch}
    assert {key[1] for key in drawn} <= set(range(num_samples))


def test_samples_left_out_of_one_epoch_are_drawn_in_the_next() -> None:
    sampler = EpochSampler(9, seed=0, shuffle=True, batch_size=4)
    left_out = [set(range(9)) - {index for _, index in keys(sampler, epoch)} for epoch in range(4)]
    assert all(len(one) == 1 for one in left_out)
    assert len(set.union(*left_out)) > 1


@given(
    num_samples=SIZES,
    num_ranks=st.integers(1, 5),
    batch_size=st.integers(1, 7),
    shuffle=st.booleans(),
)
def test_processes_share_an_epoch_without_overlap(
    num_samples: int, num_ranks: int, batch_size: int, shuffle: bool
) -> None:
    if num_samples < num_ranks:
        return
    ranks = [
        EpochSampler(num_samples, seed=1, shuffle=shuffle, rank=rank, num_ranks=num_ranks, batch_size=batch_size)
        for rank in range(num_ranks)
    ]
    shares = [keys(one, epoch=2) for one in ranks]
    drawn = [key for share in shares for key in share]
    assert [len(one) for one in ranks] == [len(share) for share in shares]
    assert len(drawn) == len(set(drawn))
    if shuffle:
        assert len({len(share) for share in shares}) == 1, "gradients are averaged batch by batch"
        assert num_samples - len(drawn) < 2 * num_ranks
    else:
        assert len(drawn) == num_samples
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one, other = (EpochSampler(40, seed=5, shuffle=True, batch_size=4) for _ in range(2))
    keys(one, 0)
    assert keys(one, 3) == keys(other, 3)
    orders = {tuple(index for _, index in keys(one, epoch)) for epoch in range(4)}
    orders.add(tuple(index for _, index in keys(EpochSampler(40, seed=6, shuffle=True, batch_size=4))))
    assert len(orders) == 5


@given(num_samples=SIZES, batch_size=st.integers(1, 9), batches_done=st.integers(0, 12))
def test_start_at_leaves_out_whole_batches_once(num_samples: int, batch_size: int, batches_done: int) -> None:
    sampler = EpochSampler(num_samples, seed=2, shuffle=True, batch_size=batch_size)
    sampler.set_epoch(4)
    whole = list(BatchSampler(sampler, batch_size, drop_last=False))
    sampler.start_at(batches_done)
    assert len(sampler) == sum(map(len, whole))
    assert list(BatchSampler(sampler, batch_size, drop_last=False)) == whole[batches_done:]
    assert list(BatchSampler(sampler, batch_size, drop_last=False)) == whole


def test_start_at_of_another_epoch_leaves_nothing_out() -> None:
    sampler = EpochSampler(6, seed=2, shuffle=False, batch_size=2)
    sampler.start_at(2, epoch=3)
    assert len(keys(sampler, 4)) == 6
    sampler.start_at(2, epoch=3)
    assert keys(sampler, 3) == [(3, 4), (3, 5)]


def test_validation_keeps_a_lonely_last_sample() -> None:
    assert len(keys(EpochSampler(9, seed=0, shuffle=False, batch_size=4))) == 9


def test_what_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(DataError, match="2 photos cannot be shared out over 3 processes"):
        EpochSampler(2, seed=0, shuffle=True, num_ranks=3, batch_size=1)
    with pytest.raises(SettingError, match="-1 batches"):
        EpochSampler(2, seed=0, shuffle=True, batch_size=1).start_at(-1)
