import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from clothseg.data.augmentation import Strength
from clothseg.data.dataset import ClothDataset, collate, start_worker
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.pair import FilePairs
from clothseg.errors import DataError
from clothseg.labels import IGNORED_ID
from clothseg.pictures import read_mask, read_picture
from clothseg.transforms import Letterbox

SIZE = 64


def dataset(
    prepared_path: Path, *, split_name: str = "train", num_classes: int = 13, **options: object
) -> ClothDataset:
    folder = prepared_path / DATASET_FOLDER
    split = Manifest.read(folder).splits[split_name]
    found = FilePairs(pairs(folder, split), folder / split.photos, num_classes=num_classes)
    return ClothDataset(found, img_size=SIZE, **options)


def test_validation_samples_are_letterboxed_photos(prepared_path: Path) -> None:
    samples = dataset(prepared_path, split_name="val")
    folder = prepared_path / DATASET_FOLDER
    assert [samples[index]["name"] for index in range(len(samples))] == ["street_07", "street_08", "street_09"]
    for index in range(len(samples)):
        sample = samples[index]
        name = sample["name"]
        image = read_picture(folder / "test" / f"{name}.jpg").pixels
        box = Letterbox.fit(*image.shape[:2], SIZE, square=True)
        assert sample["image"].shape == (3, SIZE, SIZE)
        assert sample["image"].dtype == sample["mask"].dtype == torch.uint8
        assert np.abs(sample["image"].permute(1, 2, 0).numpy().astype(int) - box.image(image)).max() <= 1
        assert np.array_equal(sample["mask"].numpy(), box.mask(read_mask(folder / "val_masks" / f"{name}.png")))


def test_a_training_sample_is_a_function_of_seed_epoch_and_index(prepared_path: Path) -> None:
    one, other = (dataset(prepared_path, strength=Strength(), seed=7) for _ in range(2))
    for index in (6, 0, 3):
        first, again = one[(4, index)], other[(4, index)]
        assert torch.equal(first["image"], again["image"])
        assert torch.equal(first["mask"], again["mask"])
    assert torch.equal(one[2]["image"], one[(0, 2)]["image"])
    assert not torch.equal(one[(1, 2)]["image"], one[(0, 2)]["image"])
    differently_seeded = dataset(prepared_path, strength=Strength(), seed=8)
    assert not torch.equal(one[(1, 2)]["image"], differently_seeded[(1, 2)]["image"])


def test_masks_contain_ids_and_padding_only(prepared_path: Path) -> None:
    samples = dataset(prepared_path, strength=Strength())
    seen: set[int] = set()
    for epoch in range(3):
        for index in range(len(samples)):
            seen |= set(samples[(epoch, index)]["mask"].unique().tolist())
    assert seen == {0, 2, 10, IGNORED_ID}


def test_a_batch_has_its_samples_in_channels_last_memory(prepared_path: Path) -> None:
    samples = dataset(prepared_path, strength=Strength())
    parts = [samples[(2, index)] for index in range(3)]
    batch = collate(parts)
    assert batch["image"].shape == (3, 3, SIZE, SIZE)
    assert batch["image"].is_contiguous(memory_format=torch.channels_last)
    assert batch["mask"].shape == (3, SIZE, SIZE)
    assert batch["name"] == ["street_00", "street_01", "street_02"]
    for number, part in enumerate(parts):
        assert torch.equal(batch["image"][number], part["image"])
        assert torch.equal(batch["mask"][number], part["mask"])


def test_a_pair_that_does_not_fit_is_named(prepared_path: Path) -> None:
    samples = dataset(prepared_path, num_classes=10)
    with pytest.raises(DataError, match=r"street_01\.png has class id 10"):
        samples[(0, 1)]


def test_names_keep_sub_folders(prepared_path: Path) -> None:
    folder = prepared_path / DATASET_FOLDER
    for kind, suffix in (("train", ".jpg"), ("train_masks", ".png")):
        (folder / kind / "a b").mkdir()
        (folder / kind / f"street_03{suffix}").rename(folder / kind / "a b" / f"street.3{suffix}")
    assert "a b/street.3" in [sample["name"] for sample in dataset(prepared_path).__getitems__(range(7))]


def test_starting_a_worker_twice_does_no_harm() -> None:
    start_worker(0)
    start_worker(1)


PAGE_FAULTS = """
import resource, sys
import numpy as np
from clothseg.data.dataset import LARGEST_TRIM_THRESHOLD, set_trim_threshold

def use():
    buffers = [np.ones(20 << 20, np.uint8) for _ in range(10)]

if sys.argv[1] == "kept":
    set_trim_threshold(LARGEST_TRIM_THRESHOLD)
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is configured to reuse memory")
def test_buffers_that_were_freed_cost_no_page_faults_again():
    faults = {
        word: int(subprocess.run([sys.executable, "-c", PAGE_FAULTS, word], capture_output=True, check=True).stdout)
        for word in ("kept", "as usual")
    }
    assert faults["kept"] < 100
    assert faults["as usual"] > 1000
