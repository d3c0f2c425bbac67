from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from lightning import Trainer
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from clothseg.errors import ModelError, SettingError
from clothseg.labels import GROUPS, IGNORED_ID
from clothseg.model.module import ClothSegmentationModel, ConfusionMatrix, predicted_classes
from clothseg.scores import Scores, confusion_matrix
from clothseg.settings import Settings

pytestmark = [
    # A handful of samples needs neither loader processes nor shuffling.
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*:UserWarning"),
    # Several of these train without validating.
    pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`.*:UserWarning"),
    # Lightning 2.6 with torch 2.15.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated.*"),
]

MakeModel = Callable[..., ClothSegmentationModel]
MakeTrainer = Callable[..., Trainer]
Samples = list[dict[str, Any]]


@pytest.fixture(scope="module")
def untrained(make_model: MakeModel) -> ClothSegmentationModel:
    """A small model, for tests that only validate it."""
    return make_model()


def test_every_setting_of_a_model_reaches_it() -> None:
    """A model once learned with a wrong rate, as a setting was passed on in one of two places only."""
    values = {"architecture": "fpn", "encoder_name": "tu-test_resnet", "decoder_width": 0.25, "loss": "dice-focal"}
    values |= {"learning_rate": 0.02, "encoder_rate": 0.3, "weight_decay": 0.04, "warmup": 0.2}
    manifest = SimpleNamespace(summary=lambda: {"name": "street"})
    data = SimpleNamespace(classes=GROUPS, manifest=manifest, class_weights=lambda balance: (balance,) * len(GROUPS))
    built = [
        ClothSegmentationModel.from_settings(
            Settings(img_size=96, class_balance=0.2, **values), data, with_weights=False
        )
        for _ in range(2)
    ]
    expected = values | {"encoder_weights": None, "image_size": 96, "class_weights": [0.2] * len(GROUPS)}
    expected |= {"classes": GROUPS.to_dicts(), "training_data": {"name": "street"}}
    assert dict(built[0].hparams) == expected
    first, second = (one.state_dict() for one in built)
    assert all(torch.equal(first[name], second[name]) for name in first), "new weights come from SEED"
    from_scratch = Settings(encoder_weights=None, **values)
    assert ClothSegmentationModel.from_settings(from_scratch, data).hparams["encoder_rate"] == 1


def test_a_network_overfits_one_batch(
    samples: Samples, loader: Any, make_model: MakeModel, make_trainer: MakeTrainer
) -> None:
    model = make_model(learning_rate=5e-3, decoder_width=1)
    trainer = make_trainer(max_epochs=50, check_val_every_n_epoch=50)
    trainer.fit(model, loader(samples, 5), loader(samples, 5))
    assert model.last_scores["val_iou"] > 0.9
    assert min(model.last_scores["iou"].values()) > 0.7
    assert model.last_scores["val_loss"] < 0.1


def test_scores_are_of_the_whole_epoch(
    samples: Samples, loader: Any, untrained: ClothSegmentationModel, make_trainer: MakeTrainer
) -> None:
    model = untrained
    metrics = make_trainer().validate(model, loader(samples, 2), verbose=False)[0]

    model.eval()
    matrix, losses = np.zeros((13, 13), np.int64), []
    for batch in loader(samples, 2):
        with torch.no_grad():
            logits = model(batch["image"])
        losses += [float(model.loss(logits, batch["mask"]))] * len(logits)
        matrix += confusion_matrix(logits.argmax(1).numpy(), batch["mask"].numpy(), 13)
    scores = Scores.from_confusion(matrix)
    assert metrics["val_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert metrics["val_iou"] == pytest.approx(scores.mean_iou, rel=1e-5)
    assert metrics["val_f1"] == pytest.approx(scores.mean_f1, rel=1e-5)
    assert metrics["val_acc"] == pytest.approx(scores.accuracy, rel=1e-5)
    for name, value in zip(GROUPS.names, scores.iou, strict=True):
        assert metrics[f"val_iou/{name}"] == pytest.approx(value, rel=1e-5)


def test_an_absent_class_is_left_out_not_logged_as_0(
    samples: Samples, loader: Any, untrained: ClothSegmentationModel, make_trainer: MakeTrainer
) -> None:
    for sample in samples:
        sample["mask"][(sample["mask"] > 2) & (sample["mask"] < IGNORED_ID)] = 0
    metrics = make_trainer().validate(untrained, loader(samples, 5), verbose=False)[0]
    per_class = {name for name in metrics if name.startswith("val_iou/")}
    assert per_class == {"val_iou/background", "val_iou/closures", "val_iou/upperbody"}
    assert metrics["val_iou"] == pytest.approx(np.mean([metrics[name] for name in per_class]), rel=1e-5)
    assert untrained.description.scores["iou"]["waist"] is None


def test_photos_of_padding_alone_have_a_loss_and_no_scores(
    samples: Samples, loader: Any, untrained: ClothSegmentationModel, make_trainer: MakeTrainer
) -> None:
    for sample in samples:
        sample["mask"][:] = IGNORED_ID
    assert make_trainer().validate(untrained, loader(samples, 5), verbose=False) == [{"val_loss": 0.0}]


def test_a_sanity_check_leaves_no_scores(
    samples: Samples, loader: Any, make_model: MakeModel, make_trainer: MakeTrainer
) -> None:
    model = make_model()
    trainer = make_trainer(max_epochs=1, num_sanity_val_steps=1, limit_val_batches=1, check_val_every_n_epoch=2)
    trainer.fit(model, loader(samples[:2], 2), loader(samples[:2], 2))
    assert model.last_scores == {}


@pytest.mark.parametrize("stage", ["training", "validation"])
def test_a_loss_that_is_no_number_stops_at_once(
    stage: str, samples: Samples, loader: Any, make_model: MakeModel, make_trainer: MakeTrainer
) -> None:
    model = make_model()
    with torch.no_grad():
        next(model.network.parameters())[:] = torch.nan
    trainer = make_trainer(max_epochs=3)
    run = trainer.fit if stage == "training" else trainer.validate
    with pytest.raises(ModelError, match=f"became nan in epoch 0, {stage} step 0.*photo-0.jpg.*lower LEARNING_RATE"):
        run(model, loader(samples, 2))
    assert trainer.global_step == 0


def test_the_learning_rate_moves_at_every_step(
    samples: Samples, loader: Any, make_model: MakeModel, make_trainer: MakeTrainer
) -> None:
    rates: list[float] = []

    class Watched(ClothSegmentationModel):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    model = make_model()
    model.__class__ = Watched
    make_trainer(max_epochs=2).fit(model, loader(samples, 1))
    assert len(rates) == 10
    assert rates[0] == pytest.approx(3e-4)
    assert rates[1:] == sorted(rates[1:], reverse=True)
    assert rates[-1] < 0.2 * 3e-4


@pytest.mark.filterwarnings("ignore:.*max_epochs.*")
def test_a_training_without_end_is_refused(
    samples: Samples, loader: Any, make_model: MakeModel, make_trainer: MakeTrainer
) -> None:
    with pytest.raises(SettingError, match="EPOCHS is unlimited"):
        make_trainer(max_epochs=-1).fit(make_model(), loader(samples, 5))


def test_a_checkpoint_needs_no_other_weights_and_keeps_their_licence(
    tmp_path: Path, make_model: MakeModel, make_trainer: MakeTrainer, loader: Any, samples: Samples
) -> None:
    source = make_model()
    weights = {k.removeprefix("network.encoder."): v for k, v in source.network.state_dict().items() if "encoder." in k}
    torch.save(weights, tmp_path / "weights.pth")
    model = make_model(encoder_weights=str(tmp_path / "weights.pth"))
    model.licence = "non-commercial"
    trainer = make_trainer(max_epochs=1)
    trainer.fit(model, loader(samples, 5), loader(samples, 5))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "weights.pth").unlink()

    loaded = ClothSegmentationModel.load_from_checkpoint(tmp_path / "model.ckpt")
    assert loaded.description == model.description
    assert loaded.description.scores["val_iou"] > 0
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in loaded.state_dict().items())

    # The resumed training starts without those weights, and still has to name their licence.
    resumed = make_model()
    make_trainer(max_epochs=2).fit(resumed, loader(samples, 5), ckpt_path=tmp_path / "model.ckpt", weights_only=True)
    assert resumed.description.licence == "non-commercial"


def batches(num_classes: int, *, count: int = 3, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    made = []
    for size in range(1, count + 1):
        logits = torch.randn(size, num_classes, 16, 24, generator=generator)
        target = torch.randint(0, num_classes, (size, 16, 24), generator=generator, dtype=torch.uint8)
        target[torch.rand(target.shape, generator=generator) < 0.25] = IGNORED_ID
        made.append((logits, target))
    return made


def scores_of(metric: ConfusionMatrix) -> Scores:
    return Scores.from_confusion(metric.compute().numpy())


@pytest.mark.parametrize("num_classes", [2, 13, 47])
def test_scores_are_those_of_torchmetrics(num_classes: int) -> None:
    options = {"num_classes": num_classes, "ignore_index": IGNORED_ID, "validate_args": False}
    kinds = {
        "iou": MulticlassJaccardIndex,
        "f1": MulticlassF1Score,
        "precision": MulticlassPrecision,
        "recall": MulticlassRecall,
    }
    theirs = {name: kind(average="none", **options) for name, kind in kinds.items()}
    theirs["accuracy"] = MulticlassAccuracy(average="micro", **options)
    ours, by_numpy = ConfusionMatrix(num_classes), 0
    for logits, target in batches(num_classes):
        ours.update(logits, target)
        by_numpy += confusion_matrix(logits.argmax(1).numpy(), target.numpy(), num_classes)
        for metric in theirs.values():
            metric.update(logits, target.long())
    np.testing.assert_array_equal(ours.compute().numpy(), by_numpy)
    scores = scores_of(ours)
    for name, metric in theirs.items():
        np.testing.assert_allclose(getattr(scores, name), metric.compute().numpy(), rtol=1e-6, err_msg=name)
    assert scores.mean_iou == pytest.approx(float(theirs["iou"].compute().mean()), rel=1e-6)


def test_logits_and_class_ids_give_the_same() -> None:
    ((logits, target),) = batches(13, count=1)
    from_logits, from_ids = ConfusionMatrix(13), ConfusionMatrix(13)
    from_logits.update(logits, target)
    from_ids.update(logits.argmax(dim=1).to(torch.uint8), target.long())
    assert torch.equal(from_logits.compute(), from_ids.compute())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_of_equal_logits_the_lowest_class_wins(memory_format: torch.memory_format) -> None:
    logits = torch.randint(0, 3, (2, 13, 40, 40)).float().contiguous(memory_format=memory_format)
    expected = torch.from_numpy(np.argmax(logits.numpy(), axis=1))
    assert torch.equal(predicted_classes(logits), expected)


def test_padding_is_not_counted() -> None:
    metric = ConfusionMatrix(3)
    target = torch.tensor([[[0, 1, IGNORED_ID, IGNORED_ID]]], dtype=torch.uint8)
    metric.update(torch.tensor([[[0, 2, 2, 0]]]), target)
    assert metric.compute().tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_counts_beyond_float32_stay_exact() -> None:
    metric = ConfusionMatrix(2)
    metric.matrix += 2**24
    metric.update(torch.zeros(1, 1, 1, dtype=torch.int64), torch.zeros(1, 1, 1, dtype=torch.uint8))
    assert metric.compute()[0, 0] == 2**24 + 1


def test_matrices_of_processes_are_summed() -> None:
    alone, first, rest = (ConfusionMatrix(13) for _ in range(3))
    for number, (logits, target) in enumerate(batches(13)):
        for metric in (alone, rest if number else first):
            metric.update(logits, target)
    first.merge_state(rest)
    assert torch.equal(first.compute(), alone.compute())
