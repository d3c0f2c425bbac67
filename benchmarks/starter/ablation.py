"""Trains the plain recipe, ours, and each change on its own: same first weights, same number of photos seen.

    uv run python benchmarks/starter/ablation.py splits/fit --encoder-weights WEIGHTS.pth

`--encoder-name` and `--seed` repeat a recipe with another encoder, another initial decoder and another order of photos.

The plain recipe squashes photos to a square, augments as torchvision's usual list does, and learns with Adam at a
constant 1e-4 from half Dice, half focal loss. Scores are those of the validation split, which for splits/fit is the
tune part, at the photos' own size. `--only plain --masks FOLDER` writes index masks for `clothseg evaluate`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from plain_recipe import plain_samples, squash, unsquash
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from clothseg.data.augmentation import Strength
from clothseg.data.balance import balanced_weights
from clothseg.data.dataset import ClothDataset, collate
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.pair import read_pair
from clothseg.data.photo_pairs import FilePairs
from clothseg.encoding import encode_png
from clothseg.model.description import ModelDescription
from clothseg.model.dice_focal import DiceFocalLoss
from clothseg.model.loss import DiceCrossEntropyLoss
from clothseg.model.network import build_network
from clothseg.model.optimizer import learning_rate_factor
from clothseg.model.parameter_groups import parameter_groups
from clothseg.model.precision import preferred_precision
from clothseg.pictures import whole_file, write_whole
from clothseg.scores import Scores, confusion_matrix
from clothseg.settings import Settings
from clothseg.training.averaging import moving_average
from clothseg.transforms import Letterbox, logits_to_mask

UInt8Array = npt.NDArray[np.uint8]

BATCH_SIZE = 4
ENCODER = "mobilenet_v2"
PLAIN_SIDE = 320
CROP_SIZE = (448, 320)
IMG_SIZE = 512
BALANCE = 0.4
PLAIN_RATE = 1e-4
SAVED_EVERY = 250


@dataclass(frozen=True)
class Recipe:
    """Which of our changes are made to the plain recipe."""

    architecture: str = "unet"
    """The decoder, by its name in segmentation-models-pytorch."""
    decoder_width: float = 1.0
    """The decoder's channels as a multiple of its own."""
    keeps_aspect: bool = False
    """Photos keep their sides' ratio and are seen at several scales, in crops that stand as the photos do."""
    has_schedule: bool = False
    """AdamW with warm-up and a cosine to 0 at a lower rate for the encoder, in place of Adam at a constant rate."""
    has_cross_entropy: bool = False
    """Cross-entropy in place of the focal loss."""
    is_balanced: bool = False
    """Rare classes count more in the cross-entropy, which it brings along."""
    is_averaged: bool = False
    """The weights are an average over the steps."""
    learns_guesses: bool = False
    """It also learns from masks that a model guessed, of photos with tags, and more often from rare classes."""


_ALL = Recipe("fpn", 1.0, True, True, True, True, True, True)
RECIPES = {
    "plain": Recipe(),
    "pyramid": Recipe("fpn"),
    "narrow": Recipe(decoder_width=0.5),
    "aspect": Recipe(keeps_aspect=True),
    "schedule": Recipe(has_schedule=True),
    "cross-entropy": Recipe(has_cross_entropy=True),
    "balance": Recipe(has_cross_entropy=True, is_balanced=True),
    "average": Recipe(is_averaged=True),
    "guesses": Recipe(learns_guesses=True),
    "all but guesses": replace(_ALL, learns_guesses=False),
    "all but guesses, narrow": replace(_ALL, learns_guesses=False, decoder_width=0.5),
    "all and narrow": replace(_ALL, decoder_width=0.5),
    "all": _ALL,
}


def autocast() -> torch.autocast:
    """Return the context that computes in bfloat16 where this CPU multiplies it, and else in float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=preferred_precision("cpu") == "bf16-mixed")


class Run:
    """One training of one recipe."""

    def __init__(
        self, recipe: Recipe, data_path: Path, weights: Path, *, photos: int, encoder_name: str = ENCODER, seed: int = 0
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.encoder_name = encoder_name
        self.seed = seed
        self.folder = data_path / DATASET_FOLDER
        self.manifest = Manifest.read(self.folder)
        self.train = pairs(self.folder, self.manifest.splits["train"])
        self.num_classes = len(self.manifest.classes)
        self.num_steps = photos // BATCH_SIZE
        network = build_network(
            recipe.architecture,
            encoder_name,
            encoder_weights=str(weights),
            num_classes=self.num_classes,
            decoder_width=recipe.decoder_width,
        )
        self.network = network.to(memory_format=torch.channels_last)
        defaults = Settings()
        average = moving_average(defaults.averaging)
        self.averaged = AveragedModel(self.network, avg_fn=average, use_buffers=True) if recipe.is_averaged else None
        self.loss = self._loss()
        if recipe.has_schedule:
            groups = parameter_groups(
                self.network,
                learning_rate=defaults.learning_rate,
                encoder_rate=defaults.encoder_rate,
                weight_decay=defaults.weight_decay,
            )
            self.optimizer: Any = torch.optim.AdamW(groups)
            self.warmup = defaults.warmup
        else:
            self.optimizer = torch.optim.Adam(self.network.parameters(), lr=PLAIN_RATE)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0

    def _loss(self) -> nn.Module:
        if not self.recipe.has_cross_entropy:
            return DiceFocalLoss()
        pixels = self.manifest.splits["train"].pixels_per_class
        return DiceCrossEntropyLoss(balanced_weights(pixels, BALANCE) if self.recipe.is_balanced else None)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images, (B, 3, S, S) uint8, and masks, (B, S, S) uint8, from the step at hand on."""
        strength = Strength()
        ours = ClothDataset(
            FilePairs(self.train, self.folder / "train", num_classes=self.num_classes),
            img_size=IMG_SIZE,
            crop_size=CROP_SIZE,
            strength=strength,
        )
        per_epoch = len(self.train) // BATCH_SIZE
        for step in range(self.step, self.num_steps):
            epoch, first = step // per_epoch, step % per_epoch * BATCH_SIZE
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
            indices = order[first : first + BATCH_SIZE].tolist()
            if self.recipe.keeps_aspect:
                batch = collate([ours[(epoch, index)] for index in indices])
                yield batch["image"], batch["mask"]
            else:
                yield plain_samples([self.train[index] for index in indices], PLAIN_SIDE, seed=[epoch, *indices])

    def fit(self, checkpoint: Path | None) -> None:
        """Train to the end; with `checkpoint`, from there and with saves on the way."""
        if checkpoint is not None and checkpoint.exists():
            self.load(torch.load(checkpoint, weights_only=True))
        self.network.train()
        start, first = time.perf_counter(), self.step
        for image, mask in self.batches():
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                has = self.recipe.has_schedule
                group["lr"] = rate * (learning_rate_factor(self.step, self.num_steps, self.warmup) if has else 1)
            with autocast():
                logits = self.network(image.contiguous(memory_format=torch.channels_last))
            loss = self.loss(logits, mask)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if self.recipe.has_schedule:
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimizer.step()
            self.step += 1
            if self.averaged is not None:
                self.averaged.update_parameters(self.network)
            if self.step % SAVED_EVERY == 0:
                pace = (time.perf_counter() - start) / (self.step - first) / BATCH_SIZE
                print(f"  step {self.step}/{self.num_steps}, loss {loss.item():.3f}, {pace:.2f} s/photo", flush=True)
                if checkpoint is not None:
                    with whole_file(checkpoint) as beside:
                        torch.save(self.state(), beside)

    def state(self) -> dict[str, Any]:
        """Return all that a later run needs to go on."""
        averaged = None if self.averaged is None else self.averaged.state_dict()
        parts = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict(), "averaged": averaged}
        return {"step": self.step, **self._settings(), **parts}

    def _settings(self) -> dict[str, Any]:
        return {"recipe": asdict(self.recipe), "encoder": self.encoder_name, "seed": self.seed}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        saved = {name: state[name] for name in self._settings()}
        if saved != self._settings():
            raise SystemExit(f"Error: the checkpoint was trained with {saved}. Pass another --checkpoint")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])

    def save_model(self, path: Path) -> None:
        """Write a checkpoint that `clothseg` predicts with; it cannot be resumed."""
        network = self.network if self.averaged is None else self.averaged.module
        description = ModelDescription(
            classes=self.manifest.classes,
            architecture=self.recipe.architecture,
            encoder_name=self.encoder_name,
            decoder_width=self.recipe.decoder_width,
            image_size=IMG_SIZE,
            normalization=self.network.normalization,
            training_data=self.manifest.summary(),
        )
        weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
        with whole_file(path) as beside:
            torch.save({"clothseg": description.to_dict(), "state_dict": weights}, beside)

    def masks(self) -> Iterator[tuple[Path, UInt8Array, UInt8Array]]:
        """Yield path, predicted mask and true mask, (H, W) uint8, of each validation photo, at its own size."""
        network = (self.network if self.averaged is None else self.averaged.module).eval()
        for photo, mask_path in pairs(self.folder, self.manifest.splits["val"]):
            image, mask = read_pair(photo, mask_path, num_classes=self.num_classes)
            height, width = mask.shape
            box = Letterbox.fit(height, width, IMG_SIZE)
            shown = box.image(image) if self.recipe.keeps_aspect else squash(image, PLAIN_SIDE)
            with torch.inference_mode(), autocast():
                logits = network(torch.from_numpy(shown).permute(2, 0, 1)[None])[0].float().contiguous().numpy()
            if self.recipe.keeps_aspect:
                yield photo, logits_to_mask(np.ascontiguousarray(box.crop(logits)), mask.shape), mask
            else:
                yield photo, unsquash(logits, mask.shape), mask

    def scores(self, masks: Path | None) -> Scores:
        """Return the scores of the validation split, and write the masks where asked to."""
        matrix = np.zeros((self.num_classes, self.num_classes), np.int64)
        for photo, prediction, truth in self.masks():
            matrix += confusion_matrix(prediction, truth, self.num_classes)
            if masks is not None:
                masks.mkdir(parents=True, exist_ok=True)
                write_whole(masks / f"{photo.stem}.png", encode_png(prediction, palette=self.manifest.classes.palette))
        return Scores.from_confusion(matrix, self.manifest.classes.names)


def main() -> int:
    """Train what was asked for and print a line of JSON for each."""
    parser = argparse.ArgumentParser(description="The plain recipe, ours, and each change on its own.")
    parser.add_argument("data_path", type=Path, help="data set with a train and a val split, such as splits/fit")
    parser.add_argument("--encoder-weights", type=Path, required=True, help="state dict of the encoder")
    parser.add_argument("--encoder-name", default=ENCODER, help="encoder, as ENCODER_NAME of config.py")
    parser.add_argument("--seed", type=int, default=0, help="of the decoder's first values and the order of photos")
    parser.add_argument("--photos", type=int, default=2800, help="photos seen by each training, repeats counted")
    parser.add_argument("--only", choices=sorted(RECIPES), nargs="+", default=list(RECIPES), help="which recipes")
    parser.add_argument("--checkpoint", type=Path, help="file to save to and to go on from; for a single recipe")
    parser.add_argument("--model", type=Path, help="model file to write, to predict with; for a single recipe")
    parser.add_argument("--masks", type=Path, help="folder to write predicted index masks to; for a single recipe")
    parser.add_argument(
        "--guesses", type=Path, help="data set of pseudo_labels.py, for recipes that learn from guesses"
    )
    parser.add_argument("--val-data", type=Path, help="another data set whose val split to score")
    parser.add_argument("--output", type=Path, help="file to add the lines to")
    arguments = parser.parse_args()
    if arguments.guesses is None and any(RECIPES[name].learns_guesses for name in arguments.only):
        parser.error("recipes that learn from guesses need --guesses, a data set of pseudo_labels.py")
    if len(arguments.only) > 1 and (arguments.checkpoint or arguments.masks or arguments.model):
        parser.error("--checkpoint, --model and --masks are for a single recipe: pass --only NAME")
    cv2.setNumThreads(0)
    for name in arguments.only:
        print(f"{name}: {RECIPES[name]}", flush=True)
        data_path = arguments.guesses if RECIPES[name].learns_guesses else arguments.data_path
        run = Run(
            RECIPES[name],
            data_path,
            arguments.encoder_weights,
            photos=arguments.photos,
            encoder_name=arguments.encoder_name,
            seed=arguments.seed,
        )
        run.fit(arguments.checkpoint)
        if arguments.model is not None:
            run.save_model(arguments.model)
        if arguments.val_data is not None:
            run.folder = arguments.val_data / DATASET_FOLDER
            run.manifest = Manifest.read(run.folder)
        scores = run.scores(arguments.masks)
        iou = {key: float(value) for key, value in zip(scores.names, scores.iou, strict=True) if not math.isnan(value)}
        seen = {"recipe": name, "encoder": arguments.encoder_name, "seed": arguments.seed, "photos": arguments.photos}
        seen |= {"mean_iou": scores.mean_iou, "accuracy": scores.accuracy}
        line = json.dumps(seen | {"iou": iou})
        print(line, flush=True)
        if arguments.output is not None:
            with arguments.output.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
