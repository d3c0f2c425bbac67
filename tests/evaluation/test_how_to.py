"""The commands and code of docs/how-to/evaluate.md run as they are written there."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from clothseg import cli
from clothseg.labels import GROUPS
from clothseg.settings import Settings
from tests.evaluation.conftest import read_json, shifted, truth_of
from tests.export.small_model import write_checkpoint

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "evaluate.md").read_text(encoding="utf-8")
LINES = [
    line for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
GARMENTS = ("background", "upperbody", "lowerbody")


@pytest.fixture
def here(tmp_path, make_data, write_masks, monkeypatch):
    """A folder with the data, models and masks that the page speaks of."""
    monkeypatch.chdir(tmp_path)
    ours = np.array([GROUPS.id_of(name) for name in GARMENTS], np.uint8)
    truth = {str(seed): truth_of(seed) for seed in range(6)}
    make_data({stem: ours[mask] for stem, mask in truth.items()}, classes=GROUPS)
    write_masks({stem: ours[shifted(mask, 2)] for stem, mask in truth.items()})
    write_masks({stem: np.array([0, 7, 9], np.uint8)[shifted(mask, 2)] for stem, mask in truth.items()}, "foreign")
    (class_map,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    Path("classes.yaml").write_text(class_map)
    write_checkpoint(Path("model.ckpt"))
    # Checkpoints in place of exports: those are the export's to test, and take a while.
    for name in ("old", "new"):
        shutil.copy("model.ckpt", f"{name}.ckpt")
    return tmp_path


def run(line):
    _, name, *arguments = shlex.split(line.replace(".onnx", ".ckpt"))
    with pytest.raises(SystemExit) as left:
        cli.start(name, Settings(), arguments=arguments)
    assert left.value.code == 0, line


def test_commands(here, capsys):
    assert len(LINES) == 6
    for line in LINES:
        if "scores-old" in line:
            for side in ("old", "new"):
                run(f"clothseg evaluate data --predictions masks --output scores-{side}")
        run(line)
    assert read_json(here / "scores")["predictions"]["kind"] == "model"
    assert read_json(here / "comparison", "compare.json")["photos"] == 6
    # The last two commands score the same masks, once with ids of another's.
    mapped = read_json(here / "evaluation")
    run(LINES[-2])
    assert read_json(here / "evaluation")["confusion_matrix"] == mapped["confusion_matrix"]


def test_the_table_of_the_json_names_its_keys(here, capsys):
    run("clothseg evaluate data --predictions masks --leave-out head")
    values = read_json(here / "evaluation")
    table = PAGE[PAGE.index("| key | content |") :]
    keys = [key for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)]
    assert {*keys, "version", "per_photo_counts"} == set(values)
    assert set(values["mean"]["without_left_out"]) == {"iou", "f1", "precision", "recall", "boundary_iou"}
    for key in ("predictions", "classes", "object_sizes", "garments_per_photo", "per_photo"):
        (row,) = re.findall(rf"^\| `{key}` \| (.*) \|$", table, re.MULTILINE)
        entry = values[key] if isinstance(values[key], dict) else values[key][0]
        named = set(re.findall(r"`(\w+)`", row))
        assert named - set(entry) <= {
            "model",
            "masks",
            "version",
            "sha256",
            "licence",
            "unknown_classes",
            "runtime",
            "tiles",
            "flip",
            "scales",
            "per_photo_counts",
        }, key
