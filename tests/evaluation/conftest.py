import json

import numpy as np
import pytest

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.labels import ClassList, ClothingClass

CLASSES = ClassList(
    (
        ClothingClass("background", (0, 0, 0)),
        ClothingClass("dress", (230, 25, 75)),
        ClothingClass("shoe", (170, 110, 40)),
        ClothingClass("hat", (145, 30, 180)),
    )
)


def truth_of(seed, size=(60, 48)):
    """A dress, often a pair of shoes, never a hat: (H, W) uint8."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    top, left = rng.integers(2, 12, 2)
    mask[top : top + 30, left : left + 20] = 1
    if seed % 3:
        mask[48:54, 6:14] = mask[48:54, 24:32] = 2
    return mask


def shifted(mask, by):
    return np.roll(mask, by, axis=1)


@pytest.fixture
def make_data(tmp_path):
    """Writes a prepared dataset of masks by photo name, and returns its DATA_PATH."""

    def make(masks, classes=CLASSES, name="data"):
        folder = tmp_path / name / DATASET_FOLDER
        for stem, mask in masks.items():
            photo, path = folder / "test" / f"{stem}.jpg", folder / "val_masks" / f"{stem}.png"
            for one in (photo, path):
                one.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(encode_jpeg(classes.palette[np.minimum(mask, len(classes) - 1)], 95))
            path.write_bytes(encode_png(mask, palette=classes.palette))
        zeros = (0,) * len(classes)
        split = Split("test", "val_masks", len(masks), zeros, zeros)
        Manifest("Small", "a test", None, classes, {"val": split}).write(folder)
        return tmp_path / name

    return make


@pytest.fixture
def write_masks(tmp_path):
    """Writes index masks by stem into a folder and returns it."""

    def write(masks, name="masks", ending=".png"):
        folder = tmp_path / name
        for stem, mask in masks.items():
            path = folder / f"{stem}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(mask))
        return folder

    return write


def read_json(folder, name="evaluation.json"):
    return json.loads((folder / name).read_text())
