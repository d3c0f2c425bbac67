"""Training on two machines, started by torchrun and by the guide's SLURM script: the same weights, however often ended.

SLURM is not installed here. Substitutes for its two commands do its work: `srun` starts the tasks on this
machine with SLURM's environment variables, and `scontrol` notes what it is asked for. The script, Lightning's SLURM
environment and the training are the real ones.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clothseg.errors import SettingError
from tests.conftest import HANG_SECONDS
from tests.training.conftest import process_environment

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/how-to/train-on-many-gpus.md").read_text(encoding="utf-8")
RECIPE = ("config.py", "loader.py", "model.py", "callbacks.py", "train.py")

SETTINGS = """
DATA_PATH, IMG_SIZE, EPOCHS = {data!r}, 64, 3
ARCHITECTURE, ENCODER_NAME, ENCODER_WEIGHTS = "unet", "tu-test_byobnet", None
ACCELERATOR, PRECISION = "cpu", "32-true"
"""

# The second process of the first start gets SIGUSR1, and that of the second start is killed.
WATCHER = """

import json, os, signal
from lightning.pytorch import Callback

_ENDS = {"0": ("SIGUSR1", 1, 0), "1": ("SIGKILL", 2, 1)}
_build_callbacks = build_callbacks


class Watcher(Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        place = [trainer.current_epoch, batch_idx, trainer.global_rank]
        with open(os.environ["JOURNAL"], "a") as journal:
            journal.write(json.dumps([place, batch["name"]]) + "\\n")
        name, *where = _ENDS.get(os.environ.get("SLURM_RESTART_COUNT"), ("", -1, -1))
        if place == [*where, 1]:
            os.kill(os.getpid(), getattr(signal, name))


def build_callbacks(settings):
    return [Watcher(), *_build_callbacks(settings)]
"""

SRUN = """#!{python}
import os, signal, subprocess, sys

words = sys.argv[1:]
options = [words.pop(0) for word in list(words) if word.startswith("--") and words[0] == word]
assert options == ["--cpus-per-task=1", "--kill-on-bad-exit=1"], options
per_node = int(os.environ["SLURM_NTASKS_PER_NODE"])
tasks = {{}}
for number in range(int(os.environ["SLURM_NTASKS"])):
    place = {{"SLURM_PROCID": number, "SLURM_LOCALID": number % per_node, "SLURM_NODEID": number // per_node}}
    environment = os.environ | {{name: str(value) for name, value in place.items()}}
    task = subprocess.Popen(words, env=environment)
    tasks[task.pid] = task
codes = []
while tasks:
    process_id, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    codes.append(code if code >= 0 else 128 - code)
    del tasks[process_id]
    if code:
        for other in tasks:
            os.kill(other, signal.SIGKILL)
sys.exit(max(codes))
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def free_port(first: int, last: int) -> int:
    for port in range(first + os.getpid() % 1000, last):
        with socket.socket() as attempt:
            try:
                attempt.bind(("", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


@pytest.fixture
def project(bench):
    """A clone with settings of its own, small ones, and a callback that ends the training."""
    folder = bench.root / "clone"
    folder.mkdir()
    for name in RECIPE:
        shutil.copy(ROOT / name, folder)
    with (folder / "config.py").open("a") as config, (folder / "callbacks.py").open("a") as callbacks:
        config.write(SETTINGS.format(data=str(bench.root / "data")))
        callbacks.write(WATCHER)
    write_program(folder / ".venv/bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    return folder


def environment(folder: Path, journal: str, **more: str) -> dict[str, str]:
    return process_environment(JOURNAL=str(folder / journal), **more)


def train_with_torchrun(folder: Path, checkpoints: str) -> None:
    """Run the guide's line for two machines, as two machines would, with one process on each."""
    (line,) = re.findall(r"uv run torchrun (--nnodes 2 .*)", GUIDE)
    line = line.replace("--nproc-per-node 4", "--nproc-per-node 1").replace("--devices 4", "--devices 1")
    line = line.replace("first:29500", f"127.0.0.1:{free_port(25000, 32000)}")
    words = [*line.split(), "--num-workers", "0", "--checkpoints-path", checkpoints]
    command = [sys.executable, "-m", "torch.distributed.run", *words]
    options = {"cwd": folder, "env": environment(folder, checkpoints + ".jsonl"), "text": True}
    machines = [
        subprocess.Popen(command, **options, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)
    ]
    messages = [machine.communicate(timeout=HANG_SECONDS)[1] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "".join(messages)
    assert "".join(messages).count("epoch 2  ") == 1, "the first process alone speaks"


def start_job(folder: Path, number: str, restarts: int) -> subprocess.CompletedProcess[str]:
    """Run the guide's script as SLURM does: on two machines, with one task on each."""
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", GUIDE, flags=re.DOTALL)
    write_program(folder / "train.sbatch", script)
    write_program(folder / "bin/srun", SRUN.format(python=sys.executable))
    write_program(folder / "bin/scontrol", f'#!/bin/sh\necho "$@" >> {folder}/asked\n')
    slurm = {"NTASKS": "2", "NTASKS_PER_NODE": "1", "NNODES": "2", "NODELIST": "localhost", "CPUS_PER_TASK": "1"}
    slurm |= {"JOB_ID": number, "JOB_NAME": "train.sbatch", "RESTART_COUNT": str(restarts)}
    more = {f"SLURM_{name}": value for name, value in slurm.items()}
    path = f"{folder}/bin:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "train.sbatch"],
        cwd=folder,
        env=environment(folder, "job.jsonl", PATH=path, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )


@pytest.mark.processes
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_slurm_job_stopped_killed_and_requeued_learns_what_torchrun_does(project):
    train_with_torchrun(project, "undisturbed")

    number = str(70000 + free_port(15000, 24999) - 15000)  # Lightning makes the port of the last four digits
    stopped = start_job(project, number, 0)
    assert stopped.returncode == 128 + signal.SIGUSR1, stopped.stderr
    assert (project / "asked").read_text() == f"requeue {number}\n"
    last = project / f"checkpoints/job-{number}/last.ckpt"
    assert f"SIGUSR1 stopped the training. Resume with: uv run train.py --ckpt {last.relative_to(project)}" in (
        stopped.stderr
    )
    killed = start_job(project, number, 1)
    assert killed.returncode == 128 + signal.SIGKILL, killed.stderr
    done = start_job(project, number, 2)
    assert done.returncode == 0, done.stderr
    assert (project / "asked").read_text() == f"requeue {number}\n", "only the signal puts a job back"
    assert "2 x cpu" in done.stderr

    for journal in ("undisturbed.jsonl", "job.jsonl"):
        check_samples(project / journal)
    first, second = (torch.load(path, weights_only=True) for path in (project / "undisturbed/last.ckpt", last))
    assert first["global_step"] == second["global_step"] == 6
    for kind in ("state_dict", "current_model_state"):
        assert all(torch.equal(second[kind][name], tensor) for name, tensor in first[kind].items())
    best = [json.loads((one / "best.json").read_text()) for one in (project / "undisturbed", last.parent)]
    assert best[0] == best[1]


def check_samples(journal: Path) -> None:
    """A step done again after a kill takes the samples it had; all steps together take each once per epoch."""
    steps: dict[tuple[int, ...], list[str]] = {}
    for place, names in map(json.loads, journal.read_text().splitlines()):
        assert steps.setdefault(tuple(place), names) == names
    for epoch in range(3):
        names = sorted(name for place, batch in steps.items() if place[0] == epoch for name in batch)
        assert names == [f"{number:03d}" for number in range(12)]


SLURM = {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}


def test_other_processes_than_the_settings_ask_for_are_refused(bench, monkeypatch):
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    watcher, wrong = bench.watcher(), []
    for variables, devices, message in [
        (SLURM | {"SLURM_NTASKS_PER_NODE": "2"}, 1, "SLURM started 2 processes, but 1 on each of 1 machines are asked"),
        (SLURM | {"SLURM_NTASKS_PER_NODE": "1"}, 2, "ntasks-per-node=1.* Give DEVICES the number of --ntasks-per-node"),
        (SLURM, 2, "--ntasks=2"),
        (TORCHRUN, 1, "torchrun started 2 processes, but 1 on each .* Give DEVICES the number of --nproc-per-node"),
    ]:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            with pytest.raises(SettingError) as refused:
                bench.train(bench.named("started", devices=devices), watcher=watcher)
        if not re.search(message, str(refused.value)):
            wrong.append((variables, refused.value))
    assert not wrong, wrong
    assert watcher.samples == []
