import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clothseg.model.tensor_files import has_checksum
from clothseg.training.checkpoints import Checkpoints
from clothseg.training.signals import StopOnSignal, _start_deaf
from tests.training.conftest import Watcher, flags_of, process_environment

HERE = Path(__file__).parent


@pytest.mark.processes
def test_sigterm_to_all_processes_of_a_job_saves_and_leaves_with_143(bench):
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
    assert f"SIGTERM stopped the training. Go on with: uv run train.py --ckpt {last}" in rest
    assert "Traceback" not in rest
    assert has_checksum(last.read_bytes())
    assert torch.load(last, weights_only=True)["clothseg_training"]["epoch"] >= 2
    assert not list(bench.settings.checkpoints_path.glob(".*"))


KILLED = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {here!r})
import torch
from conftest import Watcher
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.model.module import ClothSegmentationModel
from clothseg.training.fit import fit
from clothseg.settings import Settings
from clothseg.training.averaging import AveragedWeights
from clothseg.training.checkpoints import Checkpoints

torch.set_num_threads(1)
settings = Settings(**{values!r})
data = ClothSegmentationData.from_settings(settings)
callbacks = [
    Watcher("train", 1, 2, lambda: os.kill(os.getpid(), signal.SIGKILL)),
    AveragedWeights(settings.averaging),
    Checkpoints(settings.checkpoints_path, every=timedelta(0)),
]
fit(ClothSegmentationModel.from_settings(settings, data), data, settings=settings, callbacks=callbacks)
"""


@pytest.mark.processes
def test_kill_9_and_resume_ends_as_an_undisturbed_training(finished):
    bench = finished.bench
    settings = bench.named("killed", epochs=3)
    code = KILLED.format(here=str(HERE), values=settings.to_dict())
    ended = subprocess.run([sys.executable, "-c", code], check=False, env=process_environment())
    assert ended.returncode == -signal.SIGKILL
    watcher = Watcher()
    resumed, model = bench.train(settings, resume=settings.checkpoints_path / "last.ckpt", watcher=watcher)
    assert watcher.samples == finished.watcher.samples[12 + 2 * 4 :]
    assert all(torch.equal(tensor, finished.weights[name]) for name, tensor in model.state_dict().items())
    assert resumed.scores == finished.result.scores


def test_a_second_ctrl_c_leaves_at_once(bench):
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
        _start_deaf(start, 3)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_IGN
    assert started == [3]
