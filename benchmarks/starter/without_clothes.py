"""Photos without clothes, and photos unlike the others, cut out and drawn; and what a model finds there.

    uv run python benchmarks/starter/without_clothes.py MODEL splits/fit without_clothes.md

measures, on the validation photos of a dataset, how much a model calls clothes where there are none, and how well its
scores are calibrated. Nothing is fetched: backgrounds and faces are cut out where no garment is labelled; textures,
shapes and flat pictures are drawn. People behind the main person are not labelled, and can be in the backgrounds.
Each kind of picture is a function that returns an image, (h, w, 3) uint8 RGB, and its mask, (h, w) uint8, or None.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

import clothseg
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.evaluation.records import Provenance
from clothseg.pictures import read_mask, read_picture
from clothseg.transforms import resize_mask
from clothseg.types import UInt8Array

Labelled = tuple[UInt8Array, UInt8Array]
Rng = np.random.Generator
MARGIN = 9
"""Pixels around a garment that are not taken for background: outlines are drawn by hand."""
LEAST_SIDE = 64
SIZE = (640, 448)
SHARES: Mapping[str, float] = {
    "plain": 0.26, "background": 0.41, "scene": 0.17, "portrait": 0.15, "closer": 0.22, "farther": 0.23,
    "collage": 0.07, "texture": 0.08, "shapes": 0.08, "tiles": 0.06,
}  # fmt: skip
"""How many pictures of each kind there are, as a multiple of the photos."""
BINS = 15


def background(labelled: Labelled, rng: Rng) -> Labelled | None:
    """Return a part without garments, of any shape and size."""
    height, width = labelled[1].shape
    total = cv2.integral(cv2.dilate((labelled[1] > 0).astype(np.uint8), np.ones((MARGIN, MARGIN), np.uint8)))
    found = []
    for _ in range(400):
        side, shape = rng.uniform(0.15, 0.9) * height, np.exp(rng.uniform(-1, 1))
        h, w = int(min(height, side * shape**0.5)), int(min(width, side / shape**0.5))
        if min(h, w) >= LEAST_SIDE:
            y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
            if total[y + h, x + w] + total[y, x] == total[y, x + w] + total[y + h, x]:
                found.append((y, x, h, w))
    if not found:
        return None
    areas = np.array([h * w for *_, h, w in found], float)
    return crop(labelled, *found[rng.choice(len(found), p=areas / areas.sum())])


def crop(labelled: Labelled, top: float, left: float, height: float, width: float) -> Labelled:
    """Return a part of a photo."""
    rows, columns = slice(int(top), int(top + height)), slice(int(left), int(left + width))
    return labelled[0][rows, columns], labelled[1][rows, columns]


def scene(labelled: Labelled, rng: Rng) -> Labelled | None:
    """Return what is left and right of the person, side by side and mirrored."""
    columns = np.flatnonzero((labelled[1] > 0).any(axis=0))
    first, last = (max(0, columns[0] - MARGIN), columns[-1] + MARGIN) if len(columns) else (0, 0)
    parts = [part for part in (labelled[0][:, :first], labelled[0][:, last:]) if part.shape[1] >= LEAST_SIDE]
    if not parts or not len(columns):
        return None
    parts = [*parts, *(part[:, ::-1] for part in parts[::-1])][: int(rng.integers(2, 5))]
    return without(np.concatenate(parts, axis=1))


def without(image: UInt8Array) -> Labelled:
    """Return a picture that shows no clothes."""
    return image, np.zeros(image.shape[:2], np.uint8)


def portrait(labelled: Labelled, rng: Rng) -> Labelled | None:
    """Return a close look at the head: what is above the highest garment of some width."""
    worn = (labelled[1] > 0).sum(axis=1) > 0.12 * labelled[1].shape[1]
    if not worn.any() or (top := int(worn.argmax())) < LEAST_SIDE:
        return None
    columns = np.flatnonzero((labelled[1][top : top + 24] > 0).any(axis=0))
    side = min(top, rng.uniform(0.7, 1.6) * (columns[-1] - columns[0] + 20))
    bottom = min(labelled[1].shape[0], top + rng.uniform(-0.1, 0.12) * side)
    left = max(0.0, columns.mean() - side / 2 + rng.uniform(-0.2, 0.2) * side)
    return crop(labelled, max(0.0, bottom - side), left, side, side)


def closer(labelled: Labelled, rng: Rng) -> Labelled:
    """Return a part, at 1.4 to 4 times the scale."""
    height, width = labelled[1].shape
    h, w = (side / np.exp(rng.uniform(np.log(1.4), np.log(4))) for side in (height, width))
    return crop(labelled, rng.uniform(0, height - h), rng.uniform(0, width - w), h, w)


def farther(labelled: Labelled, around: UInt8Array, rng: Rng) -> Labelled:
    """Return a picture with the whole photo in it, once or a few times, at a quarter to two thirds of the scale."""
    height, width = SIZE if rng.random() < 0.5 else SIZE[::-1]
    image, mask = without(cv2.resize(around, (width, height)))
    for count in range(int(rng.integers(1, 4))):
        h = int(rng.uniform(0.25, 0.66) * height)
        w = min(width, int(h * labelled[1].shape[1] / labelled[1].shape[0]))
        y, x, step = rng.integers(height - h + 1), rng.integers(width - w + 1), 1 if rng.random() < 0.5 else -1
        for whole, part, how in zip((image, mask), labelled, (cv2.INTER_AREA, cv2.INTER_NEAREST), strict=True):
            whole[y : y + h, x : x + w] = cv2.resize(part, (w, h), interpolation=how)[:, ::step]
        if count == 0 and rng.random() < 0.6:
            break
    return image, mask


def texture(rng: Rng) -> Labelled:
    """Return drawn noise at several scales, stripes and checks."""
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    field = np.zeros((height, width, 3))
    for cells in rng.choice([2, 3, 6, 12, 25, 50, 100, 200], 3, replace=False):
        noise = rng.normal(size=(int(cells) * 3 // 2, int(cells), 3))
        noise = noise if rng.random() < 0.4 else noise.mean(axis=2, keepdims=True).repeat(3, axis=2) * 1.7
        field += rng.uniform(0, 60) * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(2):
        angle, length = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(6), np.log(160)))
        wave = np.tanh(rng.uniform(1, 20) * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / length))
        field += (rng.random() < 0.4) * wave[..., None] * rng.uniform(-60, 60, 3)
    return without((field + rng.uniform(20, 235, 3)).clip(0, 255).astype(np.uint8))


def shapes(rng: Rng) -> Labelled:
    """Return a flat or shaded picture, black and white among them, with some ellipses, polygons, lines and letters."""
    height, width = SIZE
    is_colored = rng.random() < 0.6
    base = rng.uniform(0, 255, 3) if is_colored else np.full(3, rng.choice([0.0, 255.0, rng.uniform(0, 255)]))
    other = base if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    ramp = np.linspace(0, 1, width)[None, :, None] if rng.random() < 0.5 else np.linspace(0, 1, height)[:, None, None]
    image = np.ascontiguousarray(np.broadcast_to(base + (other - base) * ramp, (height, width, 3)).astype(np.uint8))
    for _ in range(int(rng.choice([0, 0, 1, 2, 4, 8, 20]))):
        color, at = rng.uniform(0, 255, 3).tolist(), rng.integers(0, height, 2)
        size, thick = int(np.exp(rng.uniform(np.log(12), np.log(280)))), int(rng.choice([-1, -1, 3, 10]))
        which = rng.integers(4)
        if which == 0:
            axes, turn = (size, int(size * rng.uniform(0.4, 1))), rng.uniform(0, 180)
            cv2.ellipse(image, at.tolist(), axes, turn, 0, 360, color, thick, cv2.LINE_AA)
        elif which == 1:
            corners = at + rng.normal(0, size, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(image, [corners.astype(np.int32)], color, cv2.LINE_AA)
        elif which == 2:
            end = (at + rng.normal(0, 2 * size, 2)).astype(int).tolist()
            cv2.line(image, at.tolist(), end, color, abs(thick), cv2.LINE_AA)
        else:
            letters = "".join(rng.choice(list("ABCDEFGHKLMNOPRSTUVWXYZ0123456789&"), int(rng.integers(1, 7))))
            font, scale, width_of_line = int(rng.integers(8)), size / 40, max(2, size // 20)
            cv2.putText(image, letters, at.tolist(), font, scale, color, width_of_line, cv2.LINE_AA)
    return without(image)


def tiles(labelled: Labelled, rng: Rng) -> Labelled:
    """Return the photo cut into squares in a random order: cloth, but nobody who wears it."""
    side = int(rng.choice([32, 64, 96]))
    rows, columns = (length // side for length in labelled[1].shape)
    squares = labelled[0][: rows * side, : columns * side].reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    mixed = squares.reshape(-1, side, side, 3)[rng.permutation(rows * columns)].reshape(squares.shape)
    return without(np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(rows * side, columns * side, 3)))


def recolored(image: UInt8Array, rng: Rng) -> UInt8Array:
    """Return the image in other colours: grey, faded, dark or light; blurred; or with noise."""
    values = image.astype(np.float32)
    gray = (values @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
    values = gray + (values - gray) * rng.choice([0.0, 0.4, rng.uniform(0.6, 1.4)], p=[0.3, 0.15, 0.55])
    values = (values - 118) * rng.uniform(0.5, 1.3) + 118 * rng.uniform(0.6, 1.4)
    values += rng.normal(0, 12, 3) * (rng.random() < 0.4)
    if rng.random() < 0.3:
        values = cv2.GaussianBlur(values, (0, 0), rng.uniform(0.5, 4))
    if rng.random() < 0.25:
        values += rng.normal(0, rng.uniform(2, 16), values.shape)
    return np.asarray(values.clip(0, 255).round(), np.uint8)


def cases(photos: Sequence[Labelled], shares: Mapping[str, float], rng: Rng) -> Iterator[tuple[str, Labelled]]:
    """Yield the kind of each picture and the picture, in a random order."""
    todo = [kind for kind, share in shares.items() for _ in range(int(share * len(photos)))]
    for kind in rng.permutation(todo):
        labelled, other = (photos[rng.integers(len(photos))] for _ in range(2))
        around = (scene(other, rng) if rng.random() < 0.6 else None) or (texture, shapes)[rng.random() > 0.6](rng)
        if kind in ("farther", "collage"):
            part = labelled if kind == "farther" else background(labelled, rng)
            made = part and farther(part, np.ascontiguousarray(around[0]), rng)
        elif kind in ("texture", "shapes"):
            made = globals()[kind](rng)
        else:
            made = labelled if kind == "plain" else globals()[kind](labelled, rng)
        if made is not None and min(made[1].shape) >= 16:
            yield str(kind), (np.ascontiguousarray(made[0]), np.ascontiguousarray(made[1]))


def calibration(counts: Sequence[np.ndarray]) -> float:
    """Return the expected calibration error from what `binned` returned of each photo."""
    pixels, scores, correct = np.sum(counts, axis=0)
    return float(np.abs(scores - correct).sum() / pixels.sum())


def binned(logits: np.ndarray, truth: UInt8Array) -> np.ndarray:
    """Return (3, BINS): pixels that got a garment's class, the sum of their scores, and how many are correct."""
    chosen = logits.argmax(axis=0)
    known = (chosen > 0) & (truth < len(logits))
    score = (1 / np.exp(logits - logits.max(axis=0)).sum(axis=0))[known]
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    weights = (None, score, (chosen == truth)[known])
    return np.array([np.bincount(place, one, minlength=BINS) for one in weights])


def measured(model: Path, data_path: Path) -> str:
    """Return, as Markdown, what the model finds in pictures of each kind without clothes, and its calibration."""
    predictor, folder = clothseg.load(model), data_path / DATASET_FOLDER
    manifest = Manifest.read(folder)
    photos = [(read_picture(one).pixels, read_mask(mask)) for one, mask in pairs(folder, manifest.splits["val"])]
    counts, doubted = [], 0
    for image, mask in photos:
        found = predictor.predict(image)
        doubted += any("less sure" in note for note in found.notes)
        counts.append(binned(found.logits, resize_mask(mask, found.logits.shape[1:])))
    shares: dict[str, list[float]] = {}
    kinds = {**SHARES, "plain": 0, "closer": 0, "farther": 0}
    for kind, (image, mask) in cases(photos, kinds, np.random.default_rng(2)):
        if not (mask > 0).any():
            shares.setdefault(kind, []).append(float((predictor.predict(image).mask > 0).mean()))
    for name, value in (("black", 0), ("grey", 128), ("white", 255)):
        shares[name] = [float((predictor.predict(np.full((*SIZE, 3), value, np.uint8)).mask > 0).mean())]
    every = np.concatenate([np.array(one) for one in shares.values()])
    above, error = int((every > 0.1).sum()), calibration(counts)
    facts = [*Provenance.now().rows(), ("SHA-256", predictor.model["sha256"])]
    rows = [f"| {kind} | {len(one)} | {np.mean(one):.1%} |" for kind, one in sorted(shares.items())]
    return f"""# Where nothing is worn

Backgrounds and scenes cut out of {len(photos)} photos where no garment is labelled, photos cut into squares, and
drawn pictures: {every.mean():.1%} of their pixels are called clothes on average, and {above} of {len(every)} pictures
have more than 10%.

| Pictures without clothes | Number | Called clothes |
| --- | ---: | ---: |
{chr(10).join(rows)}
| **all** | **{len(every)}** | **{every.mean():.1%}** |

# Calibration

The expected calibration error of the scores of the pixels that are called clothes is {error:.3f} ({BINS} bins). On
{doubted / len(photos):.0%} of the photos the model is so unsure that a note says so.

# How this was measured

{chr(10).join(f"- {name}: {value}" for name, value in facts)}
"""


def main() -> int:
    """Measure a model, and write what was found."""
    parser = argparse.ArgumentParser(description="Clothes that a model finds where there are none; calibration.")
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("data_path", type=Path, help="dataset whose validation photos are used")
    parser.add_argument("output", type=Path, help="Markdown file to write")
    arguments = parser.parse_args()
    text = measured(arguments.model, arguments.data_path)
    arguments.output.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
