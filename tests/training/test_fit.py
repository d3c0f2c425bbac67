import multiprocessing
import os
import signal
import warnings
from dataclasses import replace

import pytest
import torch

from clothseg import progress
from clothseg.data.datamodule import ClothSegmentationData
from clothseg.data.dataset import LARGEST_TRIM_THRESHOLD
from clothseg.errors import MachineError, SettingError
from clothseg.labels import GROUPS
from clothseg.training.fit import fit
from clothseg.training.train_command import check_classes


def test_the_loss_falls(finished):
    result = finished.result
    assert result.epochs == 3
    losses = [float(path.stem.rpartition("-")[2]) for path in sorted(result.last_path.parent.glob("clothseg-*"))]
    assert losses == sorted(losses, reverse=True)
    assert result.scores["val_loss"] == pytest.approx(losses[-1], abs=1e-4)


def test_training_is_repeatable_and_says_nothing_superfluous(finished, capsys, monkeypatch):
    limits = []
    monkeypatch.setattr("clothseg.training.fit.set_trim_threshold", limits.append)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        again, model = finished.bench.train(finished.bench.named("repeated", epochs=3))
    assert all(torch.equal(tensor, finished.weights[name]) for name, tensor in model.state_dict().items())
    assert again.scores == finished.result.scores
    assert limits == [LARGEST_TRIM_THRESHOLD], "a training on the CPU keeps the memory it frees"

    assert [str(one.message) for one in caught] == []
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(("Epoch", " "))]
    assert [line.split()[0] for line in lines] == ["Training", *3 * ["epoch"]]
    assert "pspnet with tu-test_byobnet on 12 photos, validating on 4: 4 classes" in lines[0]


def test_fewer_photos_than_a_batch_and_no_callbacks_still_leave_a_checkpoint(bench):
    settings = replace(bench.settings, batch_size=32, epochs=1)
    data = ClothSegmentationData.from_settings(settings)
    result = fit(bench.model(settings, data), data, settings=settings, callbacks=[])
    assert result.epochs == 1
    assert result.best_path is not None
    assert result.best_path.is_file()


def test_patience_ends_a_training_that_no_longer_improves(bench):
    settings = bench.named("patience", epochs=30, patience=1, learning_rate=1e-9, warmup=0.0)
    assert bench.train(settings)[0].epochs < 30


def test_other_classes_than_the_data_has_are_refused(bench):
    data = ClothSegmentationData.from_settings(bench.settings)
    with pytest.raises(SettingError, match="CLASSES is categories, but the dataset drawn"):
        check_classes(replace(bench.settings, classes="categories"), data.manifest)
    check_classes(replace(bench.settings, classes="categories"), replace_classes(data.manifest))


def replace_classes(manifest):
    from clothseg.labels import CATEGORIES

    assert manifest.classes not in (GROUPS, CATEGORIES)
    return replace(manifest, classes=CATEGORIES)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_wrong_setting(bench):
    with pytest.raises(SettingError, match="Change ACCELERATOR"):
        bench.train(replace(bench.settings, accelerator="gpu"))


def test_failures_of_the_machine_say_what_to_do(bench):
    def lose_connection():
        raise RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer")

    for fail, message in [
        (lambda: torch.empty(1 << 50), r"BATCH_SIZE 4 and IMG_SIZE 32\. A step of 2 fits: pass --batch-size 2"),
        (lose_connection, r"Another process of the training is gone .*Connection closed.* --ckpt \S*last\.ckpt"),
    ]:
        with pytest.raises(MachineError, match=message):
            bench.train(bench.settings, watcher=bench.watcher("train", 0, 1, fail))


def test_a_killed_loader_process_is_reported(bench):
    def kill_loader():
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    settings = replace(bench.settings, num_workers=1)
    with pytest.raises(MachineError, match="lower NUM_WORKERS"):
        bench.train(settings, watcher=bench.watcher("train", 0, 1, kill_loader))


def test_a_broken_photo_is_named_from_a_loader_process(bench):
    photo = sorted((bench.root / "data" / "fashionist" / "train").iterdir())[3]
    photo.write_bytes(photo.read_bytes()[:300])
    with pytest.raises(ValueError, match=photo.name) as caught:
        bench.train(replace(bench.settings, num_workers=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["checkpoints_path", "logs_path"])
def test_a_folder_that_cannot_be_written_is_said_at_once(bench, name):
    taken = bench.root / "taken"
    taken.write_text("a file")
    watcher = bench.watcher()
    with pytest.raises(MachineError, match=f"Cannot write to {taken}"):
        bench.train(replace(bench.settings, **{name: taken}), watcher=watcher)
    assert watcher.samples == []


def test_the_hint_for_a_batch_too_small_is_not_the_network_in_use(bench):
    for architecture, hint in (("deeplabv3plus", "raise IMG_SIZE, or choose unet"), ("unet", "or raise IMG_SIZE")):
        with pytest.raises(SettingError, match=f"{hint}$"):
            bench.train(replace(bench.settings, batch_size=1, architecture=architecture))


def test_a_path_that_lightning_reads_as_addresses_is_refused(bench):
    path = bench.root / "run::1"
    for name in ("checkpoints_path", "logs_path"):
        with pytest.raises(SettingError, match=f"{name.upper()} is .*run::1"):
            bench.train(replace(bench.settings, **{name: path}))
    with pytest.raises(SettingError, match=r"--ckpt is .*run::1"):
        bench.train(bench.settings, resume=path / "last.ckpt")


def test_a_log_of_a_training_has_a_line_an_epoch_and_few_between(bench, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    bench.train(replace(bench.settings, epochs=1))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines if "batches" in line] == [f"epoch 0: {n} of 3 batches" for n in (1, 2)]
    assert [line[:20] for line in lines[-1:]] == ["epoch 0  train_loss "]
    assert not [line for line in lines if "\x1b" in line or not line.strip()]
