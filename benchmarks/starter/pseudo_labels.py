"""Adds photos without masks to a data set: a model guesses their masks, and tags say which classes it may find.

    uv run python benchmarks/starter/pseudo_labels.py TEACHER splits/all PHOTOS TAGS.json splits/more --total 1820

writes a data set of links that validates on the same photos and trains on three kinds:

- those of the old one, as they are;
- those that show a class which few of them show, once more or several times (repeat factor sampling of Gupta, Dollár
  and Girshick, LVIS, CVPR 2019: a class of a share f of the photos has its photos seen the square root of t / f times);
- those of PHOTOS that TAGS.json names, {"a.jpg": ["upperbody", …]}, with the likeliest of the tagged classes and the
  background at each pixel. A pixel where the teacher is unsure, or sure of a class that no tag names, teaches nothing.

It says in guesses.json what it did, for keep.py. With --check it instead scores the teacher on the photos that it must
not have learnt from, those that the data set validates on: what it finds by itself, and with the tags of their masks.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from split import Pair, link

import clothseg
from clothseg import Predictor
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.encoding import encode_png
from clothseg.labels import BACKGROUND_ID, IGNORED_ID
from clothseg.pictures import read_mask, write_whole
from clothseg.scores import Scores, confusion_matrix
from clothseg.transforms import logits_to_mask

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]

SURE = 0.6
"""Least probability, among the tagged classes, of a class that is taken for true."""
CONTRADICTS = 0.9
"""Probability, among all classes, from which one that no tag names makes the tags doubtful there."""
FREQUENT = 0.1
"""Share of the photos from which a class is not rare: t of repeat factor sampling."""
MOST_REPEATS = 4


def guessed_mask(logits: Float32Array, size: tuple[int, int], allowed: Sequence[int]) -> UInt8Array:
    """Return the likeliest of the `allowed` classes at each pixel, (H, W) uint8, and `IGNORED_ID` where it is unsure.

    Args:
        logits: (C, h, w) float32 of the photo.
        size: (height, width) of the photo.
        allowed: class ids that the photo may show; the background among them.
    """
    is_barred = np.ones(len(logits), bool)
    is_barred[list(allowed)] = False
    among_all = _softmax(logits)
    barred = np.where(is_barred[:, None, None], -np.inf, logits).astype(np.float32)
    doubt = among_all[is_barred].max(axis=0, initial=0) > CONTRADICTS
    doubt |= _softmax(barred).max(axis=0) < SURE
    mask = logits_to_mask(np.where(is_barred[:, None, None], np.float32(-1e4), logits), size)
    enlarged = cv2.resize(doubt.astype(np.uint8), size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.where(enlarged > 0, np.uint8(IGNORED_ID), mask)


def repeats(found: Sequence[Pair], num_classes: int) -> list[int]:
    """Return how many times more than once each photo is seen, as it shows rare classes."""
    shown = np.array([np.bincount(read_mask(mask).ravel(), minlength=num_classes) > 0 for _, mask in found])
    share = shown.mean(axis=0)
    factor = np.sqrt(FREQUENT / np.maximum(share, FREQUENT / MOST_REPEATS**2))
    return [max(0, math.ceil((row * factor).max()) - 1) for row in shown]


def guess(predictor: Predictor, photos: Path, tags: Path, folder: Path, *, known: Collection[str]) -> list[Pair]:
    """Write a mask into `folder` for each photo that `tags` names, and return the pairs, the surest first.

    A photo whose name is `known` is passed over: its mask needs no guess, or must not be learnt from.
    """
    classes = predictor.description.classes
    folder.mkdir(parents=True)
    found: list[tuple[float, Pair]] = []
    for name, tagged in sorted(json.loads(tags.read_text(encoding="utf-8")).items()):
        if name in known:
            continue
        allowed = [BACKGROUND_ID, *(classes.names.index(tag) for tag in tagged)]
        segmentation = predictor.predict(photos / name)
        mask = guessed_mask(segmentation.logits, segmentation.mask.shape, allowed)
        path = (folder / name).with_suffix(".png")
        write_whole(path, encode_png(mask))
        found.append((float((mask == IGNORED_ID).mean()), (photos / name, path)))
    return [pair for _, pair in sorted(found)]


def check(predictor: Predictor, found: Sequence[Pair], num_classes: int) -> dict[str, Any]:
    """Return mean IoU and IoU of each class, of the teacher alone and with tags, and the share of pixels left out."""
    alone, tagged = np.zeros((2, num_classes, num_classes), np.int64)
    unsure = []
    for photo, mask_path in found:
        truth, segmentation = read_mask(mask_path), predictor.predict(photo)
        guessed = guessed_mask(segmentation.logits, truth.shape, np.unique(truth[truth != IGNORED_ID]).tolist())
        is_unsure = guessed == IGNORED_ID
        unsure.append(float(is_unsure.mean()))
        alone += confusion_matrix(segmentation.mask, truth, num_classes)
        counted = np.where(is_unsure, np.uint8(IGNORED_ID), truth)
        tagged += confusion_matrix(np.where(is_unsure, np.uint8(0), guessed), counted, num_classes)
    names = predictor.description.classes.names
    scores = {name: Scores.from_confusion(one, names) for name, one in (("alone", alone), ("with_tags", tagged))}
    shown = {
        name: {"mean": one.mean_iou} | {key: float(iou) for key, iou in zip(names, one.iou, strict=True) if iou == iou}
        for name, one in scores.items()
    }
    return {"photos": len(found), "iou": shown, "unsure": float(np.mean(unsure))}


def main() -> int:
    """Write the data set, or check the teacher."""
    parser = argparse.ArgumentParser(description="Add photos with guessed masks, and repeats of rare classes.")
    parser.add_argument("teacher", type=Path, help="model file that guesses the masks")
    parser.add_argument("data_path", type=Path, help="data set to add to, such as splits/all")
    parser.add_argument("photos", type=Path, help="folder of the photos without masks")
    parser.add_argument("tags", type=Path, help="JSON file: file name to the classes that the photo shows")
    parser.add_argument("output", type=Path, help="folder of the new data set; must not exist")
    parser.add_argument(
        "--check", action="store_true", help="write no data set: score the teacher, alone and with tags"
    )
    parser.add_argument("--leave-out", nargs="*", default=[], help="file names of PHOTOS to pass over")
    parser.add_argument("--total", type=int, help="photos to train on, repeats counted; the least sure are left out")
    arguments = parser.parse_args()
    folder = arguments.data_path / DATASET_FOLDER
    manifest = Manifest.read(folder)
    num_classes = len(manifest.classes)
    found = pairs(folder, manifest.splits["train"])
    target = arguments.output / DATASET_FOLDER
    predictor = clothseg.load(arguments.teacher, passes=clothseg.Passes(flip=True))
    held_out = pairs(folder, manifest.splits["val"])
    if arguments.check:
        print(json.dumps(check(predictor, held_out, num_classes)))
        return 0
    known = {photo.name for photo, _ in [*found, *held_out]} | set(arguments.leave_out)
    guessed = guess(predictor, arguments.photos, arguments.tags, target / "guessed_masks", known=known)
    again = [pair for pair, times in zip(found, repeats(found, num_classes), strict=True) for _ in range(times)]
    if arguments.total is not None:
        guessed = guessed[: max(0, arguments.total - len(found) - len(again))]
    splits = {
        "train": link([*found, *again, *guessed], target, "train", num_classes),
        "val": link(held_out, target, "val", num_classes),
    }
    replace(manifest, splits=splits).write(target)
    model = predictor.model
    facts = {"labelled": len(found), "guessed": len(guessed)}
    facts["left_out"] = len(known & {path.name for path in arguments.photos.iterdir()})
    facts["teacher"] = f"This teacher is {model['name']}, SHA-256 {model['sha256'][:16]}…."
    facts["repeats"] = f"{len(again)} photos of an epoch are seen again, as they show classes that few do."
    write_whole(arguments.output / "guesses.json", json.dumps(facts).encode())
    print(f"{arguments.output}: {len(found)} photos, {len(again)} repeats, {len(guessed)} with guessed masks")
    return 0


def _softmax(logits: Float32Array) -> Float32Array:
    powers = np.exp(logits - logits.max(axis=0))
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)


if __name__ == "__main__":
    raise SystemExit(main())
