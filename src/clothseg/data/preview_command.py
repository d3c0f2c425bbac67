"""The command `clothseg preview` and `loader.py`: saves pictures and a card of a prepared data set."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from clothseg.data.card import collect_card
from clothseg.data.card_page import card_page
from clothseg.data.manifest import DATASET_FOLDER
from clothseg.data.preview import save_preview
from clothseg.pictures import write_whole
from clothseg.progress import show_step
from clothseg.settings import CropSize

CARD_NAME = "dataset_card.html"


@dataclass(frozen=True)
class Preview:
    """Save pictures of what training will see, and a page about the data set.

    Args:
        data_path: Folder of the prepared data set.
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
        folder = self.data_path / DATASET_FOLDER
        written = save_preview(
            folder,
            self.output,
            count=self.count,
            img_size=self.img_size,
            crop_size=self.crop_size,
            seed=self.seed,
        )
        card_path = self.output / CARD_NAME
        write_whole(card_path, card_page(collect_card(folder, steps=show_step)).encode())
        for path in (*written, card_path):
            print(path)
        messages = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        messages.print(f"Saved {len(written)} pictures. Open {card_path} to see what the data set holds.", markup=False)
        return 0
