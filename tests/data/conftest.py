"""A tiny prepared dataset and a tiny mirror, drawn here."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.labels import GROUPS
from clothseg.pictures import write_whole
from tests.data.small_mirror import write_mirror

SIZES = ((90, 60), (60, 96), (120, 80), (64, 64), (200, 50), (33, 47), (80, 80))


def draw_pair(number: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a smooth photo, (H, W, 3) uint8 RGB, and a mask of two garments, (H, W) uint8."""
    rng = np.random.default_rng(number)
    height, width = size
    noise = rng.integers(0, 256, size=(4, 4, 3), dtype=np.uint8)
    image = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros(size, dtype=np.uint8)
    mask[height // 8 : height // 2, width // 4 : width * 3 // 4] = 2
    mask[height // 2 : height * 3 // 4, width // 3 : width * 2 // 3] = 10
    return image, mask


def write_split(folder: Path, photos: str, masks: str, numbers: range) -> Split:
    """Write one pair for each number; return what a manifest says of them."""
    pixels = np.zeros(len(GROUPS), dtype=int)
    shown = np.zeros(len(GROUPS), dtype=int)
    for number in numbers:
        image, mask = draw_pair(number, SIZES[number % len(SIZES)])
        write_whole(folder / photos / f"street_{number:02}.jpg", encode_jpeg(image, 95))
        write_whole(folder / masks / f"street_{number:02}.png", encode_png(mask))
        counts = np.bincount(mask.ravel(), minlength=len(GROUPS))
        pixels += counts
        shown += counts > 0
    return Split(photos, masks, len(numbers), tuple(pixels.tolist()), tuple(shown.tolist()))


@pytest.fixture
def prepared_path(tmp_path: Path) -> Path:
    """DATA_PATH with a prepared dataset of 7 training and 3 validation photos."""
    folder = tmp_path / "data" / DATASET_FOLDER
    splits = {
        "train": write_split(folder, "train", "train_masks", range(7)),
        "val": write_split(folder, "test", "val_masks", range(7, 10)),
    }
    Manifest("drawn for a test", "tests/data/conftest.py", "Apache-2.0", GROUPS, splits).write(folder)
    return folder.parent


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each test the wait for all that other programs are writing to the disk."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / "fashionist" / "train2020.zip"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    write_mirror(folder)
    return folder
