"""Cores are counted as a container and the user allow them, and threads and loader processes follow."""

import os
from itertools import product
from pathlib import Path

import pytest

from clothseg.cores import available_cores, num_loaders, num_threads


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


def test_a_requested_number_is_used() -> None:
    assert num_loaders(5, cores=1) == 5
    assert num_loaders(0, cores=64) == 0


def test_omp_num_threads_sets_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None), (None, None)):
        if value is None:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        else:
            monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert num_threads() == expected, value


def test_threads_are_limited_by_the_same_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clothseg.cores.num_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for available, expected in ((3, 3), (8, None)):
        monkeypatch.setattr("clothseg.cores.available_cores", lambda available=available: available)
        assert num_threads() == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert num_threads() == 5
