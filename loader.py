"""2. Build the data; run it to save sample pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import config
from clothseg import cli
from clothseg.settings import Settings

if TYPE_CHECKING:
    from clothseg.data.datamodule import ClothSegmentationData


def build_data(settings: Settings) -> ClothSegmentationData:
    """Return the training and validation batches of the data set that data_prep.py has prepared, or of a packed one."""
    from clothseg.data.datamodule import ClothSegmentationData  # brings torch, which --help does not wait for
    from clothseg.data.shards.source import ShardSource

    return ClothSegmentationData(
        settings.data_path,
        img_size=settings.img_size,
        crop_size=settings.crop_size,
        batch_size=settings.batch_size,
        num_workers=settings.num_workers,
        seed=settings.seed,
        shards=ShardSource.of(settings),
    )


if __name__ == "__main__":
    cli.start("preview", config)
