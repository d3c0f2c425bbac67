import math
import os
import resource
import signal
import time
import warnings
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from clothseg.data.datamodule import ClothSegmentationData
from clothseg.errors import MachineError, ModelError
from clothseg.model.best import BestCheckpoint, find_best
from clothseg.model.module import ClothSegmentationModel
from clothseg.model.tensor_files import has_checksum
from clothseg.training.callbacks import AveragedWeights
from clothseg.training.checkpoints import Checkpoints, WholeFileIO, move_earlier
from clothseg.training.fit import fit
from tests.training.conftest import Watcher


def test_the_three_best_and_the_last_stay(longer):
    folder = longer.settings.checkpoints_path
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 5
    assert (names[0], names[-1]) == ("best.json", "last.ckpt")
    contents = [torch.load(folder / name, weights_only=True) for name in names[1:4]]
    losses = [one["clothseg"]["scores"]["val_loss"] for one in contents]
    assert [f"{loss:.4f}" for loss in losses] == [name[-11:-5] for name in names[1:4]]
    assert [one["epoch"] for one in contents] == [int(name[9:12]) for name in names[1:4]]
    pointer = BestCheckpoint.read(folder)
    assert pointer is not None
    assert pointer.val_loss == pytest.approx(min(losses))
    assert find_best(folder) == longer.result.best_path == folder / pointer.path
    assert int(pointer.path[9:12]) == pointer.epoch
    assert longer.result.scores == pointer.scores


class Losses(LightningModule):
    """A model whose validation loss in each epoch is given: which checkpoints are the best is then known."""

    def __init__(self, losses):
        super().__init__()
        self.losses = losses
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.losses[self.current_epoch])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_which_checkpoints_are_the_best(tmp_path):
    """The lowest losses stay, whatever their order; NaN is none, and of equal ones the earlier stays."""
    expected = {
        (5.0, 3.0, 4.0, 1.0, 2.0): ((1, 3, 4), 3),
        (1.0, 2.0, 3.0, 4.0): ((0, 1, 2), 0),
        (2.0, 2.0, 2.0, 2.0): ((0, 1, 2), 0),
        (math.nan, 2.0, 1.0): ((1, 2), 2),
    }
    for number, (losses, (kept, best)) in enumerate(expected.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        loader = DataLoader(torch.ones(2, 1), batch_size=1)
        options = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Lightning's advice on workers
            Trainer(max_epochs=len(losses), callbacks=[Checkpoints(folder)], num_sanity_val_steps=0, **options).fit(
                Losses(losses), loader, loader
            )
        found = tuple(sorted(int(path.name[9:12]) for path in folder.glob("clothseg-*")))
        assert (found, BestCheckpoint.read(folder).epoch) == (kept, best), losses


def test_the_best_scores_leave_absent_classes_out(finished):
    scores = finished.result.scores
    assert {"val_iou/background", "val_iou/shirt", "val_iou/trousers"} <= scores.keys()
    assert "val_iou/hat" not in scores


def test_a_new_training_moves_earlier_checkpoints_aside(bench, capsys):
    settings = replace(bench.settings, epochs=1)
    bench.train(settings)
    first = {path.name: path.read_bytes() for path in settings.checkpoints_path.iterdir()}
    with pytest.raises(ModelError):
        bench.train(replace(settings, learning_rate=1.0), watcher=PoisonWeights(0, 0))
    assert {path.name: path.read_bytes() for path in settings.checkpoints_path.iterdir()} == first, "it failed at once"

    bench.train(replace(settings, learning_rate=1e-4))
    earlier = settings.checkpoints_path / "earlier-001"
    assert {path.name: path.read_bytes() for path in earlier.iterdir()} == first
    assert str(earlier) in capsys.readouterr().err
    assert (settings.checkpoints_path / "last.ckpt").read_bytes() != first["last.ckpt"]
    assert not list(settings.checkpoints_path.glob("*-v1*"))


def test_move_earlier_counts_on(tmp_path):
    assert move_earlier(tmp_path) is None
    for number in (1, 2):
        (tmp_path / "last.ckpt").write_bytes(b"%d" % number)
        assert move_earlier(tmp_path) == tmp_path / f"earlier-{number:03d}"
    assert (tmp_path / "earlier-002" / "last.ckpt").read_bytes() == b"2"
    (tmp_path / "notes.txt").write_text("the user's")
    assert move_earlier(tmp_path) is None


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
def test_nan_stops_and_the_last_good_checkpoint_resumes(finished, after, message):
    bench = finished.bench
    settings = bench.named(f"nan-{after}", epochs=3)
    last_path = settings.checkpoints_path / "last.ckpt"
    checkpoints = Checkpoints(settings.checkpoints_path, every=timedelta(0))
    callbacks = [PoisonWeights(1, 1, after=after), AveragedWeights(settings.averaging), checkpoints]
    data = ClothSegmentationData.from_settings(settings)
    with pytest.raises(ModelError, match=message):
        fit(ClothSegmentationModel.from_settings(settings, data), data, settings=settings, callbacks=callbacks)
    last = torch.load(last_path, weights_only=True)
    assert all(bool(tensor.isfinite().all()) for tensor in last["state_dict"].values())
    assert (last["clothseg_training"]["epoch"], last["clothseg_training"]["batches_done"]) == (1, 1)
    if not after:
        watcher = Watcher()
        _, model = bench.train(settings, resume=last_path, watcher=watcher)
        assert watcher.samples == finished.watcher.samples[12 + 4 :]
        assert all(torch.equal(tensor, finished.weights[name]) for name, tensor in model.state_dict().items())


def save_forever(path: Path) -> None:
    """Save one whole checkpoint after the other, in a process of its own that never returns."""
    torch.set_num_threads(1)  # OpenMP's threads are not there after a fork, and waiting for them would take forever
    number = 0
    while True:
        number += 1
        WholeFileIO().save_checkpoint({"number": number, "weights": torch.full((400_000,), float(number))}, path)


@pytest.mark.processes
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
        assert has_checksum(path.read_bytes())
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
