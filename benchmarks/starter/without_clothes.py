"""Measures how much a model calls clothes where there are none: backgrounds cut out of photos, and drawn textures.

    uv run python benchmarks/starter/without_clothes.py MODEL splits/fit

prints, for each kind, the mean share of the pixels that got a garment's class, and how many of the pictures have more
than a tenth of them. Backgrounds are the widest strips beside, above and below the clothes of the validation photos;
people behind the main person are not labelled and can be in them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import clothseg
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.pictures import read_mask, read_picture

UInt8Array = npt.NDArray[np.uint8]
LEAST_SIDE = 160
"""Of a strip, in pixels."""
ABOVE = 0.1


def backgrounds(data_path: Path) -> Iterator[UInt8Array]:
    """Yield the strips, (h, w, 3) uint8 RGB, of each validation photo."""
    folder = data_path / DATASET_FOLDER
    for photo, mask_path in pairs(folder, Manifest.read(folder).splits["val"]):
        image, rows, columns = read_picture(photo).pixels, *np.nonzero(read_mask(mask_path))
        if len(rows):
            strips = (
                image[:, : columns.min()],
                image[:, columns.max() + 1 :],
                image[: rows.min()],
                image[rows.max() + 1 :],
            )
            yield from (np.ascontiguousarray(one) for one in strips if min(one.shape[:2]) >= LEAST_SIDE)


def textures(count: int = 60) -> Iterator[UInt8Array]:
    """Yield drawn noise at several scales, stripes and checks, (600, 400, 3) uint8 RGB."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:600, :400]
    for _ in range(count):
        field = np.zeros((600, 400, 3))
        for cells in rng.choice([3, 6, 12, 25, 50, 100, 200], 3, replace=False):
            noise = rng.normal(size=(int(cells) * 3 // 2, int(cells), 3))
            field += rng.uniform(0, 60) * cv2.resize(noise, (400, 600), interpolation=cv2.INTER_CUBIC)
        angle, length = rng.uniform(0, np.pi), rng.uniform(8, 120)
        wave = np.sign(np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length))
        field += (rng.random() < 0.5) * wave[..., None] * rng.uniform(-60, 60, 3)
        yield (field + rng.uniform(40, 215, 3)).clip(0, 255).astype(np.uint8)


def main() -> int:
    """Print one line for each kind."""
    parser = argparse.ArgumentParser(description="Clothes that a model finds where there are none.")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("data_path", type=Path, help="data set whose validation photos give the backgrounds")
    arguments = parser.parse_args()
    predictor = clothseg.load(arguments.model)
    for name, pictures in (("backgrounds", backgrounds(arguments.data_path)), ("drawn textures", textures())):
        shares = np.array([(predictor.predict(one).mask > 0).mean() for one in pictures])
        print(f"{name}: {len(shares)}, {shares.mean():.2%} of the pixels, {(shares > ABOVE).sum()} above {ABOVE:.0%}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
