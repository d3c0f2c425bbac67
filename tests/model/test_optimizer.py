import pytest

from clothseg.model.optimizer import learning_rate_factor


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("num_steps", [1, 2, 7, 1000])
def test_rises_once_then_falls_to_nothing(num_steps: int, warmup: float) -> None:
    factors = [learning_rate_factor(step, num_steps, warmup) for step in range(num_steps + 1)]
    top = factors.index(max(factors))
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)
    assert max(factors) == 1
    assert all(factor > 0 for factor in factors[:-1])
    # A warm-up that takes all the steps leaves none to fall in.
    assert factors[-1] == pytest.approx(0) or warmup * num_steps > num_steps - 1


def test_the_warm_up_takes_its_share() -> None:
    assert [learning_rate_factor(step, 100, 0.05) for step in range(6)] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]


def test_half_way_down_is_half() -> None:
    assert learning_rate_factor(50, 100, 0.0) == pytest.approx(0.5)


def test_steps_beyond_the_last_learn_nothing() -> None:
    assert learning_rate_factor(120, 100, 0.05) == pytest.approx(0)
