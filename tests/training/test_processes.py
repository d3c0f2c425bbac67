"""Training on several processes: what it learns, what it writes, and how it ends when one of them is killed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.model.module import ClothSegmentationModel
from clothseg.settings import Settings
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import fit
from tests.training.conftest import flags_of, process_environment

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
RECIPE = str(ROOT / "train.py")
LIGHTNING = (RECIPE,)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", RECIPE)

TRAINING = """
import sys
sys.path.insert(0, {root!r})
from clothseg.settings import Settings
from tests.training.test_processes import train

train(Settings(**{values!r}))
"""


def train(settings: Settings) -> None:
    """Train without dropout, which each process draws for itself."""
    torch.set_num_threads(1)
    data = ClothSegmentationData.from_settings(settings)
    model = ClothSegmentationModel.from_settings(settings, data)
    for part in model.modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.p = 0
    fit(model, data, settings=settings, callbacks=build_callbacks(settings))


def last_and_scores(settings: Settings) -> tuple[dict[str, Any], dict[str, float]]:
    last = torch.load(settings.checkpoints_path / "last.ckpt", weights_only=True)
    return last, json.loads((settings.checkpoints_path / "best.json").read_text())["scores"]


def test_two_processes_learn_what_one_learns_from_the_same_batches(bench, write_data):
    write_data(bench.root / "data", val=5)  # three photos and two: the processes validate on two batches and on one
    # Group norm in the decoder, layer norm in the encoder: only the loss sees a batch as a whole.
    network = {"architecture": "fpn", "encoder_name": "tu-test_efficientnet_ln", "img_size": 64}
    alone = bench.named("alone", **network, batch_size=4)
    train(alone)
    shared = bench.named("shared", **network, batch_size=2, devices=2, strategy="ddp")
    script = bench.root / "training.py"  # Lightning starts it again for the second process
    script.write_text(TRAINING.format(root=str(ROOT), values=shared.to_dict()))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=process_environment()
    )
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr
    assert done.stderr.count("epoch 0  train_loss") == 1
    assert [path.name for path in shared.logs_path.iterdir()] == ["version_0"]

    (one, scores), (two, shared_scores) = last_and_scores(alone), last_and_scores(shared)
    assert one["global_step"] == two["global_step"] == 6
    for kind in ("state_dict", "current_model_state"):
        # Six steps of 0.002 move a weight by up to 0.01; where a gradient is all rounding, Adam makes 1e-4 of it.
        torch.testing.assert_close(dict(two[kind]), dict(one[kind]), atol=5e-4, rtol=0)
    for name in scores.keys() - {"val_loss"}:  # a mean over the batches' own losses, and those of validation are halves
        assert shared_scores[name] == pytest.approx(scores[name], abs=1e-3)


def start_two(bench, *words: str, start: tuple[str, ...] = LIGHTNING, shards: bool = False, **values: Any):
    """Start a training on two processes, as a process group of its own."""
    values = {"architecture": "unet", "batch_size": 2, "devices": 2, **values}
    names = ("shards",) if shards else ()
    return subprocess.Popen(
        [sys.executable, *start, *flags_of(bench.settings, *names, **values), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=process_environment(),
    )


def read_until(process, start: str) -> str:
    """Return what a training says up to the line that begins so."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(start):
            break
    return "".join(lines)


def test_a_training_whose_first_process_is_killed_ends(bench):
    with start_two(bench, epochs=1000) as process:
        read_until(process, "epoch 0")
        process.kill()
        rest = process.stderr.read()  # ends when both have left
    # The one that is left would wait for the other for half an hour, and then say so in torch's words.
    assert process.returncode == -signal.SIGKILL, rest
    assert re.search("The first process of the training was killed|Another process of the training is gone", rest)
    assert f"--ckpt {bench.settings.checkpoints_path / 'last.ckpt'}" in rest
    assert "Traceback" not in rest


def test_what_one_process_alone_meets_is_the_exit_code_of_all(bench):
    photo = bench.root / "data/fashionist/test/001.jpg"  # of the second process's share of the validation
    photo.write_bytes(photo.read_bytes()[:300])
    with start_two(bench, epochs=2) as process:
        rest = process.stderr.read()
    assert process.returncode == 3, rest
    assert str(photo) in rest
    assert "Traceback" not in rest
