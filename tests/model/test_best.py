import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from clothseg.errors import ModelError
from clothseg.model.best import BestCheckpoint, find_best

BEST = BestCheckpoint("clothseg-003-0.2500.ckpt", 0.25, 0.6, 3, {"val_loss": 0.25, "val_iou/waist": 0.5})


def training(folder: Path, best: BestCheckpoint = BEST) -> Path:
    folder.mkdir(parents=True)
    (folder / best.path).write_bytes(b"a checkpoint")
    best.write(folder)
    return folder / best.path


def test_survives_its_file(tmp_path):
    BEST.write(tmp_path)
    assert BestCheckpoint.read(tmp_path) == BEST


def test_the_file_is_plain_json(tmp_path):
    BestCheckpoint("a.ckpt", 0.5, math.nan, 0).write(tmp_path)
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "path": "a.ckpt",
        "val_loss": 0.5,
        "val_iou": None,
        "epoch": 0,
        "scores": {},
    }


def test_finds_the_best(tmp_path):
    assert find_best(tmp_path / "checkpoints") is None
    path = training(tmp_path / "checkpoints")
    assert find_best(tmp_path / "checkpoints") == path


def test_before_the_first_epoch_the_training_before_counts(tmp_path):
    training(tmp_path / "earlier-001")
    newer = training(tmp_path / "earlier-002")
    assert find_best(tmp_path) == newer


def test_a_pointer_to_a_deleted_checkpoint_is_passed_over(tmp_path):
    training(tmp_path / "checkpoints").unlink()
    assert find_best(tmp_path / "checkpoints") is None


@pytest.mark.parametrize("content", ["", "[]", '{"path": "a.ckpt"}', '{"path": 1, "val_loss": "x", "val_iou": 1}'])
def test_a_damaged_pointer_is_named(tmp_path, content):
    (tmp_path / "best.json").write_text(content)
    with pytest.raises(ModelError, match=r"best\.json does not name a checkpoint"):
        find_best(tmp_path)


def test_finding_does_not_import_torch():
    code = "import sys, clothseg.model.best; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
