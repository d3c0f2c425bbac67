import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from clothseg.errors import MissingInputError, MissingModelError
from clothseg.model.checkpoint import load_checkpoint
from clothseg.scores import Scores, confusion_matrix
from clothseg.training.build import build_data
from clothseg.training.train_command import Train


def test_help_does_not_wait_for_torch():
    code = "import sys, clothseg.training.train_command; sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_trains_resumes_and_says_what_came_out(bench, capsys):
    settings = replace(bench.settings, epochs=1)
    assert Train(settings=settings).run() == 0
    out = capsys.readouterr().out
    best = next(settings.checkpoints_path.glob("clothseg-000-*.ckpt"))
    assert f"Best checkpoint: {best}\nNext: uv run infer.py PHOTO --ckpt {best}\n" in out
    assert "  hat         absent\n" in out
    description, _ = load_checkpoint(best)
    assert f"  shirt       {description.scores['iou']['shirt']:.4f}\n" in out
    assert f"val_iou {description.scores['val_iou']:.4f}" in out

    command = Train(ckpt=settings.checkpoints_path / "last.ckpt", settings=replace(settings, epochs=2))
    assert command.run() == 0
    assert "best of 2 epochs" in capsys.readouterr().out


def test_what_is_not_there_is_said_before_torch_is_loaded(bench):
    with pytest.raises(MissingInputError, match=r"data_prep\.py"):
        Train(settings=replace(bench.settings, data_path=bench.root / "nowhere")).run()
    with pytest.raises(MissingModelError, match=r"nowhere\.ckpt"):
        Train(ckpt=bench.root / "nowhere.ckpt", settings=bench.settings).run()


def test_two_processes_score_as_one_and_write_once(bench):
    """The scores of two processes are those of all photos, to the last digit."""
    settings = replace(bench.settings, batch_size=3, epochs=1)
    flags = ["--devices", "2", "--epochs", "1", "--batch-size", "3", "--num-workers", "0", "--accelerator", "cpu"]
    names = ("data_path", "img_size", "architecture", "encoder_name", "precision", "learning_rate")
    for name in (*names, "checkpoints_path", "logs_path"):
        flags += [f"--{name.replace('_', '-')}", str(getattr(settings, name))]
    done = subprocess.run(
        [sys.executable, "-m", "clothseg.cli", "train", "--encoder-weights", "none", *flags],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Best checkpoint") == 1
    assert done.stderr.count("epoch 0") == 1
    assert "2 x cpu" in done.stderr
    assert [path.name for path in settings.logs_path.iterdir()] == ["version_0"]

    scores = json.loads((settings.checkpoints_path / "best.json").read_text())["scores"]
    alone = validate(settings, settings.checkpoints_path / "last.ckpt")
    assert np.float32(alone.mean_iou) == np.float32(scores["val_iou"])
    assert np.float32(alone.mean_f1) == np.float32(scores["val_f1"])
    assert np.float32(alone.accuracy) == np.float32(scores["val_acc"])
    for name, iou in zip(alone.names, alone.iou, strict=True):
        assert np.float32(iou) == np.float32(scores[f"val_iou/{name}"]) if name != "hat" else np.isnan(iou)

    with pytest.raises(ValueError, match="2 processes, now it is 1"):
        Train(ckpt=settings.checkpoints_path / "last.ckpt", settings=replace(settings, epochs=2)).run()


def validate(settings, path) -> Scores:
    """Score a checkpoint on the validation photos, one by one, in this process."""
    description, network = load_checkpoint(path)
    samples = build_data(settings).val_dataset
    matrix = np.zeros((4, 4), dtype=np.int64)
    for sample in (samples[index] for index in range(len(samples))):
        with torch.inference_mode():
            prediction = network(sample["image"].unsqueeze(0))[0].argmax(dim=0).numpy()
        matrix += confusion_matrix(prediction, sample["mask"].numpy(), 4)
    return Scores.from_confusion(matrix, description.classes.names)
