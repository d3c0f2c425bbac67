"""Work by several processes is in order, in groups, and ends with its parent; one run writes a folder."""

import errno
import os
import subprocess
import sys
import time
from functools import partial

import pytest

from clothseg.data.processes import LOCK_NAME, lock_folder, work_in_groups
from clothseg.errors import ClothsegError, MachineError
from tests.conftest import HANG_SECONDS


def double(items):
    return [2 * item for item in items]


def die(items):
    os._exit(7)


def refuse(message, items):
    raise MachineError(message)


def assert_in_order(num_workers):
    shown = []
    groups = list(
        work_in_groups(double, range(200), num_workers=num_workers, progress=lambda *step: shown.append(step))
    )

    assert [len(group) for group in groups] == [32] * 6 + [8]
    assert [value for group in groups for value in group] == [2 * item for item in range(200)]
    assert shown == [(done, 200) for done in (32, 64, 96, 128, 160, 192, 200)]


def test_results_come_in_the_order_of_the_items():
    assert_in_order(0)
    assert_in_order(1)


@pytest.mark.processes
def test_results_of_processes_come_in_the_order_of_the_items():
    assert_in_order(2)


def work_with_two(work, items):
    return list(work_in_groups(work, items, num_workers=2, progress=lambda *step: None))


@pytest.mark.processes
def test_a_process_that_dies_is_an_error_that_says_what_to_do():
    with pytest.raises(MachineError, match="--workers"):
        work_with_two(die, range(5))


@pytest.mark.processes
def test_an_error_of_the_work_comes_through_as_it_is():
    with pytest.raises(ClothsegError, match="disk full") as caught:
        work_with_two(partial(refuse, "disk full"), range(5))

    assert caught.value.exit_code == 5


SCRIPT = """
import os, sys, time
from pathlib import Path
from clothseg.data.processes import work_in_groups

def work(items):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(3600)

if __name__ == "__main__":
    list(work_in_groups(work, range(200), num_workers=2, progress=print))
"""


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="no kill -9 on Windows")
def test_after_a_kill_of_the_parent_its_processes_end(tmp_path):
    script, names = tmp_path / "script.py", tmp_path / "names"
    script.write_text(SCRIPT)
    names.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(names)], stderr=subprocess.DEVNULL)
    _wait_until(lambda: len(list(names.iterdir())) == 2)
    children = [int(path.name) for path in names.iterdir()]
    assert all(_is_alive(child) for child in children)

    parent.kill()
    parent.wait()

    _wait_until(lambda: not any(_is_alive(child) for child in children))


def _wait_until(is_so):
    end = time.monotonic() + HANG_SECONDS
    while not is_so():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def _is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip().startswith("Z") and bool(state.strip())


def test_a_folder_is_locked_by_one_run_and_free_after_it(tmp_path):
    (tmp_path / LOCK_NAME).touch()  # as a run that was killed leaves it
    for _ in range(2):
        with (
            lock_folder(tmp_path),
            pytest.raises(MachineError, match=r"Another run is writing .*Wait until it is done"),
            lock_folder(tmp_path),
        ):
            pass
        assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="Windows locks in another way")
def test_a_folder_that_cannot_be_locked_is_used_without_a_lock(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with lock_folder(tmp_path / "not there"):
        pass
    monkeypatch.setattr("fcntl.flock", refuse)
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass
