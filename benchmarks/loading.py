"""Measures the samples per second and core of clothseg's loader against the plain torchvision v2 chain.

Run it on a prepared dataset: uv run python benchmarks/loading.py --data-path data
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from table import Row, heading, show
from torch.utils.data import default_collate
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from clothseg.data.augmentation import Strength
from clothseg.data.dataset import ClothDataset, collate, start_worker
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.pair import FilePairs
from clothseg.errors import ClothsegError
from clothseg.transforms import IMAGENET

SIZE = 512
BATCH_SIZE = 8
ROUNDS = 3
TARGETS = {"clothseg, uint8": 8, "clothseg, float32": 4}
PLAIN = "torchvision v2, float32"

PACKAGES = ("torch", "torchvision", "opencv-python-headless", "simplejpeg", "numpy")


def plain_chain(*, as_float: bool) -> v2.Compose:
    """Return the usual list of transforms, with the strengths that `Strength` has by default."""
    steps: list[Any] = [
        v2.RandomResizedCrop(SIZE, scale=(0.5, 1.0)),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomRotation(12),
        v2.RandomAffine(0, translate=(0.05, 0.05), shear=5),
        v2.ColorJitter(0.2, 0.2, 0.2, 0.05),
        v2.RandomGrayscale(0.1),
    ]
    if as_float:
        steps.append(v2.ToDtype({tv_tensors.Image: torch.float32, "others": None}, scale=True))
        steps.append(v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return v2.Compose(steps)


def plain_batch(found: list[tuple[Path, Path]], chain: v2.Compose) -> Any:
    """Load one batch the plain way."""
    samples = []
    for photo_path, mask_path in found:
        photo = tv_tensors.Image(decode_image(str(photo_path), mode=ImageReadMode.RGB))
        mask = tv_tensors.Mask(decode_image(str(mask_path), mode=ImageReadMode.UNCHANGED))
        samples.append(chain(photo, mask))
    return default_collate(samples)


def batch_loader(name: str, data_path: Path, samples: int) -> tuple[Callable[[range], Any], int]:
    """Return what loads the samples of some indices as one batch in the way called `name`, and how many there are."""
    folder = data_path / DATASET_FOLDER
    manifest = Manifest.read(folder)
    split = manifest.splits["train"]
    found = pairs(folder, split)[:samples]
    as_float = name.endswith("float32")
    if name.startswith("torchvision"):
        chain = plain_chain(as_float=as_float)
        return lambda indices: plain_batch([found[index] for index in indices], chain), len(found)
    dataset = ClothDataset(
        FilePairs(found, folder / split.photos, num_classes=len(manifest.classes)),
        img_size=SIZE,
        strength=Strength(),
    )

    def load(indices: range) -> Any:
        samples = [dataset[index] for index in indices]
        if as_float:
            for sample in samples:
                pixels = IMAGENET.apply(sample["image"].permute(1, 2, 0).numpy())
                sample["image"] = torch.from_numpy(pixels).permute(2, 0, 1)
        return collate(samples)

    start_worker()  # what the datamodule's loader processes start with
    return load, len(found)


def measure(name: str, data_path: Path, samples: int) -> float:
    """Return the seconds of processor time per sample on one thread; waiting for other programs does not count."""
    torch.set_num_threads(1)  # as in any loader process
    torch.manual_seed(0)
    load, count = batch_loader(name, data_path, samples)
    load(range(min(BATCH_SIZE, count)))
    start = time.process_time()
    for first in range(0, count, BATCH_SIZE):
        load(range(first, min(first + BATCH_SIZE, count)))
    return (time.process_time() - start) / count


def rows(data_path: Path, *, samples: int) -> list[Row]:
    """Measure every way in turn, each in a process of its own."""
    best = dict.fromkeys((PLAIN, *TARGETS), float("inf"))
    context = multiprocessing.get_context("spawn")
    try:
        for _ in range(ROUNDS):
            for name in best:
                with ProcessPoolExecutor(1, mp_context=context) as pool:
                    seconds = pool.submit(measure, name, data_path, samples).result()
                best[name] = min(best[name], seconds)
    except ClothsegError as error:
        raise SystemExit(f"Error: {error}") from error
    return [
        Row(
            f"sample at {SIZE} px, {PLAIN} | {name}",
            f"{best[PLAIN] * 1e3:.1f} ms, {1 / best[PLAIN]:.0f}/s",
            f"{best[name] * 1e3:.1f} ms, {1 / best[name]:.0f}/s",
            best[PLAIN] / best[name],
            f">= {target}",
            best[PLAIN] / best[name] >= target,
        )
        for name, target in TARGETS.items()
    ]


def main() -> int:
    """Measure, print one table, and return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Loader against the plain torchvision v2 chain, per core.")
    parser.add_argument("--data-path", type=Path, default=Path("data"), help="folder of the prepared dataset")
    parser.add_argument("--samples", type=int, default=80, help="photos per round")
    arguments = parser.parse_args()
    measured = rows(arguments.data_path, samples=arguments.samples)
    return show(heading(f"Loading at {SIZE} px, one thread, batches of {BATCH_SIZE}", PACKAGES), measured)


if __name__ == "__main__":
    raise SystemExit(main())
