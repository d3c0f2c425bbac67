"""Splits the training photos by the list in tune.txt, so that no choice uses the validation photos.

    uv run python benchmarks/starter/split.py data splits

writes three datasets of links to the photos and masks of a prepared one:

- splits/fit: trains on the photos that tune.txt does not name, validates on those it names. Every choice is made here.
- splits/all: trains on both parts; for the last training. It validates on a few photos of the training, which shows
  only that the training runs.
- splits/val: the official validation photos, on which `clothseg evaluate` scores the model once.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split, pairs
from clothseg.pictures import read_mask

TUNE = Path(__file__).with_name("tune.txt")
WATCHED = 20
Pair = tuple[Path, Path]


def link(found: Sequence[Pair], folder: Path, name: str, num_classes: int) -> Split:
    """Link photos and masks into `folder` and return the split they make; a repeated photo gets another name."""
    pixels, photos = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    seen: Counter[Path] = Counter()
    for photo, mask in found:
        seen[photo] += 1
        stem = photo.stem if seen[photo] == 1 else f"{photo.stem}-{seen[photo]}"
        for source, kind in ((photo, name), (mask, f"{name}_masks")):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / f"{stem}{source.suffix}").symlink_to(source.resolve())
        here = np.bincount(read_mask(mask).ravel(), minlength=num_classes)[:num_classes]  # the ignored value is larger
        pixels += here
        photos += here > 0
    return Split(name, f"{name}_masks", len(found), tuple(pixels.tolist()), tuple(photos.tolist()))


def main() -> int:
    """Write the datasets."""
    parser = argparse.ArgumentParser(description="Split the training photos into a fit and a tune part.")
    parser.add_argument("data_path", type=Path, help="folder of the prepared dataset")
    parser.add_argument("output", type=Path, help="folder of the new ones; must not exist")
    for name, kind in (("name", "what the data is called"), ("source", "where it is from"), ("licence", "its terms")):
        parser.add_argument(f"--{name}", help=f"{kind}, for the model file; that of the prepared dataset by default")
    arguments = parser.parse_args()
    words = {name: value for name in ("name", "source", "licence") if (value := getattr(arguments, name))}
    folder = arguments.data_path / DATASET_FOLDER
    manifest = Manifest.read(folder)
    found = pairs(folder, manifest.splits["train"])
    named = set(TUNE.read_text().split())
    missing = named - {photo.name for photo, _ in found}
    if missing:
        raise SystemExit(f"Error: {len(missing)} photos of {TUNE} are not in {folder}, such as {min(missing)}")
    tune = [pair for pair in found if pair[0].name in named]
    fit = [pair for pair in found if pair[0].name not in named]
    official = pairs(folder, manifest.splits["val"])
    for name, train, val in (("fit", fit, tune), ("all", found, tune[:WATCHED]), ("val", [], official)):
        target = arguments.output / name / DATASET_FOLDER
        target.mkdir(parents=True)
        splits = {
            "train": link(train, target, "train", len(manifest.classes)),
            "val": link(val, target, "val", len(manifest.classes)),
        }
        replace(manifest, splits=splits, **words).write(target)
        print(f"{target.parent}: {len(train)} photos to train on, {len(val)} to validate on")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
