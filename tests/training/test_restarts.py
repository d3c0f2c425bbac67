"""A training that is killed and stopped, and meets NaN and a full disk, still ends as an undisturbed one."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from clothseg.model.tensor_files import has_checksum
from tests.conftest import HANG_SECONDS
from tests.training.conftest import Watcher, process_environment

pytestmark = pytest.mark.processes

RESTARTS = Path(__file__).with_name("restarts.py")
CODES = {"SIGKILL": -9, "SIGKILL while saving": -9, "SIGTERM": 143, "SIGUSR1": 138, "NaN": 4, "full disk": 5, "done": 0}


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs fork and waitid")
def test_a_training_that_is_ended_in_many_ways_ends_as_an_undisturbed_one(bench):
    # Large enough that a kill can come while its checkpoint is written.
    values = {"epochs": 5, "architecture": "deeplabv3plus", "decoder_width": 1.0}
    undisturbed, settings = bench.named("undisturbed", **values), bench.named("restarts", **values)
    watcher = Watcher()
    result, model = bench.train(undisturbed, watcher=watcher)
    done = subprocess.run(
        [sys.executable, str(RESTARTS), json.dumps(settings.to_dict()), "7"],
        capture_output=True,
        text=True,
        check=False,
        env=process_environment(),
        timeout=HANG_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    for run in runs:
        assert run["code"] == CODES[run["end"]], run
        assert "Traceback" not in run["messages"]
        assert "-9" in str(run["code"]) or not run["parts"], "only a kill leaves a file that is half written"
    said = {run["end"]: run["messages"] for run in runs}
    last = settings.checkpoints_path / "last.ckpt"
    assert any(run["parts"] for run in runs if run["end"] == "SIGKILL while saving"), "no kill came while saving"
    assert f"SIGTERM stopped the training. Resume with: uv run train.py --ckpt {last}" in said["SIGTERM"]
    assert re.search(r"loss became nan in epoch \d, training step \d \(photos \d{3}, \d{3}, ", said["NaN"])
    assert f"Cannot write {last}" in said["full disk"]

    check_samples(settings.checkpoints_path.with_name("journal.jsonl"), watcher.samples)
    assert has_checksum(last.read_bytes())
    weights = torch.load(last, weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())
    best = [json.loads((one.checkpoints_path / "best.json").read_text()) for one in (settings, undisturbed)]
    assert best[0] == best[1]
    names = [sorted(path.name for path in one.checkpoints_path.iterdir()) for one in (settings, undisturbed)]
    assert names[0] == names[1]
    assert result.epochs == 5


def check_samples(journal: Path, expected: list[tuple[int, str]]) -> None:
    """What a run learned after its last checkpoint is lost; all the rest adds up to each sample once per epoch."""
    learnt: list[dict] = []
    for note in map(json.loads, journal.read_text().splitlines()):
        while learnt and learnt[-1]["step"] >= note["step"] and learnt[-1]["run"] != note["run"]:
            learnt.pop()
        learnt.append(note)
    assert [(note["step"][0], name) for note in learnt for name in note["names"]] == expected
