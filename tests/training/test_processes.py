"""Training on several processes: what it learns, what it writes, and how it ends when one of them is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from clothseg.settings import Settings
from clothseg.training.build import build_data, build_model
from clothseg.training.callbacks import build_callbacks
from clothseg.training.fit import fit

HERE = Path(__file__).parent

TRAINING = """
import sys
sys.path.insert(0, {here!r})
from clothseg.settings import Settings
from test_processes import train

train(Settings(**{values!r}))
"""


def train(settings: Settings) -> None:
    """Train without dropout, which each process draws for itself."""
    torch.set_num_threads(1)
    data = build_data(settings)
    model = build_model(settings, data)
    for part in model.modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.p = 0
    fit(model, data, settings=settings, callbacks=build_callbacks(settings))


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def last_and_scores(settings: Settings) -> tuple[dict[str, Any], dict[str, float]]:
    last = torch.load(settings.checkpoints_path / "last.ckpt", weights_only=True)
    return last, json.loads((settings.checkpoints_path / "best.json").read_text())["scores"]


def test_two_processes_learn_what_one_learns_from_the_same_batches(bench):
    # Group norm in the decoder, layer norm in the encoder: only the loss sees a batch as a whole.
    network = {"architecture": "fpn", "encoder_name": "tu-test_efficientnet_ln"}
    alone = bench.named("alone", **network, batch_size=4)
    train(alone)
    shared = bench.named("shared", **network, batch_size=2, devices=2, strategy="ddp")
    script = bench.root / "training.py"  # Lightning starts it again for the second process
    script.write_text(TRAINING.format(here=str(HERE), values=shared.to_dict()))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment(), timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "2 x cpu" in done.stderr

    (one, scores), (two, shared_scores) = last_and_scores(alone), last_and_scores(shared)
    assert one["global_step"] == two["global_step"] == 6
    for kind in ("state_dict", "current_model_state"):
        # Six steps of 0.002 move a weight by up to 0.01; where a gradient is all rounding, Adam makes more of it.
        torch.testing.assert_close(dict(two[kind]), dict(one[kind]), atol=1e-4, rtol=0)
    for name in scores.keys() - {"val_loss"}:  # a mean over the batches' own losses, and those of validation are halves
        assert shared_scores[name] == scores[name]
