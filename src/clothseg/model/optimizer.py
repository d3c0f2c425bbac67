"""How the learning rate moves: up along a line, then down along a cosine."""

import math


def learning_rate_factor(step: int, num_steps: int, warmup: float) -> float:
    """Return the share of the highest learning rate that step `step` of `num_steps` uses.

    It rises evenly over the first `warmup` of the steps, reaches 1, and falls along half a cosine towards 0. The factor
    depends on its arguments alone, so a resumed training goes on along the same curve.

    Args:
        step: steps done, from 0.
        num_steps: steps of the whole training.
        warmup: share of the steps in which the rate rises, from 0 to below 1.

    >>> [round(learning_rate_factor(step, 10, 0.2), 2) for step in range(11)]
    [0.5, 1.0, 1.0, 0.96, 0.85, 0.69, 0.5, 0.31, 0.15, 0.04, 0.0]
    """
    rising = math.ceil(warmup * num_steps)
    if step < rising:
        return (step + 1) / rising
    progress = min(1.0, (step - rising) / max(1, num_steps - rising))
    return 0.5 * (1 + math.cos(math.pi * progress))
