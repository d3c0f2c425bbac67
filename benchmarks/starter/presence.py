"""Trains, on a CPU, what tells where nothing is worn, and calibrates the scores.

    uv run python benchmarks/starter/presence.py photos.zip STUDENT.pt LAST.pt presence.pt

Both networks stay as they are: their deepest features of pictures with and without clothes, made of the fit part, are
computed once, and a small `Presence` learns from them. The student's, which has never seen the tune part, shows there
what it is worth and how much its scores overrate; the last network's, with the student's temperatures, is written.
"""

from __future__ import annotations

import argparse
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from gpu import SIZE, load_network
from gpu_batches import IGNORED
from PIL import Image
from torch import Tensor
from without_clothes import SHARES, Labelled, cases, recolored
from worn import GatedNetwork, Presence

from clothseg.transforms import Letterbox

RECOLORED, WORN_CELL, WORN_PHOTO = 0.5, 0.02, 0.15
"""Share of the pictures in other colours; clothes in a cell from this share of it on, in a photo from so many cells."""
EPOCHS, BATCH, RATE = 10, 16, 2e-3
TEMPERATURES = np.arange(0.7, 3, 0.1)


def read(archive: zipfile.ZipFile, part: str) -> list[Labelled]:
    """Return the photos of a part and their masks of categories."""
    names = sorted(one for one in archive.namelist() if one.startswith(f"{part}/") and one.endswith(".webp"))
    opened = [[Image.open(io.BytesIO(archive.read(f"{one[:-5]}.{kind}"))) for kind in ("webp", "png")] for one in names]
    return [(np.array(photo.convert("RGB")), np.array(mask)) for photo, mask in opened]


def boxed(labelled: Labelled, network: GatedNetwork) -> tuple[Tensor, Tensor]:
    """Return a picture as the network sees it, (1, 3, h, w) uint8, and its mask, (h, w) uint8, 255 around it."""
    box = Letterbox.fit(*labelled[1].shape, SIZE)
    image = box.image(labelled[0], network.network.normalization)
    return torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(box.mask(labelled[1]))


@torch.inference_mode()
def features(network: GatedNetwork, photos: Sequence[Labelled]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield deepest features, (C, h/32, w/32), and the shares of clothes and of known pixels in each of the cells."""
    rng = np.random.default_rng(1)
    for _, (image, mask) in cases(photos, SHARES, rng):
        seen = recolored(image, rng) if rng.random() < RECOLORED else image
        pixels, target = boxed((seen, mask), network)
        shares = torch.stack([(target > 0) & (target < 255), target < 255]).float()
        yield network.encoded(pixels)[-1][0].half(), F.avg_pool2d(shares, 32)


def batches(found: Sequence[tuple[Tensor, Tensor]], rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of one size each, in a random order, half of them mirrored."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index in rng.permutation(len(found)):
        by_size.setdefault(found[index][0].shape, []).append(index)
    chosen = [part[i : i + BATCH] for part in by_size.values() for i in range(0, len(part), BATCH)]
    for number in rng.permutation(len(chosen)):
        both = [torch.stack([found[i][which] for i in chosen[number]]).float() for which in (0, 1)]
        yield tuple(one.flip(3) for one in both) if rng.random() < 0.5 else tuple(both)  # type: ignore[misc]


def fitted(found: Sequence[tuple[Tensor, Tensor]]) -> Presence:
    """Train a Presence."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    presence = Presence(len(found[0][0]))
    some = torch.cat([one.flatten(1)[:, ::7] for one, _ in found[::3]], dim=1).float()
    presence.mean.copy_(some.mean(dim=1))
    presence.spread.copy_(some.std(dim=1) + 1e-3)
    optimizer = torch.optim.AdamW(presence.parameters(), lr=RATE, weight_decay=0.05)
    steps = EPOCHS * sum(1 for _ in batches(found, rng))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for deepest, target in batches(found, rng):
            cells, whole = presence(deepest)
            share, known = target[:, :1], target[:, 1:]
            # Cells beside a garment, and photos with a speck of one, say neither yes nor no.
            is_clear = (F.max_pool2d(share, 3, 1, 1) == 0) | (share > WORN_CELL)
            worn = share.sum((1, 2, 3))
            loss = weighted(cells, share > WORN_CELL, is_clear & (known > 0.5))
            loss = loss + 0.5 * weighted(whole[:, 0], worn > WORN_PHOTO, (worn == 0) | (worn > WORN_PHOTO))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return presence.eval()


def weighted(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """Return the binary cross-entropy where it counts."""
    each = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none")
    return (each * counts).sum() / counts.sum().clamp_min(1)


@torch.inference_mode()
def calibrated(network: GatedNetwork, photos: Sequence[Labelled]) -> tuple[list[float], float]:
    """Calibrate on photos that the network has not seen.

    Returns:
        The temperatures of groups and of categories with the least cross-entropy on the pixels that are garments or are
        called so; and the mean score of the garments that 19 of 20 photos exceed.
    """
    sums = torch.zeros(2, len(TEMPERATURES))
    inputs = [boxed(labelled, network) for labelled in photos]
    for pixels, target in inputs:
        truth = target[2::4, 2::4].long()
        categories = network.coarse(pixels)[0]
        known = truth < len(network.names)
        fine = categories[0][:, known]
        coarse = network.groups(categories)[0][:, known]
        for row, (logits, ids) in enumerate(((coarse, network.groups_of[truth[known]]), (fine, truth[known]))):
            counts = (logits.argmax(dim=0) > 0) | (ids > 0)
            for column, temperature in enumerate(TEMPERATURES):
                sums[row, column] += F.cross_entropy((logits / temperature).T[counts], ids[counts], reduction="sum")
    best = [float(TEMPERATURES[one]) for one in sums.argmin(dim=1)]
    network.temperatures = (best[0], best[1])
    found = (network(pixels)[0][:, target < IGNORED] for pixels, target in inputs)
    probabilities = [one.softmax(dim=0).max(dim=0) for one in found]
    scores = [float(one.values[one.indices > 0].mean()) for one in probabilities if (one.indices > 0).any()]
    return best, float(np.quantile(scores, 0.05))


def main() -> None:
    """Train both, calibrate on the tune part, and write the last network's."""
    parser = argparse.ArgumentParser(description="Train what tells where nothing is worn; calibrate the scores.")
    for name, kind in (("photos", "file that pack wrote"), ("student", "network that has not seen the tune part")):
        parser.add_argument(name, type=Path, help=kind)
    parser.add_argument("last", type=Path, help="network that ships")
    parser.add_argument("output", type=Path, help="file to write")
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.photos) as archive:
        names, fit, tune = json.loads(archive.read("classes.json")), read(archive, "fit"), read(archive, "tune")
    networks = [load_network(path, names) for path in (arguments.student, arguments.last)]
    for network in networks:
        network.presence = fitted(list(features(network, fit)))
    temperatures, usual_score = calibrated(networks[0], tune)
    print(f"temperatures {temperatures}, usual score {usual_score:.3f}")
    state = networks[1].presence.state_dict()  # type: ignore[union-attr]
    torch.save({"state": state, "temperatures": temperatures, "usual_score": usual_score}, arguments.output)


if __name__ == "__main__":
    main()
