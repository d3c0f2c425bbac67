import os
from itertools import product
from pathlib import Path

from clothseg.data.workers import available_cores, num_loaders


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    first, second = tmp_path / "first" / "cpu", tmp_path / "second"  # the two versions of Linux control groups
    first.mkdir(parents=True)
    second.mkdir()
    for quota, most in ((200_000, 2), (150_000, 2), (50_000, 1), (1, 1), ("max", None), ("odd", None)):
        expected = bound if most is None else min(bound, most)
        (second / "cpu.max").write_text(f"{quota} 100000\n")
        (first / "cpu.cfs_quota_us").write_text(f"{-1 if quota == 'max' else quota}\n")
        (first / "cpu.cfs_period_us").write_text("100000\n")
        assert available_cores(first.parent) == available_cores(second) == expected, quota
    (second / "cpu.max").write_text("1 0\n")
    assert available_cores(second) == available_cores(tmp_path / "missing") == bound


def test_loaders_never_outnumber_the_cores() -> None:
    for cores, num_processes in product(range(1, 200), (1, 2, 8)):
        loaders = num_loaders(cores=cores, num_processes=num_processes)
        assert 0 <= loaders <= 16
        assert (loaders + 1) * num_processes <= max(cores, num_processes)


def test_a_number_asked_for_is_taken() -> None:
    assert num_loaders(5, cores=1) == 5
    assert num_loaders(0, cores=64) == 0
