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
    scripts = "\n".join(re.findall(r"```bash\n(.*?)```", GUIDE, flags=re.DOTALL)).replace("\\\n", "")
    commands = re.findall(r"train\.py( .*)", scripts)
    assert len(commands) == 5
    for words in commands:
        assert set(re.findall(r"--([a-z-]+)", words)) <= known


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_slurm_script_resumes_in_its_folder_and_requeues_after_the_signal_only(tmp_path):
    (script,) = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", GUIDE, flags=re.DOTALL)
    # In place of SLURM's two programs: what they are asked to do is printed. test_launchers.py has tasks run, too.
    stand_ins = 'srun() { echo "$@"; return "$CODE"; }\nscontrol() { echo "scontrol $*"; }\n'
    for number in ("6", "7"):
        (tmp_path / "checkpoints" / f"job-{number}").mkdir(parents=True)
    (tmp_path / "checkpoints/job-7/last.ckpt").touch()

    def run(code: int, job: str, *words: str) -> tuple[int, list[str]]:
        numbers = {"CPUS_PER_TASK": "8", "NTASKS_PER_NODE": "4", "NNODES": "2"}
        environment = {"CODE": str(code), "SLURM_JOB_ID": job} | {f"SLURM_{k}": v for k, v in numbers.items()}
        done = subprocess.run(
            ["bash", "-u", "-c", stand_ins + script, "train.sbatch", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout.splitlines()

    first, again = run(138, "6"), run(0, "7")
    assert first[0] == 138
    assert " --devices 4 --num-nodes 2 " in first[1][0]
    assert first[1][0].endswith(" --num-workers 7 --checkpoints-path checkpoints/job-6")
    assert first[1][1:] == ["scontrol requeue 6"]
    assert again == (0, [first[1][0].replace("job-6", "job-7") + " --ckpt checkpoints/job-7/last.ckpt"])
    assert run(0, "8", "checkpoints/job-7") == again
    for code in (4, 5, 137, 143):
        assert len(run(code, "7")[1]) == 1


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
