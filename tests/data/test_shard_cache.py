import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from clothseg.data import shard_cache
from clothseg.data.shard_cache import ShardCache
from clothseg.errors import MachineError
from tests.conftest import HANG_SECONDS


def add(folder: ShardCache, name: str, size: int, *, wait: bool = True) -> bool:
    with folder.adding(name, size=size, wait=wait) as part:
        if part is None:
            return False
        part.write_bytes(bytes(size))
    return True


def names(folder: ShardCache) -> set[str]:
    return {path.stem for path in folder.folder.glob("*.shard")}


def test_the_least_recently_used_copies_are_deleted_first(tmp_path):
    for oldest in "abc":
        folder = ShardCache(tmp_path / oldest, limit=100)
        for name in "abc":
            assert add(folder, name, 30)
            os.utime(folder.path(name), (name != oldest, name != oldest))
        assert add(folder, "d", 40)
        assert names(folder) == set("abcd") - {oldest}
        assert sum(path.stat().st_size for path in folder.folder.iterdir()) == 100
    copy = folder.path("a")
    os.utime(copy, (0, 0))
    assert folder.has("a", size=30, touch=True)
    assert copy.stat().st_mtime > 1


def test_a_copy_is_added_once_and_again_only_if_it_is_incomplete(tmp_path):
    folder = ShardCache(tmp_path, limit=100)
    with pytest.raises(ZeroDivisionError), folder.adding("a", size=30, wait=True) as part:
        part.write_bytes(bytes(1 // 0))
    assert {path.name for path in tmp_path.iterdir()} <= {"a.lock", "folder.lock"}
    assert add(folder, "a", 30)
    assert not add(folder, "a", 30)
    os.truncate(folder.path("a"), 20)
    assert not folder.has("a", size=30)
    assert not folder.has("a", size=30, touch=True)
    assert add(folder, "a", 30)
    assert folder.has("a", size=30)


def test_a_shard_larger_than_the_cache_is_refused(tmp_path):
    with pytest.raises(MachineError, match=r"does not fit the cache.*Raise CACHE_SIZE, or pack smaller shards"):
        add(ShardCache(tmp_path, limit=100), "a", 101)


def test_space_reserved_by_others_is_waited_for_and_then_named(tmp_path, monkeypatch):
    folder = ShardCache(tmp_path, limit=100)
    monkeypatch.setattr(shard_cache, "WAIT_SECONDS", 0.3)
    with folder.adding("a", size=80, wait=True):
        with pytest.raises(MachineError, match="other downloads fill its"):
            add(folder, "b", 30)
        (tmp_path / "a.80.part").write_bytes(bytes(80))
    assert names(folder) == {"a"}
    assert add(folder, "b", 30)
    assert names(folder) == {"b"}


def test_two_that_want_the_same_copy_wait_for_one_another_or_do_not(tmp_path):
    folder = ShardCache(tmp_path, limit=100)
    results = []
    with folder.adding("a", size=30, wait=True) as part:
        assert not add(folder, "a", 30, wait=False)
        waiting = threading.Thread(target=lambda: results.append(add(folder, "a", 30)))
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        part.write_bytes(bytes(30))
    waiting.join(HANG_SECONDS)
    assert results == [False], "the other one has brought it"


def test_unlocked_parts_are_removed_and_locked_ones_are_not(tmp_path):
    folder = ShardCache(tmp_path, limit=100)
    with folder.adding("held", size=10, wait=True) as part:
        part.write_bytes(bytes(10))
        (tmp_path / "abandoned.90.part").write_bytes(bytes(50))
        assert add(folder, "b", 60)
        assert part.exists()
    assert not (tmp_path / "abandoned.90.part").exists()
    assert names(folder) == {"held", "b"}


@pytest.mark.processes
def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from clothseg.data.shard_cache import ShardCache\n"
        f"with ShardCache(Path({str(tmp_path)!r}), limit=100).adding('a', size=90, wait=True) as part:\n"
        "    part.write_bytes(bytes(50)); print('begun', flush=True); time.sleep(3600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "a.90.part").exists()
    folder = ShardCache(tmp_path, limit=100)
    assert add(folder, "b", 60)
    assert not (tmp_path / "a.90.part").exists()
    assert add(folder, "a", 90)


def _add_many(folder: ShardCache, chosen: Iterable[str]) -> None:
    for name in chosen:
        while not folder.has(name, size=30):
            add(folder, name, 30)


@pytest.mark.processes
def test_processes_never_fill_more_than_the_limit(tmp_path):
    folder = ShardCache(tmp_path, limit=100)
    context = multiprocessing.get_context("spawn")
    orders = ["abcdefghij" * 3, "jihgfedcba" * 3, "acegibdfhj" * 3]
    processes = [context.Process(target=_add_many, args=(folder, order)) for order in orders]
    for process in processes:
        process.start()
    largest = 0
    while any(process.is_alive() for process in processes):
        sizes = 0
        for path in Path(tmp_path).iterdir():
            try:
                sizes += path.stat().st_size
            except FileNotFoundError:
                continue
        largest = max(largest, sizes)
        time.sleep(0.002)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert 60 <= largest <= 130, "a copy that is renamed while we look may count twice"
    assert sum(path.stat().st_size for path in tmp_path.glob("*.shard")) <= 100
