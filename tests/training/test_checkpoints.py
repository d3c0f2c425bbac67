import os
import resource
import signal
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from clothseg.errors import MachineError, ModelError
from clothseg.model.best import BestCheckpoint, find_best
from clothseg.model.checkpoint import load_checkpoint
from clothseg.model.seal import check_seal
from clothseg.training.build import build_data, build_model
from clothseg.training.checkpoints import Checkpoints, WholeFileIO, set_aside
from clothseg.training.fit import fit


def test_the_three_best_and_the_last_stay(finished, bench):
    settings = bench.named("more", epochs=5, patience=0)
    result, _ = bench.train(settings)
    folder = settings.checkpoints_path
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 5
    assert names[-2:] == [names[-2], "last.ckpt"]
    losses = [torch.load(folder / name, weights_only=True)["clothseg"]["scores"]["val_loss"] for name in names[1:4]]
    assert [f"{loss:.4f}" for loss in losses] == [name[-11:-5] for name in names[1:4]]
    pointer = BestCheckpoint.read(folder)
    assert pointer is not None
    assert pointer.val_loss == pytest.approx(min(losses))
    assert find_best(folder) == result.best_path == folder / pointer.path
    assert int(pointer.path[9:12]) == pointer.epoch
    assert result.scores == pointer.scores


def test_the_best_scores_leave_absent_classes_out(finished):
    result = finished[2]
    assert {"val_iou/background", "val_iou/shirt", "val_iou/trousers"} <= result.scores.keys()
    assert "val_iou/hat" not in result.scores


def test_a_checkpoint_can_be_predicted_with(finished):
    _, _, result, weights, _ = finished
    description, network = load_checkpoint(result.last_path)
    assert description.training_data["counts"] == {"train": 12, "val": 4}
    assert all(torch.equal(tensor, weights[f"network.{name}"]) for name, tensor in network.state_dict().items())


def test_a_new_training_moves_earlier_checkpoints_aside(bench, capsys):
    settings = replace(bench.settings, epochs=1)
    bench.train(settings)
    first = {path.name: path.read_bytes() for path in settings.checkpoints_path.iterdir()}
    bench.train(replace(settings, learning_rate=1e-4))
    earlier = settings.checkpoints_path / "earlier-001"
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == first
    assert str(earlier) in capsys.readouterr().err
    assert (settings.checkpoints_path / "last.ckpt").read_bytes() != first["last.ckpt"]
    assert not list(settings.checkpoints_path.glob("*-v1*"))


def test_set_aside_counts_on(tmp_path):
    assert set_aside(tmp_path) is None
    for number in (1, 2):
        (tmp_path / "last.ckpt").write_bytes(b"%d" % number)
        assert set_aside(tmp_path) == tmp_path / f"earlier-{number:03d}"
    assert (tmp_path / "earlier-002" / "last.ckpt").read_bytes() == b"2"
    (tmp_path / "notes.txt").write_text("the user's")
    assert set_aside(tmp_path) is None


def test_a_training_that_fails_at_once_moves_nothing(bench):
    settings = replace(bench.settings, epochs=1)
    bench.train(settings)
    before = sorted(settings.checkpoints_path.iterdir())
    with pytest.raises(ModelError):
        bench.train(replace(settings, learning_rate=1.0), watcher=PoisonWeights(0, 0))
    assert sorted(settings.checkpoints_path.iterdir()) == before


class PoisonWeights(Callback):
    """Sets a weight to NaN before or after a step, as a gradient that overflows does."""

    def __init__(self, epoch: int, batch: int, *, after: bool = False) -> None:
        self.place = (epoch, batch)
        self.after = after

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self._poison(trainer, module, batch_idx, after=False)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self._poison(trainer, module, batch_idx, after=True)

    def _poison(self, trainer, module, batch_idx, *, after):
        if (trainer.current_epoch, batch_idx, after) == (*self.place, self.after):
            with torch.no_grad():
                next(module.network.parameters()).fill_(float("nan"))


@pytest.mark.parametrize(("after", "message"), [(False, "loss became nan in epoch 1"), (True, "NaN or infinite")])
def test_nan_stops_and_keeps_the_last_good_checkpoint(bench, after, message):
    settings = bench.named("nan", epochs=3)
    poison = PoisonWeights(1, 1, after=after)
    callbacks = [poison, Checkpoints(settings.checkpoints_path, every=timedelta(0))]
    data = build_data(settings)
    with pytest.raises(ModelError, match=message):
        fit(build_model(settings, data), data, settings=settings, callbacks=callbacks)
    last = torch.load(settings.checkpoints_path / "last.ckpt", weights_only=True)
    assert all(bool(tensor.isfinite().all()) for tensor in last["state_dict"].values())
    assert (last["clothseg_training"]["epoch"], last["clothseg_training"]["batches_done"]) == (1, 1)


def save_forever(path: Path) -> None:
    """Save one whole checkpoint after the other, in a process of its own that never returns."""
    torch.set_num_threads(1)  # OpenMP's threads are not there after a fork, and waiting for them would take forever
    number = 0
    while True:
        number += 1
        WholeFileIO().save_checkpoint({"number": number, "weights": torch.full((400_000,), float(number))}, path)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    seen = set()
    for delay in (0.0, 0.003, 0.006, 0.009, 0.012, 0.015):
        child = os.fork()
        if child == 0:
            save_forever(path)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert check_seal(path)
        content = torch.load(path, weights_only=True)
        assert bool((content["weights"] == content["number"]).all())
        seen |= {one.name for one in tmp_path.iterdir()}
    assert seen <= {"last.ckpt", ".last.ckpt.part"}


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path):
    path = tmp_path / "last.ckpt"
    WholeFileIO().save_checkpoint({"weights": torch.zeros(10)}, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # writes beyond fail, as on a full disk
        with pytest.raises(MachineError, match=r"Cannot write .*last\.ckpt"):
            WholeFileIO().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["last.ckpt"]
