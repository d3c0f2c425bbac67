"""Every command, file and setting of the first README works as written there, in a copy of the recipe."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from clothseg.labels import GROUPS
from tests.test_architecture import RECIPE, ROOT

SMALL = """
ENCODER_NAME = "tu-mobilenetv3_small_050"
ENCODER_WEIGHTS = None
IMG_SIZE = 64
BATCH_SIZE = 8
EPOCHS = 2
NUM_WORKERS = 0
"""


@pytest.fixture
def recipe(tmp_path):
    for name in RECIPE:
        shutil.copy(ROOT / name, tmp_path)
    # As the README says: the settings are changed by editing config.py.
    with (tmp_path / "config.py").open("a") as config:
        config.write(SMALL)
    return tmp_path


def done(ended):
    assert ended.returncode == 0, ended.stderr
    return ended


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")  # pycocotools 2.0.11
def test_the_commands_of_the_seed(recipe, run_in):
    done(run_in("data_prep.py", "--sample"))
    data = recipe / "data" / "fashionist"
    assert len(list((data / "train_masks").glob("*.png"))) == len(list((data / "train").glob("*.jpg"))) == 160
    assert len(list((data / "val_masks").glob("*.png"))) == 40

    done(run_in("loader.py"))
    assert list((recipe / "visualized_samples").glob("*.jpg"))

    done(run_in("train.py"))
    assert list((recipe / "checkpoints").glob("clothseg-*.ckpt"))
    assert list((recipe / "logs").rglob("events.out.tfevents.*"))

    ended = done(run_in("train.py", "--ckpt", "checkpoints/last.ckpt", "--epochs", "3"))
    assert "best of 3 epochs" in ended.stdout

    shutil.copy(next((data / "test").glob("*.jpg")), recipe / "test_image.jpg")
    done(run_in("infer.py", "test_image.jpg"))
    assert (recipe / "output" / "test_image_mask.png").is_file()
    assert (recipe / "output" / "test_image_overlay.jpg").is_file()

    done(run_in("infer.py", "test_image.jpg", "--ckpt", "checkpoints/last.ckpt", "--output", "results", "--json"))
    results = json.loads((recipe / "results" / "test_image_results.json").read_text())
    with (
        Image.open(recipe / "results" / "test_image_mask.png") as image,
        Image.open(recipe / "test_image.jpg") as photo,
    ):
        assert image.size == photo.size
        mask = np.array(image)
    decoded = np.zeros_like(mask)
    for segment in results["segments"]:
        assert segment["label"] == GROUPS.names[segment["class_id"]]
        decoded[coco_mask.decode(segment["rle"]) == 1] = segment["class_id"]
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["train.py", "--data-path", "nowhere"], 3, "data_prep.py"),
        (["loader.py", "--data-path", "nowhere"], 3, "data_prep.py"),
        (["data_prep.py", "--source", "nowhere"], 3, "nowhere"),
        (["data_prep.py", "--classes", "gropus"], 2, "groups"),
        (["train.py", "--batch-size", "0"], 2, "BATCH_SIZE"),
        (["train.py", "--img-size", "500"], 2, "multiple of 32"),
        (["infer.py"], 2, "photo"),
        (["infer.py", "nowhere.jpg", "--ckpt", "config.py"], 3, "nowhere.jpg"),
        (["infer.py", "photo.jpg", "--ckpt", "nowhere.ckpt"], 4, "nowhere.ckpt"),
        (["infer.py", "photo.jpg", "--ckpt", "config.py"], 4, "config.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(recipe, run_in, command, code, words):
    Image.new("RGB", (40, 30)).save(recipe / "photo.jpg")
    ended = run_in(*command, PYTHONWARNINGS="ignore")
    assert ended.returncode == code, ended.stderr
    message = [line for line in ended.stderr.splitlines() if line.startswith("clothseg: ")]
    assert len(message) == 1, ended.stderr
    assert words in message[0]
    assert "Traceback" not in ended.stderr
