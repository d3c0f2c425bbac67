"""A test run that is killed leaves no process behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import HANG_SECONDS, ROOT

pytestmark = pytest.mark.processes

ENDLESS = """
import subprocess, sys

def test_endless(tmp_path):
    child = "import os, pathlib, time; pathlib.Path({path!r}).write_text(str(os.getpid())); time.sleep({seconds})"
    subprocess.run([sys.executable, "-c", child], start_new_session=True)
"""


def wait_for(condition):
    end = time.monotonic() + HANG_SECONDS
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(("name", "workers"), [("SIGINT", 2), ("SIGTERM", 2), ("SIGKILL", 2), ("SIGTERM", 0)])
def test_processes_that_a_test_started_end_with_the_run(tmp_path, name, workers):
    started = tmp_path / "started"
    (tmp_path / "test_endless.py").write_text(ENDLESS.format(path=str(started), seconds=2 * HANG_SECONDS))
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest"]
    command += ["-n", str(workers), "-p", "no:cacheprovider", str(tmp_path / "test_endless.py")]
    run = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    children = psutil.Process(run.pid).children
    child = int(wait_for(lambda: started.exists() and started.read_text()))
    ours = [child, run.pid, *(one.pid for one in children(recursive=True))]
    os.kill(run.pid, getattr(signal, name))
    run.wait(HANG_SECONDS)
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in ours))


def test_a_run_that_ended_before_its_reaper_looked_leaves_no_process_behind():
    name, value = "CLOTHSEG_TEST_OF_REAPER", str(os.getpid())
    sleep = [sys.executable, "-c", f"import time; time.sleep({HANG_SECONDS})"]
    with subprocess.Popen(sleep, env=os.environ | {name: value}) as left:
        ended = 0  # no process has this number
        subprocess.run([sys.executable, str(ROOT / "tests" / "reaper.py"), str(ended), name, value], check=True)
        assert left.wait(HANG_SECONDS) == -signal.SIGKILL
