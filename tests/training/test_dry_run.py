"""A dry run tells what a training would take, or what stands in its way, and writes no file."""

from dataclasses import replace

import pytest
import torch

import train as recipe
from clothseg import cli
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.settings import Settings
from clothseg.training.fit import fitting_batch_size
from tests.training.conftest import flags_of


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


def test_the_batch_that_fits_is_found_by_trying(bench):
    """A hook refuses larger batches with the errors of torch: a limit on a process's memory is not exact enough."""
    settings = replace(bench.settings, img_size=64, batch_size=32)
    model = bench.model(settings, ClothSegmentationData.from_settings(replace(settings, batch_size=2)))
    full = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to"
    for largest, error, expected in (
        (5, torch.OutOfMemoryError("CUDA out of memory"), 4),
        (16, RuntimeError(full), 16),
        (0, MemoryError(), 0),
        (5, RuntimeError("the network is broken"), None),
    ):

        def refuse(module, given, largest=largest, error=error):
            if len(given[0]) > largest:
                raise error

        hook = model.network.register_forward_pre_hook(refuse)
        assert fitting_batch_size(model, settings) == expected, error
        hook.remove()
    assert fitting_batch_size(model, replace(settings, devices=2)) is None
