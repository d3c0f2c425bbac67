import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import tyro

from clothseg.errors import MissingModelError, ModelError, SettingError
from clothseg.model.tensor_files import has_checksum
from clothseg.settings import Settings
from clothseg.training.resume import ResumePoint, step_seed
from clothseg.training.signals import TrainingStopped
from clothseg.training.train_command import Train
from tests.training.conftest import Finished, Watcher
from tests.training.test_tensorboard import read_log

STOPS = [
    ("train", 0, 1, "SIGTERM", 0),  # within the first epoch
    ("train", 1, 0, "SIGINT", 1),  # within a later one, with a loader process
    ("train", 1, 2, "SIGUSR1", 0),  # in the last batch of an epoch: its validation is still to come
    ("val", 1, 0, "SIGTERM", 0),  # within a validation
    ("val", 2, 0, "SIGUSR1", 0),  # within the last validation
]
"""Hook, epoch and batch at which a signal arrives, and the number of loader processes."""


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def is_like(settings: Settings, finished: Finished) -> bool:
    """Tell whether a training left the same average, weights, files and best scores as the finished one."""
    folders = [one.checkpoints_path for one in (settings, finished.settings)]
    last = torch.load(folders[0] / "last.ckpt", weights_only=True)
    return (
        all(same(last[kind], finished.last[kind]) for kind in ("state_dict", "current_model_state"))
        and len({tuple(sorted(path.name for path in folder.iterdir())) for folder in folders}) == 1
        and len({(folder / "best.json").read_text() for folder in folders}) == 1
    )


def steps_of(settings: Settings) -> dict[str, list[int]]:
    """Return the steps of each curve, in the order of their writing, from the one log of a training.

    TensorBoard reads the files of one second and process in the order of their names, in which 10 comes before 9.
    """
    (folder,) = settings.logs_path.iterdir()
    log = read_log(folder)
    return {
        name: [event.step for event in sorted(log.Scalars(name), key=lambda event: event.wall_time)]
        for name in ("val_loss", "train_loss_step")
    }


def test_a_training_interrupted_anywhere_ends_as_an_undisturbed_one(finished, capsys):
    bench = finished.bench
    settings = bench.named("stopped", epochs=3)
    last = settings.checkpoints_path / "last.ckpt"
    watchers = []
    for hook, epoch, batch, name, workers in STOPS:
        number = getattr(signal, name)
        watchers.append(Watcher(hook, epoch, batch, lambda number=number: os.kill(os.getpid(), number)))
        resume = last if last.exists() else None
        with pytest.raises(TrainingStopped) as stopped:
            bench.train(replace(settings, num_workers=workers), watcher=watchers[-1], resume=resume)
        assert stopped.value.code == 128 + number
        assert stopped.value.last_path == last
        assert f"{name} stopped the training. Resume with: uv run train.py --ckpt {last}" in capsys.readouterr().err
        assert has_checksum(last.read_bytes())
    watchers.append(Watcher())
    resumed, model = bench.train(settings, watcher=watchers[-1], resume=last)

    assert [sample for one in watchers for sample in one.samples] == finished.watcher.samples
    assert [rate for one in watchers for rate in one.learning_rates] == finished.watcher.learning_rates
    assert same(model.state_dict(), finished.weights)
    assert is_like(settings, finished)
    assert resumed.scores == finished.result.scores
    assert resumed.epochs == 3
    steps = steps_of(settings)
    assert steps["val_loss"] == [2, 5, 8]
    assert steps["train_loss_step"] == [0, 2, 4, 5, 6, 7, 8], "Lightning does not log a step that ends in a signal"


def test_every_sample_is_seen_once_in_each_epoch(finished):
    seen = finished.watcher.samples
    assert len(seen) == len(set(seen)) == 3 * 12


def test_a_checkpoint_between_epochs_resumes_to_the_same_weights(finished):
    """The second epoch's checkpoint among the best starts a new training, which ends with the same weights."""
    bench = finished.bench
    path = next(finished.settings.checkpoints_path.glob("clothseg-001-*.ckpt"))
    watcher = Watcher()
    settings = bench.named("between", epochs=3)
    _, model = bench.train(settings, resume=path, watcher=watcher)
    assert watcher.samples == finished.watcher.samples[24:]
    assert same(model.state_dict(), finished.weights)
    assert sorted(path.name for path in settings.checkpoints_path.glob("clothseg-*")) == [
        finished.result.best_path.name
    ], "what other trainings left as their best is not this one's"


def test_more_epochs_continue_along_the_longer_curve(finished, longer):
    """From the end of the second epoch, as if the third had been lost: its steps are in the log already."""
    settings = copied(finished, "more", epochs=5)
    folder = settings.checkpoints_path
    shutil.copy(next(folder.glob("clothseg-001-*.ckpt")), folder / "last.ckpt")
    watcher = Watcher()
    result, _ = finished.bench.train(settings, resume=folder / "last.ckpt", watcher=watcher)
    assert result.epochs == 5
    assert [epoch for epoch, _ in watcher.samples[::12]] == [2, 3, 4]
    assert watcher.learning_rates[1:] == longer.watcher.learning_rates[7:]
    assert finished.watcher.learning_rates[-1] < watcher.learning_rates[1]
    assert steps_of(settings) == {"val_loss": [2, 5, 8, 11, 14], "train_loss_step": list(range(15))}


def test_a_finished_training_says_that_nothing_is_left(finished, capsys):
    settings = copied(finished, "again")
    again, _ = finished.bench.train(settings, resume=settings.checkpoints_path / "last.ckpt")
    assert "has done all 3 epochs. Pass more --epochs" in capsys.readouterr().err
    assert again.epochs == 3
    assert again.scores == finished.result.scores
    assert again.best_path.name == finished.result.best_path.name


def test_other_settings_and_data_are_refused_by_name(finished, write_data, tmp_path):
    write_data(tmp_path, train=8)
    wrong = []
    for values, kind, message in [
        ({"batch_size": 2}, SettingError, "BATCH_SIZE 4, now it is 2.* --batch-size 4"),
        ({"img_size": 96}, SettingError, "IMG_SIZE 32, now it is 96"),
        ({"learning_rate": 0.1}, SettingError, "LEARNING_RATE 0.002, now it is 0.1"),
        ({"seed": 7}, SettingError, "SEED 42, now it is 7"),
        ({"epochs": 2}, SettingError, "3 epochs already, EPOCHS is 2"),
        ({"data_path": tmp_path}, SettingError, "12 photos, now it is 8"),
        ({"encoder_name": "tu-test_resnet"}, ModelError, "ENCODER_NAME tu-test_byobnet, now it is tu-test_resnet"),
        ({"architecture": "deeplabv3"}, ModelError, "ARCHITECTURE pspnet, now it is deeplabv3"),
        ({"decoder_width": 0.5}, ModelError, "DECODER_WIDTH 0.25, now it is 0.5"),
    ]:
        settings = replace(finished.bench.named("other", epochs=3), **values)
        with pytest.raises((SettingError, ModelError)) as refused:
            finished.bench.train(settings, resume=finished.settings.checkpoints_path / "last.ckpt")
        if refused.type is not kind or not re.search(message, str(refused.value)):
            wrong.append((values, refused.value))
    assert not wrong, wrong
    assert not (finished.bench.root / "other").exists()


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


def test_the_order_of_earlier_shards_is_refused():
    point = replace(resume_point(Settings().to_dict()), order="3 shards")
    with pytest.raises(SettingError, match="order 3 shards, now it is photo by photo"):
        point.check(Settings(), num_ranks=1, num_photos=12)


@pytest.mark.parametrize(("before", "words"), [((448, 320), "448 320"), (320, "320"), (None, "None")])
def test_the_message_names_a_flag_that_the_command_line_takes(before, words):
    point = resume_point(Settings(crop_size=before).to_dict())
    with pytest.raises(SettingError) as refused:
        point.check(Settings(crop_size=64), num_ranks=1, num_photos=12)
    assert f" Pass --crop-size {words}, or start" in str(refused.value)
    given = tyro.cli(Train, args=["--crop-size", *words.split()], default=Train())
    assert given.settings.crop_size == before


def test_a_broken_checkpoint_is_refused_and_left_alone(finished, tmp_path):
    settings = replace(finished.bench.named("broken", epochs=4), checkpoints_path=tmp_path)
    whole = (finished.settings.checkpoints_path / "last.ckpt").read_bytes()
    path = tmp_path / "last.ckpt"
    torch.save({name: finished.last[name] for name in ("state_dict", "clothseg")}, path)
    torch.save([1], tmp_path / "list.ckpt")
    wrong = []
    for content, message in [
        (b"", "empty"),
        (whole[: len(whole) // 2], "cut off"),
        (whole[:50_000] + bytes([whole[50_000] ^ 1]) + whole[50_001:], "does not match its SHA-256"),
        (b"hello", "not a PyTorch file"),
        (path.read_bytes(), "contains a model but not the state of a training"),
        ((tmp_path / "list.ckpt").read_bytes(), "is no checkpoint of a training"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ModelError) as refused:
            finished.bench.train(settings, resume=path)
        if message not in str(refused.value) or path.read_bytes() != content:
            wrong.append((message, refused.value))
    assert not wrong, wrong


def test_a_missing_checkpoint_is_named(bench):
    with pytest.raises(MissingModelError, match=r"nowhere\.ckpt"):
        bench.train(bench.settings, resume=Path("nowhere.ckpt"))


def test_step_seeds_differ():
    seeds = {step_seed(*place) for place in [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0)]}
    assert len(seeds) == 5
    assert step_seed(3, 1, 4, 1) == step_seed(3, 1, 4, 1)


def copied(finished, name, **values):
    """Return settings of a training that continues a copy of the finished one."""
    settings = finished.bench.named(name, epochs=3)
    shutil.copytree(finished.settings.checkpoints_path.parent, finished.bench.root / name)
    return replace(settings, **values)
