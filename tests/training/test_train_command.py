import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import train as recipe
from clothseg import cli
from clothseg.errors import MissingInputError, MissingModelError
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.tensor_files import has_checksum
from clothseg.settings import Settings
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import FitResult, print_result
from clothseg.training.train_command import Train
from tests.training.conftest import CLASSES, Watcher, flags_of


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
