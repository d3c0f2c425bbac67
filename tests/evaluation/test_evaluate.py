import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg import cli
from clothseg.encoding import encode_png
from clothseg.errors import DataError, InputError, MachineError, MissingInputError, SettingError
from clothseg.evaluation.evaluate import Evaluate
from clothseg.labels import GROUPS
from clothseg.model.best import BestCheckpoint
from clothseg.prediction.predict_command import Predict
from clothseg.scores import Scores, confusion_matrix
from tests.evaluation.conftest import read_json, shifted, truth_of
from tests.export.small_model import write_checkpoint

TRUTH = {f"street/{seed}": truth_of(seed) for seed in range(7)}
PREDICTED = {stem: shifted(mask, 2) for stem, mask in TRUTH.items()}


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def evaluate(make_data, write_masks, output):
    """Scores masks on data, and returns the exit code."""

    def run(predicted=PREDICTED, truth=TRUTH, ending=".png", **options):
        data, masks = make_data(truth), write_masks(predicted, ending=ending)
        return Evaluate(data_path=data, predictions=masks, output=output, **options).run()

    return run


@pytest.mark.parametrize("ending", [".png", "_mask.png"])
def test_masks_of_another_program_are_scored(evaluate, output, capsys, ending):
    assert evaluate(ending=ending) == 0
    values = read_json(output)
    matrix = sum(confusion_matrix(PREDICTED[stem], TRUTH[stem], 4) for stem in TRUTH)
    assert values["confusion_matrix"] == matrix.tolist()
    scores = Scores.from_confusion(matrix)
    for name in ("iou", "f1", "precision", "recall"):
        np.testing.assert_allclose([one[name]["value"] for one in values["classes"][:3]], getattr(scores, name)[:3])
    assert values["mean"]["with_background"]["iou"]["value"] == pytest.approx(scores.mean_iou)
    assert values["pixel_accuracy"]["value"] == pytest.approx(scores.accuracy)
    assert values["predictions"] == {"kind": "masks", "name": "masks"}
    assert values["data"]["photos"] == 7
    assert values["version"] == 1
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line.startswith(str(output))] == [
        str(output / name) for name in ("evaluation.json", "evaluation.md", "evaluation.html")
    ]
    assert re.search(r"hat\W+absent", printed)


def test_an_absent_class_is_absent_in_every_report(evaluate, output):
    evaluate()
    hat = read_json(output)["classes"][3]
    assert hat["absent"]
    assert hat["iou"] is hat["boundary_iou"] is None
    assert "| hat | absent |" in (output / "evaluation.md").read_text()
    assert re.search(r"hat</div>\s*<span></span>\s*<div class=\"figure\"><span class=\"quiet\">absent", _page(output))
    assert "neck" not in _page(output), "only the dataset's own classes"


def _page(output):
    return (output / "evaluation.html").read_text()


def test_the_counts_of_each_photo_add_up(evaluate, output):
    evaluate()
    values = read_json(output)
    for class_id in range(3):
        rows = [one["counts"].get(str(class_id), [0] * 5) for one in values["per_photo"]]
        hits, truth, predicted, boundary_hits, boundary_union = np.sum(rows, axis=0)
        one = values["classes"][class_id]
        assert one["iou"]["value"] == pytest.approx(hits / (truth + predicted - hits))
        assert one["boundary_iou"]["value"] == pytest.approx(boundary_hits / boundary_union)
        assert one["pixels"] == truth
    assert [one["photo"] for one in values["per_photo"]] == [f"{stem}.jpg" for stem in TRUTH]


def test_the_gallery_shows_the_worst_photos_first(evaluate, output):
    predicted = PREDICTED | {"street/4": np.zeros_like(TRUTH["street/4"]), "street/2": shifted(TRUTH["street/2"], 12)}
    evaluate(predicted=predicted)
    names = re.findall(r"<figcaption><b>([\d.]+)</b> (\S+)<br>", _page(output))
    assert [name for _, name in names][:2] == ["street/4.jpg", "street/2.jpg"]
    assert [float(iou) for iou, _ in names] == sorted(float(iou) for iou, _ in names)
    assert _page(output).count("data:image/jpeg;base64,") == 3 * 7
    assert "shoe missed" in _page(output)


def test_photos_that_cannot_be_scored_are_named_and_the_others_are_scored(make_data, write_masks, output, capsys):
    truth = {f"street/{seed}": truth_of(seed) for seed in range(8)}
    predicted = {stem: shifted(mask, 2) for stem, mask in truth.items()}
    del predicted["street/1"]
    predicted["street/3"] = np.zeros((60, 40), np.uint8)
    predicted["street/5"] = np.where(truth["street/5"] == 2, 200, truth["street/5"]).astype(np.uint8)
    data, masks = make_data(truth), write_masks(predicted)
    (masks / "street/0.png").write_bytes(b"no mask")
    Image.new("RGB", (48, 60)).save(masks / "street/2.png")
    wrong = np.full((60, 48), 9, np.uint8)
    (data / "fashionist/val_masks/street/4.png").write_bytes(encode_png(wrong, palette=GROUPS.palette))
    (data / "fashionist/test/street/7.jpg").write_bytes(b"no photo")  # its mask can be scored nevertheless
    assert Evaluate(data_path=data, predictions=masks, output=output).run() == 1
    messages = capsys.readouterr().err
    expected = (
        r"street/0\.jpg: .*street/0\.png",
        r"No mask of street/1\.jpg in",
        r"Mask has mode RGB: \S*street/2\.png",
        r"The prediction for street/3\.jpg has 40 x 60 pixels, its truth 48 x 60",
        r"street/4\.png has class id 9; the dataset has the ids 0 to 3",
        r"street/5\.png has the ids 200, which no class has. Known ids: 0, 1, 2, 3.*--class-map",
    )
    assert [one for one in expected if not re.search(one, messages)] == []
    values = read_json(output)
    assert [one["photo"] for one in values["data"]["failed"]] == [f"street/{n}.jpg" for n in range(6)]
    assert values["data"]["photos"] == len(values["per_photo"]) == 2
    assert "6 photos could not be scored" in _page(output)
    assert "6 photos could not be scored" in (output / "evaluation.md").read_text()
    assert "Not a photo that can be read" in _page(output)


def test_masks_are_found_by_the_names_that_other_systems_write(make_data, write_masks, output, capsys):
    names = {"street/Füße": "street/Fu\u0308ße_mask.PNG", "a": "A_mask.png", "b": "b.png", "c": "c.png"}
    data = make_data({stem: truth_of(0) for stem in names})
    masks = write_masks({name: truth_of(0) for name in [*names.values(), "c.PNG"]}, ending="")
    assert Evaluate(data_path=data, predictions=masks, output=output).run() == 1
    messages = capsys.readouterr().err
    assert "No mask of a.jpg" in messages
    assert "but 'A_mask.png' is there" in messages
    assert "Several masks of c.jpg" in messages
    assert [one["photo"] for one in read_json(output)["per_photo"]] == ["b.jpg", "street/Füße.jpg"]


def test_count_takes_photos_spread_over_the_split_and_a_second_run_gives_the_same(evaluate, output):
    runs = []
    for _ in range(2):
        assert evaluate(count=3) == 0
        runs.append(read_json(output))
        del runs[-1]["date"]
    assert [one["photo"] for one in runs[0]["per_photo"]] == [f"street/{n}.jpg" for n in (0, 3, 6)]
    assert runs[0] == runs[1]


def test_wrong_arguments_are_named(make_data, write_masks, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("empty").mkdir()
    long = tmp_path / ("a" * 300)
    given = {"data_path": make_data(TRUTH), "predictions": write_masks(PREDICTED), "output": output}
    wrong = []
    for options, kind, message in [
        ({"split": "tune"}, SettingError, "has no split 'tune'. It has: val"),
        ({"count": 0}, SettingError, "--count is 0"),
        ({"checkpoint_path": Path("model.onnx")}, SettingError, "Both a model, model.onnx, and --predictions"),
        ({"checkpoint_path": Path("empty")}, SettingError, "clothseg evaluate MODEL empty"),
        ({"data_path": Path("nowhere")}, MissingInputError, "Data folder not found: nowhere"),
        ({"data_path": Path("empty")}, MissingInputError, "Prepared dataset not found"),
        ({"predictions": Path("nowhere")}, MissingInputError, "Folder of masks not found: nowhere"),
        ({"output": Path("file")}, MachineError, "Cannot write to file: it is a file"),
        ({"data_path": long}, DataError, "name is too long"),
        ({"predictions": long}, DataError, "name is too long"),
        ({"class_map": long}, DataError, "name is too long"),
    ]:
        with pytest.raises(kind) as raised:
            Evaluate(**(given | options)).run()
        wrong += [str(raised.value)] if message not in str(raised.value) else []
    assert not wrong


def test_nothing_scored_is_an_error_and_leaves_no_report(evaluate, output):
    with pytest.raises(InputError, match=r"None of the 7 photos could be scored\. The first, street/0\.jpg: No mask"):
        evaluate(predicted={"other": TRUTH["street/0"]})
    assert list(output.iterdir()) == []


def test_a_class_map_changes_the_ids(evaluate, output, tmp_path):
    foreign = {stem: np.array([10, 30, 20], np.uint8)[mask] for stem, mask in PREDICTED.items()}
    class_map = tmp_path / "map.yaml"
    class_map.write_text("10: background\n20: shoe\n30: dress\n")
    assert evaluate(predicted=foreign, class_map=class_map) == 0
    mapped = read_json(output)["confusion_matrix"]
    evaluate()
    assert read_json(output)["confusion_matrix"] == mapped


GARMENT_TRUTH = {str(seed): np.array([0, 12, 4], np.uint8)[truth_of(seed)] for seed in range(6)}


def test_a_real_model_is_scored_as_predict_segments(tmp_path, make_data, output, monkeypatch, capsys):
    """From the command line: the masks that `predict` writes have the very scores that the model gets."""
    model = write_checkpoint(tmp_path / "small.ckpt")
    data = make_data(GARMENT_TRUTH, classes=GROUPS)
    (data / "fashionist/test/3.jpg").write_bytes(b"cut off")
    monkeypatch.setattr(sys, "argv", ["bin/clothseg", "evaluate", str(model), str(data), "--output", str(output)])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 1
    assert "3.jpg: Not a photo that can be read" in capsys.readouterr().err
    values = read_json(output)
    assert values["predictions"]["name"] == "small.ckpt"
    assert len(values["predictions"]["sha256"]) == 64
    assert values["command"].startswith("clothseg evaluate")

    photos = (str(data / "fashionist/test"),)
    assert Predict(photos, checkpoint_path=model, output=tmp_path / "seen").run() == 1
    assert Evaluate(data_path=data, predictions=tmp_path / "seen", output=tmp_path / "again").run() == 1
    again = read_json(tmp_path / "again")
    for name in ("classes", "confusion_matrix", "per_photo", "mean", "object_sizes", "garments_per_photo"):
        assert again[name] == values[name]


def test_a_model_with_other_classes_is_refused_or_mapped(tmp_path, make_data, output):
    options = {"checkpoint_path": write_checkpoint(tmp_path / "small.ckpt"), "data_path": make_data(TRUTH)}
    with pytest.raises(
        DataError, match=r"small\.ckpt has other classes than the dataset: none of background, .* 'closures'"
    ):
        Evaluate(**options, output=output).run()
    lines = [f"{name}: {'background' if name != 'head' else 'hat'}" for name in GROUPS.names]
    (tmp_path / "map.yaml").write_text("\n".join(lines))
    assert Evaluate(**options, output=output, class_map=tmp_path / "map.yaml").run() == 0
    predicted = np.sum(read_json(output)["confusion_matrix"], axis=0)
    assert predicted[0] > 0
    assert predicted[1] == predicted[2] == 0


def test_without_a_model_the_best_checkpoint_is_scored(tmp_path, make_data, output):
    """The dataset's folder may be given in place of the model."""
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    write_checkpoint(checkpoints / "mine.ckpt")
    BestCheckpoint("mine.ckpt", val_loss=0.5, val_iou=0.5, epoch=1).write(checkpoints)
    data = make_data(GARMENT_TRUTH, classes=GROUPS) / "fashionist"
    assert Evaluate(checkpoint_path=data, output=output, checkpoints_path=checkpoints).run() == 0
    assert read_json(output)["predictions"]["name"] == "mine.ckpt"
