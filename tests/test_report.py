"""The report and the model card say what was measured, and nothing that was not."""

import importlib
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from clothseg.data.manifest import DATASET_FOLDER, Manifest, Split
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import MissingInputError
from clothseg.evaluation.evaluate import Evaluate
from clothseg.labels import GROUPS
from clothseg.model.description import ModelDescription
from clothseg.prediction.runtimes.model_file import ModelFile, add_metadata
from clothseg.transforms import IMAGENET
from tests.conftest import needs
from tests.test_architecture import ROOT

pytestmark = pytest.mark.full

MAKERS = ROOT / "benchmarks" / "starter"
NAMES = sorted(path.stem for path in MAKERS.glob("*.py"))
UPPER, LOWER = GROUPS.id_of("upperbody"), GROUPS.id_of("lowerbody")


@pytest.fixture(scope="module", autouse=True)
def makers():
    """Let the makers be imported as when one of them is run, and forget them afterwards."""
    needs("matplotlib")
    before = set(sys.modules)
    sys.path.insert(0, str(MAKERS))
    yield
    sys.path[:] = [one for one in sys.path if one not in (str(MAKERS), str(MAKERS.parent))]
    for name in {*NAMES, "table"} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.fixture(scope="module")
def run():
    """Run the main function of a maker as the command line would, and return its exit code."""

    def run_maker(name, *arguments):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
            return importlib.import_module(name).main()

    return run_maker


def color_model(source=""):
    """A model file that gives each pixel the class whose colour is nearest: real, exact and without training."""
    from onnx import TensorProto, helper, numpy_helper

    palette = GROUPS.palette.astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weight", "bias"], ["logits"]),
    ]
    weights = [
        numpy_helper.from_array(2e-3 * palette[:, :, None, None], "weight"),
        numpy_helper.from_array(-1e-3 * np.square(palette).sum(axis=1), "bias"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", "height", "width", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 13, "height", "width"])
    graph = helper.make_graph(nodes, "clothseg", [image], [logits], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    known = [GROUPS.names[one] for one in (0, UPPER, LOWER)]
    data = {"name": "Small", "source": source, "counts": {"train": 4321}, "known_classes": known}
    description = ModelDescription(
        classes=GROUPS,
        architecture="unet",
        encoder_name="mobilenet_v2",
        image_size=64,
        normalization=IMAGENET,
        training_data=data,
    )
    return add_metadata(model.SerializeToString(), description, {})


def write_data(folder):
    """Write eight photos of a top over trousers; the trousers of one are painted like a top, a mistake to be found."""
    for number in range(8):
        mask = np.zeros((64, 48), np.uint8)
        mask[6:30, 4 + number : 34] = UPPER
        mask[30:60, 10:34] = LOWER
        shown = np.where(mask == LOWER, UPPER, mask) if number == 3 else mask
        for kind, content in (
            ("test/{}.jpg", encode_jpeg(GROUPS.palette[shown], 95)),
            ("val_masks/{}.png", encode_png(mask)),
            ("masks/{}.png", encode_png(np.roll(mask, 6, axis=1))),
        ):
            path = folder / DATASET_FOLDER / kind.format(f"photo{number}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    zeros = (0,) * len(GROUPS)
    Manifest("Small", "/secret/place", None, GROUPS, {"val": Split("test", "val_masks", 8, zeros, zeros)}).write(
        folder / DATASET_FOLDER
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory, run):
    """A folder with a model, its results as the commands leave them, and the documents made of them."""
    folder = tmp_path_factory.mktemp("starter")
    results = folder / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("model.onnx").write_bytes(color_model())
        write_data(Path("data"))
        patch.setattr(sys, "argv", ["clothseg", "evaluate", "model.onnx", "data"])
        left_out = ("lowerbody",)
        Evaluate(Path("model.onnx"), Path("data"), output=Path("scores"), leave_out=left_out).run()
        masks = Path("data") / DATASET_FOLDER / "masks"
        Evaluate(None, Path("data"), predictions=masks, output=Path("scores-plain"), leave_out=left_out).run()
        run("results", "scores/evaluation.json", "--data-source", "our own", "--results", results)
        plain = json.loads(Path("scores-plain/evaluation.json").read_text()) | {"made_by": "make masks"}
        write(results / "plain.json", plain)
        write(
            results / "guesses.json", {"labelled": 4321, "guessed": 7, "left_out": 2, "teacher": "T.", "repeats": "R."}
        )
        write(results / "training.json", TRAINING)
        speed = {
            "command": "measure",
            "machine": "a machine",
            "date": "today",
            "note": "",
            "photo": "small",
            "times": 5,
        }
        rows = [
            {"what": "a photo", "milliseconds": 1234.4},
            {"what": "bf16", "milliseconds": None, "reason": "no bf16"},
        ]
        speed |= {"sha256": ModelFile.read(Path("model.onnx")).sha256, "rows": rows}
        write(results / "speed.json", speed)
        run("without_clothes", "model.onnx", "data", "--output", "results/without_clothes.json")
        run("report", "--model", "model.onnx", "--results", results, "--output", "out")
    return folder


TRAINING = {
    "command": "train",
    "machine": "a machine",
    "note": "",
    "clothseg": "0.1.0",
    "starts": [{"date": "today"}],
    "ended": "today",
    "seconds": 4498,
    "settings": {"seed": 0, "precision": "32-true"},
    "steps": 1000,
    "photos_seen": 4000,
}


def write(path, values):
    path.write_text(json.dumps(values))


def document(project, name):
    return (project / "out" / name).read_text(encoding="utf-8")


def rows_of(project, section, start):
    """Return the rows of a section of the report that begin with `start`."""
    text = document(project, "REPORT.md").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [line for line in text.splitlines() if line.startswith(start)]


def test_scores_are_those_of_the_evaluation(project):
    scores = json.loads((project / "scores" / "evaluation.json").read_text())
    upper = scores["classes"][UPPER]["iou"]
    assert 0.5 < upper["value"] < 0.97, "the mistake of one photo must show"
    cell = f"{upper['value']:.3f} ({upper['low']:.3f}–{upper['high']:.3f})"
    for name in ("REPORT.md", "MODEL_CARD.md"):
        row = next(line for line in document(project, name).splitlines() if line.startswith("| upperbody | 8 |"))
        assert row.split(" | ")[3] == cell
        assert "| closures | 0 | 0 | absent |" in document(project, name)
    mean = scores["mean"]["without_left_out"]["iou"]["value"]
    assert f"| mean without lowerbody | {mean:.3f} (" in document(project, "REPORT.md")


def test_mistakes_are_listed(project):
    (lower,) = rows_of(project, "Where it fails", "| lowerbody |")
    assert "upperbody 12%" in lower, "one of eight trousers got the class of a top"


def test_the_plain_recipe_is_compared_photo_by_photo(project):
    plain, ours = (
        json.loads((project / folder / "evaluation.json").read_text())["mean"]["with_background"]["iou"]["value"]
        for folder in ("scores-plain", "scores")
    )
    (row,) = rows_of(project, "Against the plain recipe", "| **mean** |")
    assert f"| {plain:.3f} | {ours:.3f} | {ours - plain:+.3f} (" in row
    assert "`make masks`" in document(project, "REPORT.md")


def test_training_and_speed_are_listed(project):
    report, card = document(project, "REPORT.md"), document(project, "MODEL_CARD.md")
    assert "| Steps, photos seen | 1,000, 4,000 |" in report
    assert "1.2 hours" in report
    assert "trained on 4,321 photos, and 7 whose masks" in report
    assert "| a photo | 1,234 ms |" in card
    assert "not measured: no bf16" in card


def test_the_card_names_the_file_and_its_classes(project):
    card, content = document(project, "MODEL_CARD.md"), (project / "model.onnx").read_bytes()
    assert ModelFile.from_bytes(content).sha256 in card
    assert f"{len(content):,} bytes" in card
    assert "Knows 3 of 13 classes: background, upperbody, lowerbody." in card


def test_nothing_names_paths_outside_the_project(project):
    for path in [project / "results" / "evaluation.json", *(project / "out").glob("*.md")]:
        text = path.read_text(encoding="utf-8")
        assert "secret" not in text.replace("/secret/", "secret "), path
        assert str(project) not in text, path


def test_pictures_are_there_and_can_be_read(project):
    for name in ("REPORT.md", "MODEL_CARD.md"):
        named = re.findall(r"!\[.*?\]\((.*?)\)", document(project, name))
        assert named
        for path in named:
            assert (project / "out" / path).is_file(), path
    charts = list((project / "out/docs/pictures/report").glob("*.svg"))
    assert len(charts) == 2
    for path in charts:
        assert ElementTree.fromstring(path.read_bytes()).tag.endswith("svg")
    chart = (project / "out/docs/pictures/report/classes.svg").read_text()
    upper = json.loads((project / "scores/evaluation.json").read_text())["classes"][UPPER]["iou"]["value"]
    assert f">{upper:.3f}<" in chart


def test_a_second_run_makes_the_same_documents(project, run):
    again = project / "again"
    run("report", "--model", project / "model.onnx", "--results", project / "results", "--output", again)
    for path in (project / "out").rglob("*.*"):
        assert (again / path.relative_to(project / "out")).read_bytes() == path.read_bytes(), path


def test_scores_of_another_model_are_refused(project, run, tmp_path):
    other = tmp_path / "other.onnx"
    content = color_model()
    other.write_bytes(add_metadata(content, ModelFile.from_bytes(content).description, {"again": 1}))
    with pytest.raises(SystemExit, match="is of a model"):
        run("report", "--model", other, "--results", project / "results", "--output", tmp_path)
    assert not list(tmp_path.glob("*.md"))


def test_what_names_a_path_outside_is_not_recorded(project, run, tmp_path):
    with pytest.raises(SystemExit, match="/secret/place"):
        run("results", project / "scores/evaluation.json", "--results", tmp_path)
    with pytest.raises(MissingInputError):
        run("results", tmp_path / "none.json", "--results", tmp_path)
    model = tmp_path / "model.onnx"
    model.write_bytes(color_model("../secret"))
    with pytest.raises(SystemExit, match=r"\.\./secret"):
        run("report", "--model", model, "--results", project / "results", "--output", tmp_path / "out")
    assert list(tmp_path.iterdir()) == [model]


def test_a_missing_file_of_results_is_named(project, run, tmp_path):
    with pytest.raises(SystemExit, match=r"evaluation\.json is missing"):
        run("report", "--model", project / "model.onnx", "--results", tmp_path, "--output", tmp_path / "out")


def test_photos_of_a_reader(project, run, tmp_path):
    photos = project / "data" / DATASET_FOLDER / "test"
    run("report", "--model", project / "model.onnx", "--photos", photos, "--output", tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"photo{number}" for number in range(8)]
    assert not list(tmp_path.glob("*.md"))
