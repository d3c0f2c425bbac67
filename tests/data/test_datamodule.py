import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clothseg.data.datamodule import HEAVIEST, ClothSegmentationData, balanced_weights
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.encoding import encode_png
from clothseg.errors import DataError, MachineError, MissingInputError
from clothseg.labels import GROUPS

SIZE = 64


def batches_of(loader: Any) -> list[tuple[list[str], torch.Tensor, torch.Tensor]]:
    return [(batch["name"], batch["image"], batch["mask"]) for batch in loader]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert [names for names, _, _ in one] == [names for names, _, _ in other]
    for (_, image, mask), (_, other_image, other_mask) in zip(one, other, strict=True):
        assert torch.equal(image, other_image)
        assert torch.equal(mask, other_mask)


def data_of(prepared_path: Path, **options: Any) -> ClothSegmentationData:
    return ClothSegmentationData(prepared_path, **{"img_size": SIZE, "batch_size": 2, "num_workers": 0, **options})


def test_classes_and_manifest_are_there_at_once(prepared_path: Path) -> None:
    data = data_of(prepared_path)
    assert data.classes == GROUPS
    assert data.manifest.splits["train"].count == len(data.train_dataset) == 7
    assert len(data.val_dataset) == 3
    assert data.class_weights(0.5) == balanced_weights(data.manifest.splits["train"].pixels_per_class, 0.5)


def test_an_epoch_is_batches_of_every_photo(prepared_path: Path) -> None:
    data = data_of(prepared_path, batch_size=3)
    train, val = batches_of(data.train_dataloader()), batches_of(data.val_dataloader())
    assert [len(names) for names, _, _ in train] == [3, 3], "a last batch of one photo is left out of training"
    assert [names for names, _, _ in val] == [["street_07", "street_08", "street_09"]]
    assert train[0][1].shape == (3, 3, SIZE, SIZE)
    assert train[0][1].dtype == train[0][2].dtype == torch.uint8
    assert len(data.train_dataloader()) == 2


def test_workers_change_nothing_in_any_epoch(prepared_path: Path) -> None:
    alone, helped = (data_of(prepared_path, num_workers=number) for number in (0, 2))
    loaders = alone.train_dataloader(), helped.train_dataloader()
    for epoch in (0, 1, 5):
        for data in (alone, helped):
            data.train_sampler.set_epoch(epoch)
        assert_equal(*(batches_of(loader) for loader in loaders))
    assert_equal(batches_of(alone.val_dataloader()), batches_of(helped.val_dataloader()))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_epoch_resumes_at_its_state(prepared_path: Path, num_workers: int) -> None:
    whole = data_of(prepared_path)
    whole.train_sampler.set_epoch(3)
    expected = batches_of(whole.train_dataloader())

    interrupted = data_of(prepared_path, num_workers=num_workers)
    interrupted.train_sampler.set_epoch(3)
    loader = interrupted.train_dataloader()
    iterator = iter(loader)
    seen = [next(iterator) for _ in range(2)]
    state = json.loads(json.dumps(loader.state_dict()))
    assert state == {"epoch": 3, "batches_done": 2}

    resumed = data_of(prepared_path, num_workers=num_workers)
    loader = resumed.train_dataloader()
    loader.load_state_dict(state)
    resumed.train_sampler.set_epoch(3)
    rest = batches_of(loader)
    assert_equal([(one["name"], one["image"], one["mask"]) for one in seen] + rest, expected)
    assert loader.state_dict() == {"epoch": 3, "batches_done": len(expected)}
    resumed.train_sampler.set_epoch(4)
    assert len(batches_of(loader)) == len(loader)


def test_the_state_of_a_finished_epoch_leaves_the_next_one_whole(prepared_path: Path) -> None:
    data = data_of(prepared_path)
    loader = data.train_dataloader()
    batches_of(loader)
    state = loader.state_dict()
    loader.load_state_dict(state)
    data.train_sampler.set_epoch(1)
    assert len(batches_of(loader)) == len(loader)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_in_a_worker_reads_as_one_without(prepared_path: Path, num_workers: int) -> None:
    path = prepared_path / DATASET_FOLDER / "val_masks" / "street_08.png"
    path.write_bytes(encode_png(torch.full((90, 60), 200, dtype=torch.uint8).numpy()))
    path.with_name("street_09.png").unlink()
    data = data_of(prepared_path, num_workers=num_workers)
    with pytest.raises(DataError) as caught:
        batches_of(data.val_dataloader())
    assert str(caught.value).startswith(f"Mask {path} ")
    assert "Traceback" not in str(caught.value)
    path = prepared_path / DATASET_FOLDER / "test" / "street_07.jpg"
    data = data_of(prepared_path, num_workers=num_workers)
    path.unlink()
    with pytest.raises(MissingInputError) as caught:
        batches_of(data.val_dataloader())
    assert str(caught.value) == f'Photo or mask not found: {path}. Run "uv run data_prep.py" again'


def test_without_a_prepared_data_set_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match=r"data_prep\.py"):
        data_of(tmp_path)


def test_an_empty_split_is_refused(prepared_path: Path) -> None:
    for path in (prepared_path / DATASET_FOLDER / "val_masks").iterdir():
        path.unlink()
    with pytest.raises(DataError, match='"val"'):
        data_of(prepared_path)


def test_without_augmentation_training_samples_are_those_of_validation(prepared_path: Path) -> None:
    data = data_of(prepared_path, augment=False)
    first, again = (data.train_dataset[(epoch, 3)]["image"] for epoch in (0, 1))
    assert torch.equal(first, again)


def test_a_failure_in_a_worker_is_reported_in_a_line(prepared_path: Path) -> None:
    data = data_of(prepared_path, num_workers=1)
    for error, kind, message in (
        (RuntimeError("unable to write to file </torch_7_8>: No space left on device (28)"), MachineError, "/dev/shm"),
        (OSError(24, "Too many open files"), MachineError, "Too many open files. Set NUM_WORKERS 0"),
        (KeyError("street\nname"), MachineError, "KeyError"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "odd"), MachineError, "odd"),
        (MemoryError("no more"), MemoryError, "no more"),
    ):

        def fail(index: int, error: Exception = error) -> None:
            raise error

        data.val_dataset.pairs.read = fail  # type: ignore[method-assign]
        with pytest.raises(kind) as caught:
            batches_of(data.val_dataloader())
        assert message in str(caught.value)
        assert "Traceback" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_a_worker_killed_while_it_hands_over_a_batch_is_named_as_torch_names_it(prepared_path, monkeypatch):
    def hand_over_nothing(loader):
        raise ConnectionResetError(104, "Connection reset by peer")

    for num_workers, kind, message in ((1, RuntimeError, "DataLoader worker is gone"), (0, ConnectionError, "reset")):
        loader = data_of(prepared_path, num_workers=num_workers).val_dataloader()
        monkeypatch.setattr(type(loader), "_start", hand_over_nothing)
        with pytest.raises(kind, match=message):
            next(iter(loader))


PIXELS = (813, 0, 53, 2, 13, 0, 1, 0, 1, 15, 48, 1, 54)


def test_rare_classes_count_more_as_balance_says_up_to_a_limit() -> None:
    assert balanced_weights(PIXELS, 0) == (1.0,) * len(PIXELS)
    assert balanced_weights([0, 0], 0.5) == (1.0, 1.0)
    assert np.array(balanced_weights([600, 300, 100], 1)) * [600, 300, 100] == pytest.approx(1000 / 3)
    weights, present = np.array(balanced_weights(PIXELS, 0.5)), np.array(PIXELS) > 0
    order = np.argsort(np.array(PIXELS)[present], kind="stable")
    assert (np.diff(weights[present][order]) <= 0).all()
    assert weights.max() <= HEAVIEST
    assert (weights[~present] == 1).all()
    mild = np.array(balanced_weights(PIXELS, 0.3))
    assert (mild * PIXELS).sum() / sum(PIXELS) == pytest.approx(1), "the average pixel counts one"
