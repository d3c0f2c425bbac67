"""`clothseg preview` and `loader.py`: saves pictures of a prepared dataset, plain and augmented, and its card."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clothseg.data.augmentation import Strength, augment, draw_augmentation, letterbox
from clothseg.data.card import card_page, collect_card
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs, spread, stem_of
from clothseg.data.pair import read_pair
from clothseg.drawing import classes_in, color_mask, legend, overlay, side_by_side, with_legend
from clothseg.encoding import encode_jpeg
from clothseg.errors import DataError, SettingError, command
from clothseg.labels import BACKGROUND_ID, ClassList
from clothseg.pictures import write_whole
from clothseg.progress import show_step
from clothseg.settings import CropSize
from clothseg.transforms import Letterbox, resize_image, resize_mask
from clothseg.types import UInt8Array

LARGEST_SIDE = 900
"""Pixels; larger photos are shown smaller."""
VARIANTS = 6
"""Epochs of which the picture of augmented samples shows each photo."""
VARIANT_SIDE = 256
CARD_NAME = "dataset_card.html"


@dataclass(frozen=True)
class Preview:
    """Save pictures of what training will see, and a page about the dataset.

    Args:
        data_path: Folder of the prepared dataset.
        output: Folder of the pictures.
        count: Photos of each split, spread evenly over it.
        img_size: Longer side of a photo as validation shows it, in pixels.
        crop_size: Side of the augmented samples in pixels, or height and width; none takes img_size.
        seed: Seed of the augmented samples, as in training.
    """

    data_path: Path = Path("data")
    output: Path = Path("visualized_samples")
    count: int = 4
    img_size: int = 512
    crop_size: CropSize | None = None
    seed: int = 42

    def run(self) -> int:
        """Save pictures and card; print their paths."""
        written = self.save_pictures()
        card_path = self.output / CARD_NAME
        card = collect_card(self.data_path / DATASET_FOLDER, steps=show_step)
        write_whole(card_path, card_page(card).encode())
        for path in (*written, card_path):
            print(path)
        print(f"Saved {len(written)} pictures. Open {card_path} to see what the dataset contains.", file=sys.stderr)
        return 0

    def save_pictures(self) -> list[Path]:
        """Save pictures of samples of each split, and one of augmented training samples; return their paths.

        Raises:
            SettingError: `count` is below 1, or `output` is in the dataset.
            DataError: the dataset is damaged or empty; a broken photo or mask is named.
            MachineError: `output` cannot be written.
        """
        folder = self.data_path / DATASET_FOLDER
        if self.count < 1:
            raise SettingError(f"--count is {self.count}. Allowed: a whole number from 1 up")
        manifest = Manifest.read(folder)
        if self.output.resolve().is_relative_to(folder.resolve()):
            where = f"--output {self.output} is in the dataset {folder}"
            raise SettingError(f"{where}, among its photos. Pass another folder")
        written = []
        for name, split in manifest.splits.items():
            found = pairs(folder, split)
            if not found:
                raise DataError(f'The dataset in {folder} has no photos in "{name}". Run "{command("prepare")}" again')
            chosen = spread(range(len(found)), self.count)
            for number, (photo_path, mask_path) in enumerate((found[index] for index in chosen), start=1):
                stem = stem_of(photo_path.relative_to(folder / split.photos).as_posix()).replace("/", "_")
                image, mask = read_pair(photo_path, mask_path, num_classes=len(manifest.classes))
                short = os.fsencode(stem)[:80].decode(errors="ignore")  # a name ends at 255 bytes
                written.append(self.output / f"{name}_{number:02}_{short}.jpg")
                write_whole(written[-1], encode_jpeg(draw_sample(image, mask, manifest.classes)))
            if name == "train":
                written.append(self.output / "train_augmented.jpg")
                write_whole(written[-1], encode_jpeg(self.draw_augmented(found, chosen, manifest.classes)))
        return written

    def draw_augmented(
        self, found: Sequence[tuple[Path, Path]], indices: Sequence[int], classes: ClassList
    ) -> UInt8Array:
        """Return a grid of training samples: two rows for a photo, plain and with its mask, a column for an epoch.

        The first column has the sample as validation would see it. The photos are those of the training split, given
        as (photo, mask) paths, at `indices`.
        """
        rows = []
        named: set[int] = set()
        for index in indices:
            image, mask = read_pair(*found[index], num_classes=len(classes))
            samples = [letterbox(image, mask, self.img_size)]
            for epoch in range(VARIANTS - 1):
                rng = np.random.default_rng([self.seed, epoch, index])
                drawn = draw_augmentation(rng, mask.shape, self.img_size, Strength(), self.crop_size)
                samples.append(augment(image, mask, drawn))
            shown = [letterbox(*sample, VARIANT_SIDE) for sample in samples]
            rows.append(side_by_side(*(sample for sample, _ in shown), gap=4))
            rows.append(side_by_side(*(overlay(sample, target, classes) for sample, target in shown), gap=4))
            named.update(classes_in(mask))
        return side_by_side(np.concatenate(rows), legend(classes, sorted(named), height=2 * VARIANT_SIDE))


def draw_sample(image: UInt8Array, mask: UInt8Array, classes: ClassList) -> UInt8Array:
    """Return photo, (H, W, 3) uint8 RGB, mask in colour and overlay side by side, with the names of the classes.

    The mask is (H, W) uint8, class ids.
    """
    height, width = mask.shape
    size = Letterbox.fit(height, width, min(LARGEST_SIDE, max(height, width))).scaled_size
    named = [BACKGROUND_ID, *classes_in(mask)]
    shares = np.bincount(mask.ravel(), minlength=len(classes)) / mask.size
    image, mask = resize_image(image, size), resize_mask(mask, size)
    views = side_by_side(image, color_mask(mask, classes), overlay(image, mask, classes))
    return with_legend(views, classes, named, shares={one: float(shares[one]) for one in named})
