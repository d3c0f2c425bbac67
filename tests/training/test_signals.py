import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from clothseg.model.tensor_files import has_checksum
from clothseg.training import signals
from clothseg.training.checkpoints import Checkpoints
from clothseg.training.signals import EndTogether, StopOnSignal, _ignore_signals
from tests.conftest import HANG_SECONDS
from tests.training.conftest import flags_of, process_environment


@pytest.mark.processes
def test_sigterm_to_all_processes_of_a_job_saves_and_exits_with_143(bench):
    words = flags_of(bench.settings, num_workers=1, epochs=1000)
    with subprocess.Popen(
        [sys.executable, "-m", "clothseg.cli", "train", *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell or a batch system makes
        env=process_environment(),
    ) as process:
        for line in process.stderr:
            if line.startswith("epoch 1"):
                break
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.stderr.read()
    assert process.returncode == 143, rest
    last = bench.settings.checkpoints_path / "last.ckpt"
    assert f"SIGTERM stopped the training. Resume with: uv run train.py --ckpt {last}" in rest
    assert "Traceback" not in rest
    assert has_checksum(last.read_bytes())
    assert torch.load(last, weights_only=True)["clothseg_training"]["epoch"] >= 2
    assert not list(bench.settings.checkpoints_path.glob(".*"))


def test_a_second_ctrl_c_exits_at_once(bench):
    def interrupt_twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    watcher = bench.watcher("train", 0, 1, interrupt_twice)
    with pytest.raises(KeyboardInterrupt):
        bench.train(bench.settings, watcher=watcher)
    assert signal.getsignal(signal.SIGINT) is before
    assert not list(bench.settings.checkpoints_path.iterdir())


def test_the_first_signal_counts_and_the_signals_are_given_back(tmp_path):
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    with StopOnSignal(Checkpoints(tmp_path)) as stop:
        try:
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
                os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            pytest.fail("only a second Ctrl-C leaves at once")
        assert stop.received == signal.SIGTERM
    assert {number: signal.getsignal(number) for number in before} == before


def test_a_loader_process_ignores_the_signals():
    """They often go to all processes of a job, and the step at hand still needs its photos."""
    started = []
    for start in (None, started.append):
        _ignore_signals(start, 3)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_IGN
    assert started == [3]


@pytest.fixture
def exit_codes(monkeypatch):
    """The codes with which a watching thread would end this process; it ends the thread alone."""
    codes = queue.Queue()

    def end(code):
        codes.put(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(signals, "_POLL_SECONDS", 0.01)
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    return codes


def trainer_of(*processes, local_rank=0):
    launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=3, num_nodes=1)
    launcher.procs = list(processes)
    return SimpleNamespace(local_rank=local_rank, strategy=SimpleNamespace(launcher=launcher))


def wait_for_threads():
    for thread in threading.enumerate():
        if thread.name == "end-together":
            thread.join(HANG_SECONDS)


@pytest.mark.filterwarnings("ignore:Exception in thread end-together")  # SystemExit, in place of an end
def test_a_lost_process_ends_the_others_and_this_one(exit_codes, capsys):
    last = Path("my checkpoints/last.ckpt")
    for end, code, message in (
        ("kill -9 $$", 5, "was ended by SIGKILL. If memory ran out, lower BATCH_SIZE or NUM_WORKERS."),
        ("exit 3", 3, "Another process of the training failed, and said why above."),
    ):
        with (
            subprocess.Popen(["/bin/sh", "-c", f"read line; {end}"], stdin=subprocess.PIPE) as lost,
            subprocess.Popen(["/bin/sh", "-c", "read line"], stdin=subprocess.PIPE) as other,
        ):
            EndTogether(last).on_train_start(trainer_of(lost, other), None)
            assert exit_codes.empty()
            lost.stdin.close()
            assert exit_codes.get(timeout=HANG_SECONDS) == code
            assert other.wait() == -signal.SIGKILL
            wait_for_threads()
        said = capsys.readouterr().err
        assert message in said
        assert "Resume with as many processes and: --ckpt 'my checkpoints/last.ckpt'" in said


def test_a_process_that_is_done_or_fails_with_this_one_ends_nothing(exit_codes):
    together = EndTogether(Path("last.ckpt"))
    with (
        subprocess.Popen(["/bin/sh", "-c", "exit 0"]) as done,
        subprocess.Popen(["/bin/sh", "-c", "read line; exit 3"], stdin=subprocess.PIPE) as failing,
    ):
        together.on_train_start(trainer_of(done, failing), None)
        together.on_exception(None, None, RuntimeError("Connection reset by peer"))
        failing.stdin.close()
        wait_for_threads()
    assert exit_codes.empty()


@pytest.mark.filterwarnings("ignore:Exception in thread end-together")
def test_a_process_whose_parent_is_gone_ends_or_is_asked_to_stop(exit_codes, monkeypatch, capsys):
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.set())
    EndTogether(Path("last.ckpt")).on_train_start(trainer_of(local_rank=1), None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getppid", lambda: -1)
        assert exit_codes.get(timeout=HANG_SECONDS) == 5
        wait_for_threads()
    assert "The first process of the training was killed." in capsys.readouterr().err
    for name in ("TORCHELASTIC_RUN_ID", "RANK", "GROUP_RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    EndTogether(Path("last.ckpt")).on_train_start(trainer_of(), None)
    monkeypatch.setattr(os, "getppid", lambda: -1)
    assert stopped.wait(HANG_SECONDS)
    wait_for_threads()
    assert "torchrun is gone; the training stops after this step" in capsys.readouterr().err
    assert exit_codes.empty()
