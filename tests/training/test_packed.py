"""Training from shards: the same steps as from files, an exact resume, and several processes."""

import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.pack import pack
from clothseg.errors import SettingError
from clothseg.model.tensor_files import has_checksum
from clothseg.training.signals import TrainingStopped
from clothseg.training.train_command import Train, check_inputs
from tests.data.file_server import serving
from tests.training.conftest import Bench, Watcher
from tests.training.test_processes import TORCHRUN, read_until, start_two


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A bench with its data in shards of about three photos behind a web server."""
    bench = Bench(tmp_path_factory.mktemp("packed"))
    pack(bench.root / "data" / DATASET_FOLDER, bench.root / "shards", shard_bytes=20_000)
    assert len(list((bench.root / "shards").glob("train-*.tar"))) >= 3
    with serving(bench.root / "shards") as server:
        bench.settings = replace(
            bench.settings,
            shards=server.address,
            data_path=bench.root / "nowhere",
        )
        yield bench


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_training_from_shards_resumed_from_the_files_ends_as_one_from_the_files(packed):
    seen, settings = Watcher(), packed.named("stopped")
    files = {"shards": None, "data_path": packed.root / "data"}
    whole, model = packed.train(packed.named("whole", **files), watcher=seen)
    assert len(set(seen.samples)) == len(seen.samples) == 2 * 12
    last = settings.checkpoints_path / "last.ckpt"
    first, second, third = Watcher("train", 0, 1, terminate), Watcher("train", 1, 1, terminate), Watcher()
    with pytest.raises(TrainingStopped):
        packed.train(settings, watcher=first)
    with pytest.raises(TrainingStopped):
        packed.train(replace(settings, num_workers=1), resume=last, watcher=second)
    resumed, again = packed.train(replace(settings, **files), resume=last, watcher=third)
    assert first.samples + second.samples + third.samples == seen.samples
    assert resumed.scores == whole.scores
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name


def test_the_command_reads_the_classes_of_the_packed_data(packed):
    check_inputs(Train(settings=packed.settings))
    with pytest.raises(SettingError, match=r"CLASSES is categories, but the dataset drawn in http://127"):
        check_inputs(Train(settings=replace(packed.settings, classes="categories")))


@pytest.mark.processes
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="processes are found through Linux's /proc")
def test_two_processes_share_the_shards_until_one_is_killed_and_go_on_until_their_torchrun_is_killed(packed):
    last = packed.settings.checkpoints_path / "last.ckpt"
    with start_two(packed, shards=True, epochs=1000) as process:
        said = read_until(process, "epoch 1")
        (copy,) = map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
        os.kill(copy, signal.SIGKILL)
        rest = process.stderr.read()  # ends when both have left
    assert "2 x cpu" in said
    assert process.returncode == 5, rest
    assert re.search("Another process of the training is gone|was ended by SIGKILL", rest)
    assert f"--ckpt {last}" in rest
    assert "Traceback" not in rest
    checkpoint = torch.load(last, weights_only=True)
    epoch = checkpoint["clothseg_training"]["epoch"]
    assert checkpoint["global_step"] == 3 * epoch > 0, "twelve photos in batches of two on each of two processes"

    values = {"epochs": 1000, "strategy": "ddp_find_unused_parameters_true"}
    with start_two(packed, "--ckpt", str(last), start=TORCHRUN, shards=True, **values) as process:
        said = read_until(process, f"epoch {epoch}  ")
        process.kill()
        said += process.stderr.read()  # ends when both processes have left
    assert "2 x cpu" in said
    assert said.count(f"epoch {epoch}  ") == 1, said
    assert said.count("SIGTERM stopped the training. Resume with") == 1, said
    assert has_checksum(last.read_bytes())
    assert torch.load(last, weights_only=True)["global_step"] >= 3 * (epoch + 1)
