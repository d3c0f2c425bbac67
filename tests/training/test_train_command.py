import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import train as recipe
from clothseg import cli
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.errors import MissingInputError, MissingModelError
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.tensor_files import has_checksum
from clothseg.scores import Scores, confusion_matrix
from clothseg.settings import Settings
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import FitResult, print_result
from clothseg.training.train_command import Train
from tests.training.conftest import CLASSES, Watcher, flags_of, process_environment


def run_recipe(*words):
    """Run `train.py` in this process, and return its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.start("train", Settings(), run=recipe.train, arguments=words)
    return left.value.code


def test_train_py_trains_and_clothseg_train_resumes(bench, capsys):
    settings = replace(bench.settings, epochs=1)
    assert run_recipe(*flags_of(settings)) == 0
    out = capsys.readouterr().out
    best = next(settings.checkpoints_path.glob("clothseg-000-*.ckpt"))
    assert f"Best checkpoint: {best}\nNext: uv run infer.py PHOTO --ckpt {best}\n" in out
    assert "  hat         absent\n" in out
    description, _ = load_checkpoint(best)
    assert f"  shirt       {description.scores['iou']['shirt']:.4f}\n" in out
    assert f"val_iou {description.scores['val_iou']:.4f}" in out

    last = settings.checkpoints_path / "last.ckpt"
    with pytest.raises(SystemExit) as left:
        cli.main(["train", *flags_of(settings, epochs=2), "--ckpt", str(last)])
    assert left.value.code == 0
    assert "best of 2 epochs" in capsys.readouterr().out
    assert torch.load(last, weights_only=True)["global_step"] == 6


def test_each_end_of_a_training_has_its_exit_code_and_message(bench, capsys, monkeypatch):
    last = bench.settings.checkpoints_path / "last.ckpt"
    photo = bench.root / "data/fashionist/train/003.jpg"
    module = []

    class Poison(Watcher):
        def on_train_start(self, trainer, pl_module):
            module.append(pl_module)

    def poison():
        with torch.no_grad():
            next(module[-1].parameters())[0] = float("nan")

    def fill_disk():
        raise OSError(28, os.strerror(28), "a file")

    def stop():
        os.kill(os.getpid(), signal.SIGTERM)

    ends = [
        (stop, (), 143, f"SIGTERM stopped the training. Resume with: uv run train.py --ckpt {last}"),
        (poison, (), 4, "loss became nan in epoch 0, training step 1 (photos "),
        (fill_disk, (), 5, "Cannot write a file: the disk is full"),
        (stop, ("--data-path", str(bench.root / "nowhere")), 3, "data_prep.py"),
        (stop, ("--ckpt", "nowhere.ckpt"), 4, "nowhere.ckpt"),
        (stop, ("--batch-size", "1", "--architecture", "deeplabv3plus"), 2, "Raise BATCH_SIZE to 2"),
        (lambda: photo.write_bytes(photo.read_bytes()[:300]), ("--num-workers", "0"), 3, photo.name),
    ]
    wrong = []
    for do, words, code, message in ends:
        watcher = Poison("train", 0, 1, do)
        if photo.name == message:
            watcher.do()
        monkeypatch.setattr(
            recipe, "build_callbacks", lambda settings, watcher=watcher: [watcher, *build_callbacks(settings)]
        )
        left = run_recipe(*flags_of(bench.settings), *words)
        said = capsys.readouterr()
        if left != code or message not in said.err or "Traceback" in said.err or said.out:
            wrong.append((code, left, said))
        if code == 143:
            assert has_checksum(last.read_bytes())
            assert torch.load(last, weights_only=True)["global_step"] == 2
    assert not wrong, wrong


def test_a_training_without_a_whole_epoch_names_its_checkpoint_once(capsys):
    result = FitResult(best_path=None, last_path=Path("my last.ckpt"), scores={}, epochs=0, is_main_process=True)
    print_result(result, CLASSES)
    assert capsys.readouterr().out == "No epoch was completed. Resume with: uv run train.py --ckpt 'my last.ckpt'\n"
    print_result(replace(result, is_main_process=False), CLASSES)
    assert capsys.readouterr().out == ""


def test_what_is_not_there_is_said_before_torch_is_loaded(bench):
    with pytest.raises(MissingInputError, match=r"data_prep\.py"):
        Train(settings=replace(bench.settings, data_path=bench.root / "nowhere")).run()
    with pytest.raises(MissingModelError, match=r"nowhere\.ckpt"):
        Train(ckpt=bench.root / "nowhere.ckpt", settings=bench.settings).run()


@pytest.mark.processes
def test_two_processes_score_as_one_and_write_once(bench):
    """The scores of two processes are those of all photos, to the last digit."""
    settings = replace(bench.settings, batch_size=3, epochs=1)
    done = subprocess.run(
        [sys.executable, "-m", "clothseg.cli", "train", *flags_of(settings, devices=2)],
        capture_output=True,
        text=True,
        check=False,
        env=process_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Best checkpoint") == 1
    assert done.stderr.count("epoch 0  train_loss") == 1
    assert "2 x cpu" in done.stderr
    assert [path.name for path in settings.logs_path.iterdir()] == ["version_0"]

    scores = json.loads((settings.checkpoints_path / "best.json").read_text())["scores"]
    names, alone = validate(settings, settings.checkpoints_path / "last.ckpt")
    assert np.float32(alone.mean_iou) == np.float32(scores["val_iou"])
    assert np.float32(alone.mean_f1) == np.float32(scores["val_f1"])
    assert np.float32(alone.accuracy) == np.float32(scores["val_acc"])
    for name, iou in zip(names, alone.iou, strict=True):
        assert np.float32(iou) == np.float32(scores[f"val_iou/{name}"]) if name != "hat" else np.isnan(iou)

    with pytest.raises(ValueError, match="2 processes, now it is 1"):
        Train(ckpt=settings.checkpoints_path / "last.ckpt", settings=replace(settings, epochs=2)).run()


def validate(settings, path) -> tuple[tuple[str, ...], Scores]:
    """Score a checkpoint on the validation photos, one by one, in this process; return the class names, too."""
    description, network = load_checkpoint(path)
    samples = ClothSegmentationData.from_settings(settings).val_dataset
    matrix = np.zeros((4, 4), dtype=np.int64)
    for sample in (samples[index] for index in range(len(samples))):
        with torch.inference_mode():
            prediction = network(sample["image"].unsqueeze(0))[0].argmax(dim=0).numpy()
        matrix += confusion_matrix(prediction, sample["mask"].numpy(), 4)
    return description.classes.names, Scores.from_confusion(matrix)
