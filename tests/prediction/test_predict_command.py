import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycocotools_mask

from clothseg import cli
from clothseg.labels import GROUPS
from clothseg.model.best import BestCheckpoint
from clothseg.pictures import read_mask
from clothseg.prediction.predict_command import shown
from clothseg.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture
def predict(tmp_path, monkeypatch, capfd, checkpoint_path):
    """Runs the command in the test's own folder; returns exit code, lines of stdout and lines of stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, ckpt=checkpoint_path, settings=Settings()):  # noqa: B008 - it is frozen
        words = [*arguments, "--ckpt", str(ckpt)] if ckpt else arguments
        with pytest.raises(SystemExit) as leaving:
            cli.start("predict", settings, arguments=list(map(str, words)), program="infer.py")
        captured = capfd.readouterr()
        return leaving.value.code, captured.out.splitlines(), captured.err.splitlines()

    return run


def test_the_seeds_example(predict, photo_file, checkpoint_path):
    photo_file("test_image.jpg")
    code, out, err = predict("test_image.jpg", "--output", "results", "--json")
    assert code == 0
    assert out == [f"results/test_image_{end}" for end in ("mask.png", "overlay.jpg", "results.json")]
    assert err[0].startswith(f"Model: {checkpoint_path} (torch on ")
    assert err[1].startswith("Found: ")
    assert err[2].startswith("1 photo in ")
    mask = read_mask(Path("results/test_image_mask.png"))
    results = json.loads(Path("results/test_image_results.json").read_text())
    rebuilt = np.zeros_like(mask)
    for segment in results["segments"]:
        rebuilt[pycocotools_mask.decode(segment["rle"]) == 1] = segment["class_id"]
        assert 0 < segment["score"] <= 1
    np.testing.assert_array_equal(rebuilt, mask)
    assert mask.shape == (results["height"], results["width"]) == (90, 60)
    assert results["file"] == "test_image.jpg"
    assert results["model"]["name"] == "tiny.ckpt"


def test_photos_without_a_garment_are_named(predict):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (60, 90), "white").save(name)
    code, _, err = predict("a.png", "b.png", ckpt="starter")
    assert (code, err[1:-1]) == (0, ["a.png: found no garment", "b.png: found no garment"])
    assert predict("a.png", ckpt="starter")[2][1] == "Found no garment"


def test_photos_and_folders_in_one_call(predict, photo_file):
    photo_file("one.png")
    photo_file("album/two.png")
    photo_file("album/deep/three.png")
    code, out, err = predict("one.png", "album")
    assert code == 0
    assert [line for line in out if "mask" in line] == [
        "output/one_mask.png",
        "output/deep/three_mask.png",
        "output/two_mask.png",
    ]
    assert "3 photos in " in err[-1]
    assert err[-1].endswith("in output")


def test_a_terminal_gets_a_summary_of_a_folder_and_the_paths_on_demand(predict, photo_file, monkeypatch):
    photo_file("album/a.png")
    photo_file("album/b.png")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    code, out, err = predict("album")
    assert (code, out) == (0, [])
    assert "2 photos in " in err[-1]
    assert len(predict("album", "--list-files")[1]) == 4
    assert len(predict("album/a.png")[1]) == 2


def test_the_precision_of_training_is_none_of_prediction(predict, photo_file):
    code, _, err = predict(photo_file("a.jpg"), settings=Settings(precision="bf16-mixed"))
    assert code == 0
    assert err[0].endswith("(torch on cpu)")


def test_a_bad_photo_is_named_and_the_rest_done(predict, photo_file):
    photo_file("album/a.png")
    Path("album/b.png").write_bytes(b"broken")
    code, out, err = predict("album", "gone.jpg")
    assert code == 1
    assert out == ["output/a_mask.png", "output/a_overlay.jpg"]
    assert "clothseg: Photo not found: gone.jpg. Check the path" in err
    assert [line for line in err if line.startswith("clothseg: ") and "album/b.png" in line]


def test_a_single_bad_photo_is_bad_input(predict):
    for name, content, message in (
        ("gone.jpg", None, "clothseg: Photo not found: gone.jpg. Check the path"),
        ("empty.jpg", b"", "clothseg: Photo is empty (0 bytes): empty.jpg. Pass a photo"),
        ("text.jpg", b"just words, nothing else", "clothseg: Not a photo that can be read: text.jpg."),
    ):
        if content is not None:
            Path(name).write_bytes(content)
        code, out, err = predict(name)
        assert code == 3, name
        assert out == []
        assert err[-1].startswith(message)
    assert not list(Path().rglob("*_mask.png"))


def test_nothing_but_bad_photos_is_bad_input(predict):
    Path("a.jpg").write_bytes(b"broken")
    code, _, err = predict("a.jpg", "gone.jpg")
    assert code == 3
    assert sum(line.startswith("clothseg: ") for line in err) == 3
    assert err[-1].startswith("clothseg: None of the 2 photos and folders could be used")


def test_no_photo_is_a_usage_error(predict):
    code, _, err = predict()
    assert code == 2
    assert err


def test_missing_photos_are_reported_before_the_model_is_opened(predict):
    assert predict("gone.jpg", ckpt="none.ckpt")[0] == 3


def test_the_starter_model_is_the_default_and_names_the_classes_it_has_not_seen(predict, photo_file):
    photo_file("a.png")
    code, out, err = predict("a.png", ckpt=None)
    assert code == 0
    assert len(out) == 2
    assert "packaged starter model" in err[0]
    assert "it has never seen closures, garment parts, decorations" in err[0]


@pytest.mark.parametrize("has_starter", [True, False])
def test_a_missing_model_error_says_how_to_get_one(predict, photo_file, monkeypatch, has_starter):
    photo_file("a.png")
    if not has_starter:
        monkeypatch.setattr("clothseg.starter.MODEL_NAMES", dict.fromkeys(("fp32", "int8"), "taken-out.onnx"))
    code, out, err = predict("a.png", ckpt="none.ckpt" if has_starter else None)
    assert code == 4
    assert out == []
    assert len(err) == 1
    assert "uv run train.py" in err[0]


def test_the_newest_best_checkpoint_is_the_default_unless_it_learned_from_the_drawn_sample(
    predict, photo_file, checkpoint_path
):
    photo_file("a.png")
    Path("checkpoints").mkdir()
    name = "checkpoints/clothseg-001-0.5000.ckpt"
    Path(name).write_bytes(checkpoint_path.read_bytes())
    own = f"Model: {name}, the newest best of your own training"
    best = BestCheckpoint(Path(name).name, val_loss=0.5, val_iou=0.2, epoch=1)
    good, bad = ({"val_iou/upperbody": iou, "val_iou/head": 0.3, "val_iou/closures": 0} for iou in (0.4, 0.1))
    for known, start, warning in (
        (best, f"{own} (torch on cpu)", ""),
        (replace(best, scores=good), f"{own} (torch on cpu)", ""),
        (replace(best, scores=bad), own, "Warning: its mean IoU on the 2 classes that the starter model also knows"),
        (replace(best, is_sample=True), f"Model: the packaged starter model ({name} learned from drawn pictures", name),
    ):
        known.write(Path("checkpoints"))
        code, _, err = predict("a.png", ckpt=None)
        assert code == 0
        assert err[0].startswith(start)
        assert warning in err[0]
    assert predict("a.png", ckpt=name)[2][0] == f"Model: {name} (torch on cpu)"
    assert predict("a.png", ckpt="starter")[2][0].startswith("Model: the packaged starter model")


def test_a_checkpoint_that_would_run_code_is_refused(predict, photo_file, tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    photo_file("a.png")
    Path("trap.ckpt").write_bytes(pickle.dumps(Trap()))
    code, _, err = predict("a.png", ckpt="trap.ckpt")
    assert code == 4
    assert "trap.ckpt" in err[-1]
    assert not (tmp_path / "ran").exists()


def test_an_output_that_is_a_file_is_a_machine_error(predict, photo_file):
    photo_file("a.png")
    Path("taken").write_text("mine")
    code, out, err = predict("a.png", "--output", "taken")
    assert code == 5
    assert out == []
    assert err == ["clothseg: Cannot write to taken: it is a file. Pass another --output"]
    assert Path("taken").read_text() == "mine"


def test_unusual_names_are_printed_on_one_line_each(predict, photo_file):
    photo_file("album/new\nline.png")
    photo_file("album/[bold]two words.png")
    Image.fromarray(np.zeros((5, 5, 4), np.uint8)).save("album/clear[red].png")
    code, out, err = predict("album")
    assert code == 0
    assert "output/new\\nline_mask.png" in out
    assert "output/[bold]two words_mask.png" in out
    assert "clear[red].png: its transparent parts are shown on white" in err


def test_a_photo_that_starts_with_a_dash(predict, photo_file):
    photo_file("-dash.png")
    assert predict("./-dash.png")[0] == 0
    assert Path("output/-dash_mask.png").is_file()


def test_shown_paths_are_one_printable_line():
    assert shown("a b/é.jpg") == "a b/é.jpg"
    assert shown("a\nb\udcff") == "a\\nb\\udcff"


def test_the_help_names_the_flags(predict):
    code, out, _ = predict("--help", ckpt=None)
    assert code == 0
    assert not [word for word in ("--ckpt", "--output", "--json", "PHOTO_OR_DIR") if word not in "\n".join(out)]


def test_a_list_on_standard_input(predict, photo_file, monkeypatch):
    photo_file("album/a.png")
    photo_file("album/deep/b.png")
    photo_file("c.png")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"album/a.png\nalbum/deep/b.png\ngone.png\n")))
    code, out, err = predict("c.png", "-")
    assert code == 1
    assert [line for line in out if "mask" in line] == [
        "output/c_mask.png",
        "output/album/a_mask.png",
        "output/album/deep/b_mask.png",
    ]
    assert "clothseg: Photo not found: gone.png. Check the path" in err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    code, _, err = predict("-")
    assert code == 3
    assert err == ["clothseg: The list on standard input is empty. Write one photo or folder a line"]


def test_a_second_run_resumes(predict, photo_file):
    photo_file("album/a.png")
    photo_file("album/b.png")
    first, _, _ = predict("album")
    masks = {path: path.stat().st_mtime_ns for path in Path("output").rglob("*.*")}
    photo_file("album/c.png")
    code, out, err = predict("album", "--resume")
    assert first == code == 0
    assert len(out) == 6
    assert "1 photo in " in err[-1]
    assert err[-1].endswith("2 done before, in output")
    after = {path: path.stat().st_mtime_ns for path in masks if path.suffix != ".jsonl"}
    assert after == {path: masks[path] for path in after}


def test_every_output_at_once(predict, photo_file):
    photo_file("album/a.png")
    photo_file("album/b.png")
    formats = ("coco", "coco-polygons", "label-studio")
    code, out, _ = predict("album", "--json", "--cutouts", "tight", "--soft-masks", "--formats", *formats)
    assert code == 0
    assert out[-5:] == [
        "output/coco_images.json",
        "output/coco_results.json",
        "output/coco_polygons.json",
        "output/label_studio_tasks.json",
        "output/label_studio_interface.xml",
    ]
    assert all(Path(line).is_file() for line in out)
    results = [json.loads(Path(f"output/{name}_results.json").read_text()) for name in "ab"]
    entries = json.loads(Path("output/coco_results.json").read_text())
    assert [entry["segmentation"] for entry in entries] == [one["rle"] for each in results for one in each["segments"]]
    shown = [segment["label"].replace(" ", "-") for segment in results[0]["segments"]]
    for kind in ("cutout", "soft"):
        assert {path.name for path in Path("output").glob(f"a_{kind}-*.png")} == {
            f"a_{kind}-{name}.png" for name in shown
        }


def test_garments_are_named_as_people_name_them(predict, photo_file):
    photo_file("album/a.png")
    photo_file("album/b.png")
    code, _, err = predict("album", "--keep", "shirt,trousers", "--cutouts", "tight,jeans", "--formats", "csv")
    assert code == 0
    assert "'shirt' is part of the class upperbody (tops and jackets)" in err
    assert "'jeans' is part of the class lowerbody (trousers and skirts)" in err
    kept = {0, GROUPS.id_of("shirt"), GROUPS.id_of("trousers")}
    assert all(set(np.unique(read_mask(Path(f"output/{name}_mask.png")))) <= kept for name in "ab")
    assert {path.name[2:] for path in Path("output").glob("*_cutout-*")} <= {"cutout-lowerbody.png"}
    rows = Path("output/garments.csv").read_text(encoding="utf-8-sig").splitlines()[1:]
    assert all(row.split(",")[2] in ("upperbody", "lowerbody") for row in rows)
    for flags in (
        ["--keep", "trosers"],
        ["--cutouts", "jens"],
        ["--try-on", "sleeves"],
        ["--background", "nowhere.png"],
        ["--try-on", "upper", "--edges", "hard"],
        ["--cutouts", "clothes,none"],
        ["--keep", " , "],
    ):
        code, _, err = predict("album", *flags)
        assert code == 2, flags
        assert "Nearest" in err[-1] or "Allowed" in err[-1] or "as in" in err[-1] or "stands alone" in err[-1]


def test_one_photo_writes_its_files_and_no_journal(predict, photo_file):
    photo_file("a.png")
    assert predict("a.png")[0] == 0
    assert sorted(path.name for path in Path("output").iterdir()) == ["a_mask.png", "a_overlay.jpg"]
    assert predict("a.png", "--formats", "coco")[0] == 0
    (image,) = json.loads(Path("output/coco_images.json").read_text())["images"]
    assert image["file_name"] == "a.png"


def test_tiles_and_test_time_augmentation_change_the_mask_and_keep_its_size(predict, photo_file):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)).save("a.png")
    masks = []
    for flags in ([], ["--tiles", "3"], ["--flip"], ["--scales", "0.75", "1.25"]):
        assert predict("a.png", *flags)[0] == 0
        masks.append(read_mask(Path("output/a_mask.png")))
    assert {mask.shape for mask in masks} == {(300, 200)}
    assert all((masks[0] != mask).any() for mask in masks[1:])


def test_flags_with_values_that_are_not_allowed(predict, photo_file):
    photo_file("a.png")
    for flags in ("--tiles 0", "--scales 9", "--cutouts round", "--formats yolo", "--runtime magic"):
        code, out, err = predict("a.png", *flags.split())
        assert code == 2, flags
        assert out == []
        assert err


IMPORTED = """
import os, sys
from clothseg import cli
try:
    cli.main(["predict", *sys.argv[1:]])
finally:
    print(sorted({"tyro", "rich", "torch"} & set(sys.modules)), "OPENBLAS_NUM_THREADS" in os.environ)
"""


def test_a_plain_prediction_imports_neither_tyro_nor_rich_nor_torch(run_in, photo_file, model_path):
    ended = run_in("-c", IMPORTED, str(photo_file("a.png")), "--json", "--ckpt", str(model_path))
    last = f"[] {'OPENBLAS_NUM_THREADS' in os.environ}"
    assert (ended.returncode, ended.stdout.splitlines()[-1]) == (0, last), ended.stderr
