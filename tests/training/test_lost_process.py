"""What ends a process of a training when another one is gone; `test_processes.py` has real trainings lose one."""

import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from clothseg.errors import MachineError
from clothseg.training import lost_process
from clothseg.training.lost_process import LeaveTogether, is_lost_connection, lost_connection
from tests.conftest import HANG_SECONDS

pytestmark = pytest.mark.filterwarnings("ignore:Exception in thread leave-together")  # SystemExit, in place of an end

LAST = Path("my checkpoints/last.ckpt")
WAY_OUT = "Go on with as many processes and: --ckpt 'my checkpoints/last.ckpt'"


@pytest.fixture(autouse=True)
def exit_codes(monkeypatch):
    """What a watching thread would end this process with; it ends the thread alone."""
    codes = queue.Queue()

    def leave(code):
        codes.put(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(lost_process, "_PAUSE", 0.01)
    for name in ("TORCHELASTIC_RUN_ID", lost_process._STARTER):
        monkeypatch.delenv(name, raising=False)
    return codes


def trainer_of(*processes):
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=3, num_nodes=1)
    launcher.procs = list(processes)
    return SimpleNamespace(world_size=3, strategy=SimpleNamespace(launcher=launcher))


def wait_for_watchers():
    for thread in threading.enumerate():
        if thread.name == "leave-together":
            thread.join(HANG_SECONDS)


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")
@pytest.mark.parametrize(
    ("end", "code", "message"),
    [
        ("kill -9 $$", 5, "was ended by SIGKILL. If memory ran out, lower BATCH_SIZE or NUM_WORKERS."),
        ("exit 3", 3, "Another process of the training failed, and said why above."),
    ],
)
def test_a_process_that_is_lost_ends_the_others_and_this_one(exit_codes, capsys, end, code, message):
    with (
        subprocess.Popen(["/bin/sh", "-c", f"read line; {end}"], stdin=subprocess.PIPE) as lost,
        subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as other,
    ):
        together = LeaveTogether(LAST)
        together.on_train_start(trainer_of(lost, other), None)
        assert exit_codes.empty()
        lost.stdin.close()
        assert exit_codes.get(timeout=HANG_SECONDS) == code
        together.teardown(None, None, "fit")
        assert other.wait() == -signal.SIGKILL
        wait_for_watchers()
    said = capsys.readouterr().err
    assert message in said
    assert WAY_OUT in said


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")
def test_a_process_that_is_done_or_ends_with_the_training_ends_nothing(exit_codes):
    together = LeaveTogether(LAST)
    with subprocess.Popen(["/bin/sh", "-c", "exit 0"]) as done:
        together.on_train_start(trainer_of(done), None)
        wait_for_watchers()
    with subprocess.Popen(["/bin/sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE) as failing:
        together.on_train_start(trainer_of(failing), None)
        together.on_exception(None, None, RuntimeError("Connection reset by peer"))
        failing.stdin.close()
        wait_for_watchers()
    assert exit_codes.empty()


def test_a_process_whose_starter_is_gone_leaves(exit_codes, monkeypatch, capsys):
    monkeypatch.setenv(lost_process._STARTER, str(os.getppid()))
    together = LeaveTogether(LAST)
    together.on_train_start(trainer_of(), None)
    assert exit_codes.empty()
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert exit_codes.get(timeout=HANG_SECONDS) == 5
    together.teardown(None, None, "fit")
    wait_for_watchers()
    said = capsys.readouterr().err
    assert "The first process of the training was killed." in said
    assert WAY_OUT in said


def test_a_process_whose_torchrun_is_gone_asks_itself_to_stop(exit_codes, monkeypatch, capsys):
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "GROUP_RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    together = LeaveTogether(LAST)
    together.on_train_start(trainer_of(), None)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    assert stopped.wait(HANG_SECONDS)
    together.teardown(None, None, "fit")
    wait_for_watchers()
    assert "torchrun is gone; the training stops after this step" in capsys.readouterr().err
    assert exit_codes.empty()


def test_a_lost_connection_is_known_by_what_torch_says():
    gloo = RuntimeError("[gloo/transport/tcp/pair.cc:534]\n Connection closed by peer [127.0.0.1]:1")
    assert is_lost_connection(gloo)
    assert not is_lost_connection(ValueError("Connection closed by peer"))
    assert not is_lost_connection(RuntimeError("sizes differ"))
    error = lost_connection(gloo, LAST)
    assert isinstance(error, MachineError)
    assert "Connection closed by peer [127" in str(error)
    assert str(error).endswith(WAY_OUT)
