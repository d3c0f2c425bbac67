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
from tests.evaluation.conftest import CLASSES, read_json, shifted, truth_of
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
def test_masks_from_elsewhere_are_scored(evaluate, output, capsys, ending):
    assert evaluate(ending=ending) == 0
    values = read_json(output)
    matrix = sum(confusion_matrix(PREDICTED[stem], TRUTH[stem], 4) for stem in TRUTH)
    assert values["confusion_matrix"] == matrix.tolist()
    scores = Scores.from_confusion(matrix, CLASSES.names)
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
    assert "neck" not in _page(output), "only the data set's own classes"


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


def test_two_runs_give_the_same_scores(evaluate, output):
    evaluate()
    first = read_json(output)
    evaluate()
    second = read_json(output)
    for values in (first, second):
        del values["date"]
    assert first == second


def test_the_gallery_shows_the_worst_photos_first(evaluate, output):
    predicted = PREDICTED | {"street/4": np.zeros_like(TRUTH["street/4"]), "street/2": shifted(TRUTH["street/2"], 12)}
    evaluate(predicted=predicted)
    names = re.findall(r"<figcaption><b>([\d.]+)</b> (\S+)<br>", _page(output))
    assert [name for _, name in names][:2] == ["street/4.jpg", "street/2.jpg"]
    assert [float(iou) for iou, _ in names] == sorted(float(iou) for iou, _ in names)
    assert _page(output).count("data:image/jpeg;base64,") == 3 * 7
    assert "shoe missed" in _page(output)


def test_photos_that_cannot_be_scored_are_named_and_the_rest_is_done(evaluate, output, capsys):
    predicted = dict(PREDICTED)
    del predicted["street/1"]
    predicted["street/3"] = np.zeros((60, 40), np.uint8)
    predicted["street/5"] = np.where(TRUTH["street/5"] == 2, 200, TRUTH["street/5"]).astype(np.uint8)
    assert evaluate(predicted=predicted) == 1
    messages = capsys.readouterr().err
    assert "No mask of street/1.jpg in" in messages
    assert "The prediction for street/3.jpg has 40 x 60 pixels, its truth 48 x 60" in messages
    assert re.search(r"street/5.png has the ids 200, which no class has. Known ids: 0, 1, 2, 3.*--class-map", messages)
    values = read_json(output)
    assert [one["photo"] for one in values["data"]["failed"]] == ["street/1.jpg", "street/3.jpg", "street/5.jpg"]
    assert values["data"]["photos"] == len(values["per_photo"]) == 4
    assert "3 photos could not be scored" in _page(output)
    assert "3 photos could not be scored" in (output / "evaluation.md").read_text()


def test_a_mask_that_is_no_mask_is_named(evaluate, write_masks, make_data, output, capsys):
    masks = write_masks(PREDICTED)
    (masks / "street/0.png").write_bytes(b"no mask")
    Image.new("RGB", (48, 60)).save(masks / "street/1.png")
    assert Evaluate(data_path=make_data(TRUTH), predictions=masks, output=output).run() == 1
    messages = capsys.readouterr().err
    assert "street/0.png" in messages
    assert re.search(r"Mask has mode RGB: \S*street/1.png", messages)


def test_nothing_scored_is_an_error_and_leaves_no_report(evaluate, output):
    with pytest.raises(InputError, match=r"None of the 7 photos could be scored\. The first, street/0\.jpg: No mask"):
        evaluate(predicted={"other": TRUTH["street/0"]})
    assert list(output.iterdir()) == []


def test_a_class_map_makes_foreign_ids_ours(evaluate, output, tmp_path):
    foreign = {stem: np.array([10, 30, 20], np.uint8)[mask] for stem, mask in PREDICTED.items()}
    class_map = tmp_path / "map.yaml"
    class_map.write_text("10: background\n20: shoe\n30: dress\n")
    assert evaluate(predicted=foreign, class_map=class_map) == 0
    mapped = read_json(output)["confusion_matrix"]
    evaluate()
    assert read_json(output)["confusion_matrix"] == mapped


def test_a_broken_photo_does_not_keep_masks_from_being_scored(evaluate, make_data, write_masks, output):
    data = make_data(TRUTH)
    (data / "fashionist/test/street/0.jpg").write_bytes(b"no photo")
    predicted = PREDICTED | {"street/0": np.zeros_like(TRUTH["street/0"])}
    assert Evaluate(data_path=data, predictions=write_masks(predicted), output=output).run() == 0
    assert "Not a photo that can be read" in _page(output)


def test_count_takes_photos_spread_over_the_split(evaluate, output):
    assert evaluate(count=3) == 0
    assert [one["photo"] for one in read_json(output)["per_photo"]] == [f"street/{n}.jpg" for n in (0, 3, 6)]


def test_the_data_set_s_own_folder_and_the_model_s_place_do_too(make_data, write_masks, output):
    data, masks = make_data(TRUTH), write_masks(PREDICTED)
    assert Evaluate(checkpoint_path=data / "fashionist", predictions=masks, output=output).run() == 0


def test_wrong_arguments_are_named(make_data, write_masks, output, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    given = {"data_path": make_data(TRUTH), "predictions": write_masks(PREDICTED), "output": output}
    for options, kind, message in [
        ({"split": "tune"}, SettingError, "has no split 'tune'. It has: val"),
        ({"count": 0}, SettingError, "--count is 0"),
        ({"checkpoint_path": Path("model.onnx")}, SettingError, "Both a model, model.onnx, and --predictions"),
        ({"data_path": Path("nowhere")}, MissingInputError, "Data folder not found: nowhere"),
        ({"predictions": Path("nowhere")}, MissingInputError, "Folder of masks not found: nowhere"),
        ({"output": Path("file")}, MachineError, "Cannot make the output folder"),
    ]:
        with pytest.raises(kind, match=message):
            Evaluate(**(given | options)).run()


def test_an_unprepared_folder_is_named(tmp_path, output):
    with pytest.raises(MissingInputError, match="Prepared data set not found"):
        Evaluate(data_path=tmp_path, predictions=tmp_path, output=output).run()


def test_truth_with_ids_beyond_the_classes_is_named(make_data, write_masks, output, capsys):
    data = make_data(TRUTH)
    wrong = np.full((60, 48), 9, np.uint8)
    (data / "fashionist/val_masks/street/2.png").write_bytes(encode_png(wrong, palette=GROUPS.palette))
    assert Evaluate(data_path=data, predictions=write_masks(PREDICTED), output=output).run() == 1
    assert "street/2.png has class id 9; the data set has the ids 0 to 3" in capsys.readouterr().err


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


def test_a_model_with_other_classes_is_refused(tmp_path, make_data, output):
    model = write_checkpoint(tmp_path / "small.ckpt")
    with pytest.raises(
        DataError, match=r"small\.ckpt has other classes than the data set: 13 classes, the data set has 4"
    ):
        Evaluate(checkpoint_path=model, data_path=make_data(TRUTH), output=output).run()


def test_a_model_s_classes_can_be_mapped(tmp_path, make_data, output):
    model = write_checkpoint(tmp_path / "small.ckpt")
    lines = [f"{name}: {'background' if name != 'head' else 'hat'}" for name in GROUPS.names]
    (tmp_path / "map.yaml").write_text("\n".join(lines))
    options = {"checkpoint_path": model, "data_path": make_data(TRUTH), "output": output}
    assert Evaluate(**options, class_map=tmp_path / "map.yaml").run() == 0
    predicted = np.sum(read_json(output)["confusion_matrix"], axis=0)
    assert predicted[0] > 0
    assert predicted[1] == predicted[2] == 0


def test_without_a_model_the_best_of_one_s_own_training_is_scored(tmp_path, make_data, output):
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    write_checkpoint(checkpoints / "mine.ckpt")
    BestCheckpoint("mine.ckpt", val_loss=0.5, val_iou=0.5, epoch=1).write(checkpoints)
    data = make_data(GARMENT_TRUTH, classes=GROUPS)
    assert Evaluate(checkpoint_path=data, output=output, checkpoints_path=checkpoints).run() == 0
    assert read_json(output)["predictions"]["name"] == "mine.ckpt"


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


def test_a_path_that_the_system_refuses_is_named(make_data, write_masks, output, tmp_path):
    data, masks, long = make_data(TRUTH), write_masks(PREDICTED), tmp_path / ("a" * 300)
    for given in (
        {"data_path": long, "predictions": masks},
        {"data_path": data, "predictions": long},
        {"data_path": data, "predictions": masks, "class_map": long},
    ):
        with pytest.raises(DataError, match="name is too long"):
            Evaluate(output=output, **given).run()
