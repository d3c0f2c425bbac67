"""Every command, file and setting of the first README works as written there, in a copy of the recipe."""

import json
import runpy
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from clothseg.data.sources import Sample
from clothseg.labels import GROUPS
from tests.test_architecture import RECIPE, ROOT
from tests.test_readme import COMMANDS, words_of

SMALL = """
ENCODER_NAME = "tu-mobilenetv3_small_050"
ENCODER_WEIGHTS = None
IMG_SIZE = 64
BATCH_SIZE = 8
EPOCHS = 2
NUM_WORKERS = 0
"""


READS_MASKS = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
    "ignore:Setting the shape on a NumPy array:DeprecationWarning",  # pycocotools 2.0.11
)


@pytest.fixture
def recipe(tmp_path):
    """A folder with a copy of the recipe whose settings are small; as the README says, by editing config.py."""
    for name in RECIPE:
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "config.py").open("a") as config:
        config.write(SMALL)
    return tmp_path


@pytest.fixture
def run_here(recipe, monkeypatch, capfd):
    """Run a file of the recipe in this process, as a fresh interpreter would."""
    monkeypatch.chdir(recipe)
    monkeypatch.syspath_prepend(recipe)

    def run(program, *arguments):
        for name in RECIPE:
            monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            runpy.run_path(program, run_name="__main__")
        captured = capfd.readouterr()
        return subprocess.CompletedProcess([program, *arguments], leaving.value.code, captured.out, captured.err)

    return run


def done(ended):
    assert ended.returncode == 0, ended.stderr
    assert "leaked" not in ended.stderr, "torch's compiler reports its own objects as a program ends"
    return ended


def check_the_commands_of_the_seed(recipe, run, *, num_train=160, num_val=40):
    done(run("data_prep.py", "--sample"))
    data = recipe / "data" / "fashionist"
    assert len(list((data / "train_masks").glob("*.png"))) == len(list((data / "train").glob("*.jpg"))) == num_train
    assert len(list((data / "val_masks").glob("*.png"))) == num_val

    done(run("loader.py"))
    assert list((recipe / "visualized_samples").glob("*.jpg"))

    done(run("train.py"))
    assert list((recipe / "checkpoints").glob("clothseg-*.ckpt"))
    assert list((recipe / "logs").rglob("events.out.tfevents.*"))

    ended = done(run("train.py", "--ckpt", "checkpoints/last.ckpt", "--epochs", "3"))
    assert "best of 3 epochs" in ended.stdout

    shutil.copy(next((data / "test").glob("*.jpg")), recipe / "test_image.jpg")
    ended = done(run("infer.py", "test_image.jpg"))
    assert "Model: the packaged starter model (checkpoints/clothseg-" in ended.stderr, "not what drawn pictures taught"
    assert (recipe / "output" / "test_image_mask.png").is_file()
    assert (recipe / "output" / "test_image_overlay.jpg").is_file()

    done(run("infer.py", "test_image.jpg", "--ckpt", "checkpoints/last.ckpt", "--output", "results", "--json"))
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


@READS_MASKS
def test_the_commands_of_the_seed(recipe, run_here, monkeypatch):
    """With fewer photos than `--sample` draws."""
    few = partial(Sample, counts=(24, 8, 2))
    monkeypatch.setattr("clothseg.data.sources.Sample", few)
    check_the_commands_of_the_seed(recipe, run_here, num_train=24, num_val=8)


@pytest.mark.slow
@READS_MASKS
def test_the_commands_of_the_seed_and_the_readmes_sample_as_programs(recipe, run_in):
    """The chain of the README is run word for word, with the settings as they come; its data is there already."""
    check_the_commands_of_the_seed(recipe, run_in)
    for name in ("checkpoints", "output", "results"):
        shutil.rmtree(recipe / name)
    shutil.copy(ROOT / "config.py", recipe)

    (chain,) = (command for command in COMMANDS if "--sample" in command)
    for part in chain.split(" && "):
        done(run_in(*words_of(part)))
    photos = sorted((recipe / "data" / "fashionist" / "test").glob("*.jpg"))
    assert len(photos) == 48
    found = set()
    for photo in photos:
        results = json.loads((recipe / "results" / f"{photo.stem}_results.json").read_text())
        with Image.open(photo) as image, Image.open(recipe / "results" / f"{photo.stem}_mask.png") as mask:
            assert mask.size == image.size == (results["width"], results["height"])
            found |= set(np.unique(np.array(mask)).tolist())
    assert len(found) >= 5, "a network that has learned something tells several garments apart"


MISTAKES = (
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
)
"""Command, exit code, and a word of the one line on stderr."""


def mistakes_answered_wrongly(recipe, run, mistakes):
    Image.new("RGB", (40, 30)).save(recipe / "photo.jpg")
    wrong = []
    for command, code, words in mistakes:
        ended = run(*command)
        message = [line for line in ended.stderr.splitlines() if line.startswith("clothseg: ")]
        if ended.returncode != code or len(message) != 1 or words not in message[0] or "Traceback" in ended.stderr:
            wrong.append(f"{' '.join(command)}: exit code {ended.returncode}\n{ended.stderr}")
    return wrong


def test_a_mistake_is_one_line_and_an_exit_code(recipe, run_here):
    wrong = mistakes_answered_wrongly(recipe, run_here, MISTAKES)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_a_mistake_is_one_line_and_an_exit_code_of_the_program(recipe, run_in):
    one_of_each_code = {code: (command, code, words) for command, code, words in MISTAKES}
    wrong = mistakes_answered_wrongly(recipe, run_in, one_of_each_code.values())
    assert not wrong, "\n".join(wrong)
