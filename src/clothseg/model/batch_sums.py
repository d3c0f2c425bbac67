"""Sums over a batch that several training processes share, so that their loss is that of the whole batch."""

from __future__ import annotations

import torch
import torch.distributed as distributed
from torch import Tensor


def num_sharing(*, is_training: bool) -> int:
    """Return how many processes share a batch: all in training, and 1 in validation.

    Validation is left alone, as its processes may have different numbers of batches, and one would wait forever.
    """
    is_together = is_training and distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if is_together else 1


def over_processes(sums: tuple[Tensor, ...], *, num_processes: int) -> tuple[Tensor, ...]:
    """Return each of `sums`, added up over the processes that share the batch; shapes and types stay.

    They travel in one float64 vector, in which counts are exact up to 2⁵³: many small messages cost more than one.
    Every process must call this with sums of the same shapes.
    """
    if num_processes == 1:
        return sums
    together = torch.cat([one.reshape(-1).double() for one in sums])
    distributed.all_reduce(together)
    parts = together.split_with_sizes([one.numel() for one in sums])
    return tuple(part.view_as(one).to(one.dtype) for part, one in zip(parts, sums, strict=True))
