"""The commands of docs/how-to/train-on-many-gpus.md, as far as a machine without GPUs can tell."""

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from clothseg.errors import SettingError
from clothseg.settings import STRATEGIES, Settings
from clothseg.training.resume import ResumePoint

GUIDE = (Path(__file__).parents[2] / "docs/how-to/train-on-many-gpus.md").read_text(encoding="utf-8")


def test_every_flag_is_one_of_train_py():
    known = {field.name.replace("_", "-") for field in fields(Settings)} | {"ckpt"}
    commands = re.findall(r"train\.py( .*)", "\n".join(re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)))
    assert len(commands) == 5
    for words in commands:
        assert set(re.findall(r"--([a-z-]+)", words)) <= known


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_goes_on_after_a_requeue_only_and_requeues_after_the_signal_only(tmp_path):
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", GUIDE, flags=re.DOTALL)
    # In place of SLURM's two programs: what they are asked to do is printed.
    stand_ins = 'srun() { echo "$@"; return "$CODE"; }\nscontrol() { echo "scontrol $*"; }\n'
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").touch()

    def run(code: int, restarts: int) -> tuple[int, list[str]]:
        environment = {"CODE": str(code), "SLURM_RESTART_COUNT": str(restarts), "SLURM_JOB_ID": "7"}
        done = subprocess.run(
            ["bash", "-c", stand_ins + script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout.splitlines()

    first, again = run(138, 0), run(0, 1)
    assert first[0] == 138
    assert "--ckpt" not in first[1][0]
    assert first[1][1:] == ["scontrol requeue 7"]
    assert again[0] == 0
    assert again[1][0] == f"{first[1][0]} --ckpt checkpoints/last.ckpt"
    assert again[1][1:] == []
    assert run(5, 1)[1][1:] == []


def test_another_number_of_processes_is_refused_in_the_words_of_the_guide():
    settings = Settings()
    point = ResumePoint(
        path=Path("checkpoints/last.ckpt"),
        global_step=9,
        settings=settings.to_dict(),
        epoch=1,
        batches_done=0,
        log_folder="version_0",
        num_ranks=4,
        num_photos=7,
    )
    with pytest.raises(SettingError) as refused:
        point.check(settings, num_ranks=2, num_photos=7)
    assert f"clothseg: {refused.value}\n" in GUIDE


def test_the_strategies_are_named():
    assert all(f"`{name}`" in GUIDE for name in STRATEGIES)
