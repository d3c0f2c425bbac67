import os
from itertools import product
from pathlib import Path

from clothseg.data.workers import available_cores, num_loaders


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    path = tmp_path / "cpu.max"
    for quota, most in ((200_000, 2), (150_000, 2), (50_000, 1), ("max", None)):
        path.write_text(f"{quota} 100000\n")
        assert available_cores(path) == (bound if most is None else min(bound, most))
    path.write_text("odd\n")
    assert available_cores(path) == bound
    assert available_cores(tmp_path / "missing") == bound


def test_loaders_never_outnumber_the_cores() -> None:
    for cores, num_processes in product(range(1, 200), (1, 2, 8)):
        loaders = num_loaders(cores=cores, num_processes=num_processes)
        assert 0 <= loaders <= 16
        assert (loaders + 1) * num_processes <= max(cores, num_processes)


def test_a_number_asked_for_is_taken() -> None:
    assert num_loaders(5, cores=1) == 5
    assert num_loaders(0, cores=64) == 0
