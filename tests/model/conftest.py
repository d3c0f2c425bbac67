"""Photos for a small network to learn from: coloured rectangles, one colour per class, with noise and padding."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from clothseg.labels import GROUPS, IGNORED_ID
from clothseg.model.module import ClothSegmentationModel

SIDE = 64
Sample = dict[str, Any]


def draw_sample(seed: int, class_ids: Sequence[int]) -> Sample:
    """Return a photo that shows `class_ids` in rectangles on a background, the last rows being padding."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    for place, class_id in enumerate(class_ids):
        top, left = 2 + 14 * (place // 4), 2 + 15 * (place % 4)
        mask[top : top + 12, left : left + 12] = class_id
    colors = torch.from_numpy(GROUPS.palette)[mask.long()].permute(2, 0, 1).float()
    image = (0.8 * colors + 50 * torch.rand(3, SIDE, SIDE, generator=generator)).to(torch.uint8)
    mask[-6:] = IGNORED_ID
    return {"image": image, "mask": mask, "name": f"photo-{seed}.jpg"}


@pytest.fixture
def samples() -> list[Sample]:
    """Five photos that together show all 13 classes."""
    return [draw_sample(seed, [(seed * 3 + step) % 12 + 1 for step in range(12)]) for seed in range(5)]


@pytest.fixture
def loader() -> Callable[[Sequence[Sample], int], DataLoader[Any]]:
    """Make batches of samples, in their order."""
    return lambda samples, batch_size: DataLoader(list(samples), batch_size=batch_size)  # type: ignore[arg-type]


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., Trainer]:
    """Make a trainer that trains on the CPU and writes nothing of its own."""

    def make(**options: Any) -> Trainer:
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        quiet |= {"enable_model_summary": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1}
        return Trainer(**{"accelerator": "cpu", "devices": 1, "default_root_dir": tmp_path} | quiet | options)

    return make


def make_model(**options: Any) -> ClothSegmentationModel:
    """Make a small model with weights that are the same every time."""
    torch.manual_seed(0)
    small = {"encoder_name": "tu-mobilenetv3_small_050", "encoder_weights": None, "image_size": SIDE}
    small |= {"decoder_width": 0.25}
    return ClothSegmentationModel(**{"classes": GROUPS} | small | options)


@pytest.fixture(name="make_model", scope="session")
def make_model_fixture() -> Callable[..., ClothSegmentationModel]:
    """Make a small model; any argument of `ClothSegmentationModel` may be given."""
    return make_model


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as Lightning writes it, of a small model that was validated on classes 0 and 1."""
    folder = tmp_path_factory.mktemp("checkpoint")
    model = make_model(training_data={"name": "rectangles", "counts": {"train": 5}})
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    batches: DataLoader[Any] = DataLoader([draw_sample(1, [1]), draw_sample(2, [1])], batch_size=2)  # type: ignore[arg-type]
    trainer.fit(model, batches, batches)
    trainer.save_checkpoint(folder / "model.ckpt")
    return folder / "model.ckpt"
