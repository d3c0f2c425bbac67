"""A dry run tells what a training would take, or what stands in its way, and writes no file."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import train as recipe
from clothseg import cli
from clothseg.settings import Settings
from tests.training.conftest import flags_of, process_environment


def dry_run(settings, *words, run=recipe.train):
    with pytest.raises(SystemExit) as left:
        cli.start("train", Settings(), run=run, arguments=[*flags_of(settings), "--dry-run", *words])
    return left.value.code


def test_steps_time_memory_and_disk_are_told_and_nothing_is_written(bench, capsys):
    for run in (recipe.train, None):
        assert dry_run(replace(bench.settings, epochs=5, batch_size=3), run=run) == 0
        out = capsys.readouterr().out
        assert "Data: 12 photos, 4 to validate, 4 classes: drawn" in out
        assert "Network: pspnet with tu-test_byobnet, which starts from random numbers" in out
        assert "Training: 5 epochs of 4 steps, 20 in all" in out
        for line in ("Memory: a step of 2 photos at 32 pixels fits", "Disk: 0.0 GB", "Time: "):
            assert line in out
    assert not [path for path in (bench.root / "checkpoints", bench.root / "logs") if any(path.rglob("*"))]


def test_what_stands_in_the_way_has_the_exit_code_of_the_training(bench, capsys, monkeypatch):
    photos = bench.root / "data" / "fashionist" / "train"
    other = bench.root / "other.ckpt"
    other.write_bytes(b"no checkpoint")

    def break_photos():
        for photo in photos.iterdir():
            photo.write_bytes(photo.read_bytes()[:300])

    def fill_disk():
        monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))

    for do, words, code, message in (
        (None, ("--encoder-weights", "nowhere.pth"), 4, "nowhere.pth"),
        (None, ("--ckpt", str(other)), 4, "other.ckpt"),
        (None, ("--accelerator", "tpu"), 2, "ACCELERATOR"),
        (break_photos, (), 3, "Training needs every photo"),
        (fill_disk, (), 5, "No space for the checkpoints"),
    ):
        if do is not None:
            do()
        assert dry_run(bench.settings, *words) == code, message
        assert message in capsys.readouterr().err


LIMITED = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import torch
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.training.fit import fitting_batch_size
from tests.training.conftest import Bench

torch.set_num_threads(1)
bench = Bench(Path(sys.argv[1]))
settings = replace(bench.settings, img_size=256)
model = bench.model(settings, ClothSegmentationData.from_settings(replace(settings, batch_size=2)))
fitting_batch_size(model, replace(settings, batch_size=2))  # loads what a first step loads
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
for megabytes in (600, 1200):
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, resource.RLIM_INFINITY))
    print(fitting_batch_size(model, replace(settings, batch_size=1024)))
print(fitting_batch_size(model, replace(settings, devices=2)))
"""


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is limited as on Linux")
def test_the_batch_that_fits_is_found_by_trying(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        env=process_environment(),
    )
    assert done.returncode == 0, done.stderr
    less, more, several = done.stdout.split()
    assert 0 < int(less) < int(more) < 512
    assert several == "None"
