"""2. Build the data; run it to save sample pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import config
from clothseg import cli
from clothseg.settings import Settings

if TYPE_CHECKING:
    from clothseg.data.datamodule import ClothSegmentationData


def build_data(settings: Settings) -> ClothSegmentationData:
    """Return the training and validation batches of the dataset that data_prep.py has prepared, or of a packed one."""
    from clothseg.data.datamodule import ClothSegmentationData  # imports torch, too slow for --help

    return ClothSegmentationData.from_settings(settings)


if __name__ == "__main__":
    cli.start("preview", config)
