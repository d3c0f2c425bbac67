import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from clothseg.errors import MissingModelError, ModelError, SettingError
from clothseg.settings import Settings
from clothseg.training.interruption import TrainingStopped
from clothseg.training.resume import ResumePoint, step_seed
from clothseg.training.train_command import Train


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("hook", "epoch", "batch", "workers"),
    [
        ("train", 0, 1, 0),  # within the first epoch
        ("train", 1, 0, 1),  # within a later one, with a loader process
        ("train", 1, 2, 0),  # in the last batch of an epoch: its validation is still to come
        ("val", 1, 0, 0),  # within a validation
        ("val", 2, 0, 0),  # within the last validation
    ],
)
def test_an_interrupted_training_ends_as_an_undisturbed_one(finished, watch, hook, epoch, batch, workers):
    bench, whole, result, weights, seen = finished
    settings = bench.named(f"{hook}-{epoch}-{batch}", epochs=3, num_workers=workers)
    last = settings.checkpoints_path / "last.ckpt"
    first, second = watch(hook, epoch, batch, terminate), watch()
    with pytest.raises(TrainingStopped) as stopped:
        bench.train(settings, watcher=first)
    assert stopped.value.code == 128 + signal.SIGTERM
    resumed, model = bench.train(settings, resume=last, watcher=second)

    assert first.samples + second.samples == seen.samples
    assert first.learning_rates + second.learning_rates == seen.learning_rates
    assert same(model.state_dict(), weights)
    assert same(weights_of(last), weights_of(whole.checkpoints_path / "last.ckpt"))
    assert resumed.scores == result.scores
    assert resumed.epochs == 3
    names = [sorted(path.name for path in one.checkpoints_path.iterdir()) for one in (settings, whole)]
    assert names[0] == names[1]


def test_every_sample_is_seen_once_in_each_epoch(finished):
    seen = finished[4].samples
    assert len(seen) == len(set(seen)) == 3 * 12


def test_a_checkpoint_between_epochs_resumes_to_the_same_weights(finished, watch):
    """The second epoch's checkpoint among the best is a new run's start, and goes the same way."""
    bench, whole, _, weights, seen = finished
    path = next(whole.checkpoints_path.glob("clothseg-001-*.ckpt"))
    watcher = watch()
    _, model = bench.train(bench.named("between", epochs=3), resume=path, watcher=watcher)
    assert watcher.samples == seen.samples[24:]
    assert same(model.state_dict(), weights)


def test_more_epochs_continue_along_the_longer_curve(finished, watch):
    bench, whole, _, _, seen = finished
    settings = copied(bench, whole, "longer", epochs=5)
    watcher = watch()
    result, _ = bench.train(settings, resume=settings.checkpoints_path / "last.ckpt", watcher=watcher)
    assert result.epochs == 5
    assert [epoch for epoch, _ in watcher.samples[::12]] == [3, 4]
    reference = watch()
    bench.train(bench.named("planned", epochs=5), watcher=reference)
    assert watcher.learning_rates[1:] == reference.learning_rates[10:]
    assert seen.learning_rates[-1] < watcher.learning_rates[1]


def test_a_finished_training_says_that_nothing_is_left(finished, capsys):
    bench, whole, result, _, _ = finished
    settings = copied(bench, whole, "again")
    again, _ = bench.train(settings, resume=settings.checkpoints_path / "last.ckpt")
    assert "has done all 3 epochs. Pass more --epochs" in capsys.readouterr().err
    assert again.epochs == 3
    assert again.scores == result.scores
    assert again.best_path.name == result.best_path.name


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"batch_size": 2}, SettingError, "BATCH_SIZE 4, now it is 2.* --batch-size 4"),
        ({"img_size": 96}, SettingError, "IMG_SIZE 64, now it is 96"),
        ({"learning_rate": 0.1}, SettingError, "LEARNING_RATE 0.002, now it is 0.1"),
        ({"seed": 7}, SettingError, "SEED 42, now it is 7"),
        ({"epochs": 2}, SettingError, "3 epochs already, EPOCHS is 2"),
        ({"encoder_name": "tu-test_resnet"}, ModelError, "ENCODER_NAME tu-test_byobnet, now it is tu-test_resnet"),
        ({"architecture": "linknet"}, ModelError, "ARCHITECTURE deeplabv3plus, now it is linknet"),
        ({"decoder_width": 0.5}, ModelError, "DECODER_WIDTH 1.0, now it is 0.5"),
    ],
)
def test_another_setting_is_refused_by_name(finished, values, error, message):
    bench, whole, *_ = finished
    last = whole.checkpoints_path / "last.ckpt"
    with pytest.raises(error, match=message):
        bench.train(replace(bench.named("other", epochs=3), **values), resume=last)
    assert not (bench.root / "other").exists()


def resume_point(settings):
    return ResumePoint(
        path=Path("last.ckpt"),
        epoch=0,
        batches_done=1,
        global_step=1,
        num_ranks=1,
        num_photos=12,
        log_folder="version_0",
        settings=settings,
    )


def test_a_checkpoint_from_before_a_setting_says_so():
    settings = Settings().to_dict()
    del settings["encoder_rate"]
    with pytest.raises(SettingError, match=r"earlier clothseg, which had no ENCODER_RATE.* Start a new training"):
        resume_point(settings).check(Settings(), num_ranks=1, num_photos=12)


@pytest.mark.parametrize(("before", "words"), [((448, 320), "448 320"), (320, "320"), (None, "None")])
def test_the_way_out_is_one_that_the_command_line_takes(before, words):
    point = resume_point(Settings(crop_size=before).to_dict())
    with pytest.raises(SettingError) as refused:
        point.check(Settings(crop_size=64), num_ranks=1, num_photos=12)
    assert f" Pass --crop-size {words}, or start" in str(refused.value)
    given = tyro.cli(Train, args=["--crop-size", *words.split()], default=Train())
    assert given.settings.crop_size == before


def test_other_data_is_refused(finished, write_data, tmp_path):
    bench, whole, *_ = finished
    write_data(tmp_path, train=8)
    with pytest.raises(SettingError, match="12 photos, now it is 8"):
        bench.train(replace(whole, data_path=tmp_path), resume=whole.checkpoints_path / "last.ckpt")


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        path.write_bytes(content[:50_000] + bytes([content[50_000] ^ 1]) + content[50_001:])
    elif how == "text":
        path.write_text("hello")
    elif how == "weights only":
        checkpoint = torch.load(path, weights_only=True)
        torch.save({"state_dict": checkpoint["state_dict"], "clothseg": checkpoint["clothseg"]}, path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", "empty"),
        ("truncated", "cut off"),
        ("flipped", "does not match its SHA-256"),
        ("text", "not a PyTorch file"),
        ("weights only", "not the state of a training"),
    ],
)
def test_a_broken_checkpoint_is_refused_and_left_alone(finished, tmp_path, how, message):
    bench, whole, *_ = finished
    settings = replace(bench.named("broken", epochs=4), checkpoints_path=tmp_path)
    shutil.copy(whole.checkpoints_path / "last.ckpt", tmp_path / "last.ckpt")
    spoil(tmp_path / "last.ckpt", how)
    before = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(ModelError, match=message):
        bench.train(settings, resume=tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_a_missing_checkpoint_is_named(bench):
    with pytest.raises(MissingModelError, match=r"nowhere\.ckpt"):
        bench.train(bench.settings, resume=Path("nowhere.ckpt"))


def test_step_seeds_differ():
    seeds = {step_seed(*place) for place in [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)]}
    assert len(seeds) == 5
    assert step_seed(3, 1, 4, 1) == step_seed(3, 1, 4, 1)


def copied(bench, whole, name, **values):
    """Return settings of a training that continues a copy of the finished one."""
    settings = bench.named(name, epochs=3)
    shutil.copytree(whole.checkpoints_path.parent, bench.root / name)
    return replace(settings, **values)
