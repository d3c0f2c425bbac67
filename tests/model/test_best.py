import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clothseg.data.sample import draw_sample
from clothseg.errors import ModelError
from clothseg.model.best import BestCheckpoint, find_best

BEST = BestCheckpoint("clothseg-003-0.2500.ckpt", 0.25, 0.6, 3, {"val_loss": 0.25, "val_iou/waist": 0.5})


def write_training(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / BEST.path).write_bytes(b"a checkpoint")
    BEST.write(folder)
    return folder / BEST.path


def test_the_file_is_plain_json_and_is_read_again(tmp_path):
    replace(BEST, val_iou=math.nan, scores={}).write(tmp_path)
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "path": "clothseg-003-0.2500.ckpt",
        "val_loss": 0.25,
        "val_iou": None,
        "epoch": 3,
        "scores": {},
        "is_sample": False,
    }
    BEST.write(tmp_path)
    assert BestCheckpoint.read(tmp_path) == BEST


def test_the_best_of_the_newest_training_is_found(tmp_path):
    folder = tmp_path / "checkpoints"
    assert find_best(folder) is None
    write_training(folder / "earlier-001")
    newer = write_training(folder / "earlier-002")
    assert find_best(folder) == newer, "before the first epoch of a training the one before counts"
    newest = write_training(tmp_path / "other").rename(folder / BEST.path)
    BEST.write(folder)
    assert find_best(folder) == newest
    replace(BEST, is_sample=True).write(folder)
    assert find_best(folder) == newer, "what learned from the drawn sample is taken by name only"
    pointer = folder / "best.json"
    pointer.write_text(
        json.dumps({key: one for key, one in json.loads(pointer.read_text()).items() if key != "is_sample"})
    )
    assert find_best(folder) == newest, "before 0.2.0 pointers did not say"
    draw_sample(tmp_path / "mirror", (1, 1, 0), seed=0, progress=lambda *step: None)
    annotations = (tmp_path / "mirror" / "annotations").glob("*_train2020.json")
    torch.save({"training_data": {"name": json.loads(next(annotations).read_text())["info"]["description"]}}, newest)
    assert find_best(folder) == newer, "but the checkpoint did"
    newest.unlink()
    assert find_best(folder) == newer, "a pointer to a deleted checkpoint is ignored"


@pytest.mark.parametrize("content", ["", "[]", '{"path": "a.ckpt"}', '{"path": 1, "val_loss": "x", "val_iou": 1}'])
def test_a_damaged_pointer_is_named(tmp_path, content):
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ModelError, match=r"best\.json does not name a checkpoint"):
        find_best(tmp_path)
