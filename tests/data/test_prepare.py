"""A mirror becomes a prepared data set: right, whole, repeatable, and the same after a kill."""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.data import annotated_split
from clothseg.data.fashionpedia_source import Mirror, Sample
from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.prepare import prepare
from clothseg.data.prepare_command import Prepare
from clothseg.data.progress import hide_step
from clothseg.data.report import Report
from clothseg.errors import DataError, MachineError, MissingExtraError, MissingInputError, SettingError
from clothseg.labels import CATEGORIES, GROUPS
from clothseg.pictures import encode_jpeg, read_mask

from .reference_masks import reference_masks
from .small_mirror import annotation_path, write_annotations, write_mirror

PROJECT = Path(__file__).resolve().parents[2]
REAL_MIRROR = PROJECT.parent / "shared" / "fashionpedia-mirror"


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    write_mirror(folder)
    return folder


def prepared(mirror, folder, classes=GROUPS, num_workers=0):
    return prepare(Mirror(str(mirror)), folder, classes, num_workers=num_workers)


def content_of(folder):
    """Return the bytes of every file below a folder by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def assert_equals_reference(folder, mirror, classes=GROUPS):
    manifest = Manifest.read(folder)
    for name, split in manifest.splits.items():
        found = {photo.name: read_mask(mask) for photo, mask in pairs(folder, split)}
        expected = dict(reference_masks(annotation_path(mirror, name), classes))
        assert found.keys() == expected.keys()
        assert split.count == len(expected)
        for file_name, mask in expected.items():
            assert (found[file_name] == mask).all(), file_name
        counts = [np.bincount(mask.ravel(), minlength=len(classes)) for mask in expected.values()]
        assert split.pixels_per_class == tuple(np.sum(counts, axis=0).tolist())
        assert split.photos_per_class == tuple(np.sum([count > 0 for count in counts], axis=0).tolist())


@pytest.mark.parametrize("classes", [GROUPS, CATEGORIES])
def test_masks_equal_pycocotools_and_the_manifest_counts_them(mirror, tmp_path, classes):
    result = prepared(mirror, tmp_path / "out", classes)

    assert (result.was_ready, result.report.num_set_aside) == (False, 0)
    assert_equals_reference(tmp_path / "out", mirror, classes)
    assert (result.manifest.name, result.manifest.licence) == ("Noise", "CC0")
    assert Manifest.read(tmp_path / "out") == result.manifest
    assert Report.read(tmp_path / "out") == result.report
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    for split in ("train", "val"):
        copied = tmp_path / "out" / annotation_path(mirror, split).name
        assert copied.read_bytes() == annotation_path(mirror, split).read_bytes()


def test_several_processes_give_the_same_bytes_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr(annotated_split, "PHOTOS_WORTH_A_PROCESS", 40)
    write_mirror(tmp_path / "mirror", num_train=90, num_val=2)

    prepared(tmp_path / "mirror", tmp_path / "alone")
    prepared(tmp_path / "mirror", tmp_path / "together", num_workers=2)

    assert content_of(tmp_path / "alone") == content_of(tmp_path / "together")


def test_run_again_nothing_is_redone(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    again = prepared(mirror, tmp_path / "out")

    assert again.was_ready
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_other_classes_paint_anew_what_a_fresh_run_would(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")

    again = prepared(mirror, tmp_path / "out", CATEGORIES)

    prepared(mirror, tmp_path / "fresh", CATEGORIES)
    assert not again.was_ready
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


@pytest.mark.parametrize("also_killed", [False, True])
def test_another_source_leaves_nothing_of_the_first(mirror, tmp_path, also_killed):
    write_mirror(tmp_path / "other", num_train=3, num_val=4, seed=5)
    prepared(mirror, tmp_path / "out")
    if also_killed:
        (tmp_path / "out" / "dataset.json").unlink()
        (tmp_path / "out" / ".train_masks.77.part").mkdir()

    again = prepared(tmp_path / "other", tmp_path / "out")

    assert again.replaced == str(mirror)
    assert prepared(tmp_path / "other", tmp_path / "fresh").replaced is None
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


def test_an_annotation_file_changed_in_place_is_noticed(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    content = json.loads(annotation_path(mirror, "train").read_text())
    content["images"].pop()
    content["annotations"] = [
        one for one in content["annotations"] if one["image_id"] in {image["id"] for image in content["images"]}
    ]
    write_annotations(mirror, "train", content)

    again = prepared(mirror, tmp_path / "out")

    assert not again.was_ready
    assert_equals_reference(tmp_path / "out", mirror)


@pytest.mark.parametrize("lost", ["train_masks/train001.png", "train/train001.jpg", "dataset.json", "val_masks"])
def test_what_was_deleted_is_put_back(mirror, tmp_path, lost):
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")
    path = tmp_path / "out" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert not prepared(mirror, tmp_path / "out").was_ready
    assert content_of(tmp_path / "out") == before


def test_what_lies_beside_the_data_set_is_left_alone(mirror, tmp_path):
    write_mirror(tmp_path / "other", seed=5)
    prepared(mirror, tmp_path / "out")
    (tmp_path / "out" / "notes.json").write_text("{}")

    prepared(tmp_path / "other", tmp_path / "out")

    assert (tmp_path / "out" / "notes.json").exists()


def test_a_full_disk_is_named_and_leaves_no_manifest(mirror, tmp_path, monkeypatch):
    write = Path.write_bytes

    def no_room(path, content):
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(MachineError, match=r"train000\.png: No space left"):
        prepared(mirror, tmp_path / "out")
    monkeypatch.undo()

    assert not (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out" / "train_masks").exists()
    prepared(mirror, tmp_path / "out")
    prepared(mirror, tmp_path / "fresh")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


def test_a_folder_in_use_is_left_alone(mirror, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    descriptor = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    with pytest.raises(MachineError, match="Another run"):
        prepared(mirror, tmp_path / "out")

    os.close(descriptor)
    assert not list((tmp_path / "out").iterdir())


def test_a_sample_is_prepared_and_replaces_no_other_data(mirror, tmp_path):
    sample = Sample(train_photos=2, val_photos=1, test_photos=1)
    result = prepare(sample, tmp_path / "sample", GROUPS, num_workers=0)
    assert [split.count for split in result.manifest.splits.values()] == [2, 1]
    assert prepare(sample, tmp_path / "sample", GROUPS, num_workers=0).was_ready
    assert not [path for path in (tmp_path / "sample").iterdir() if path.name.startswith(".")]
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")

    with pytest.raises(DataError, match=r"the sample would replace.*--data-path"):
        prepare(sample, tmp_path / "out", GROUPS, num_workers=0)

    assert content_of(tmp_path / "out") == before
    prepared(mirror, tmp_path / "sample")
    assert content_of(tmp_path / "sample") == before


def test_a_source_that_is_not_there_costs_nothing(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")

    with pytest.raises(MissingInputError, match="--source"):
        prepared(tmp_path / "nowhere", tmp_path / "out")

    assert content_of(tmp_path / "out") == before


DEFECTS = {
    "NaN coordinate": ({"segmentation": [[1, 1, 9, float("nan"), 9, 9]]}, "coordinate"),
    "infinite coordinate": ({"segmentation": [[1, 1, 9, float("inf"), 9, 9]]}, "coordinate"),
    "no segmentation": ({"segmentation": ...}, "segmentation missing"),
    "empty segmentation": ({"segmentation": []}, "segmentation missing"),
    "two-point polygon": ({"segmentation": [[1, 1, 9, 9]]}, "polygon"),
    "odd polygon": ({"segmentation": [[1, 1, 9, 9, 9, 1, 4]]}, "polygon"),
    "area too large": ({"area": 1e9}, "area"),
    "area too small": ({"segmentation": [[0, 0, 18, 0, 18, 18, 0, 18]], "area": 3}, "area"),
    "area as text": ({"area": "12"}, "area"),
    "unknown category": ({"category_id": 999}, "unknown category"),
    "run lengths of another size": ({"segmentation": {"counts": [4], "size": [2, 2]}}, "run lengths"),
    "run lengths too short": ({"segmentation": {"counts": "11", "size": "same"}}, "run lengths"),
    "run lengths too long": ({"segmentation": {"counts": [10**6], "size": "same"}}, "run lengths"),
    "gigantic run lengths": ({"segmentation": {"counts": [4 * 10**10], "size": [200_000, 200_000]}}, "run lengths"),
    "missing image": ({"image_id": 99_999}, "missing image"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defective_annotation_is_set_aside_and_the_rest_is_prepared(mirror, tmp_path, name):
    values, reason = DEFECTS[name]
    content = json.loads(annotation_path(mirror, "train").read_text())
    image = content["images"][1]
    wrong = {"id": 5555, "image_id": image["id"], "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 36}
    wrong = {key: value for key, value in (wrong | values).items() if value is not ...}
    if isinstance(wrong.get("segmentation"), dict) and wrong["segmentation"]["size"] == "same":
        wrong["segmentation"]["size"] = [image["height"], image["width"]]
    broken = tmp_path / "broken"
    shutil.copytree(mirror, broken)
    write_annotations(broken, "train", content | {"annotations": [wrong, *content["annotations"]]})

    code = Prepare(source=str(broken), data_path=tmp_path / "out", num_workers=1).run()

    report = json.loads((tmp_path / "out" / DATASET_FOLDER / "preparation_report.json").read_text())
    (record,) = report["splits"]["train"]["records"]
    assert code == 1
    assert (record["reason"], record["annotation_id"]) == (reason, 5555)
    assert report["splits"]["train"]["set_aside"] == {reason: 1}
    assert_equals_reference(tmp_path / "out" / DATASET_FOLDER, mirror)
    assert Prepare(source=str(broken), data_path=tmp_path / "out").run() == 1, "the second run forgot"


IMAGE_DEFECTS = {
    "parent folder": ({"file_name": "../../train000.jpg"}, "file name"),
    "absolute": ({"file_name": "/etc/train000.jpg"}, "file name"),
    "no width": ({"width": ...}, "image size"),
    "null height": ({"height": None}, "image size"),
    "gigantic": ({"width": 200_000, "height": 200_000}, "image size"),
    "another size": ({"width": 7}, "photo size"),
    "missing photo": ({"file_name": "nowhere.jpg"}, "missing photo"),
    "duplicate id": ({"id": 13}, "duplicate image id"),
    "one mask for two photos": ({"file_name": "train001.png"}, "shared stem"),
}


@pytest.mark.parametrize("name", IMAGE_DEFECTS)
def test_a_defective_image_is_set_aside_and_the_rest_is_prepared(mirror, tmp_path, name):
    values, reason = IMAGE_DEFECTS[name]
    content = json.loads(annotation_path(mirror, "train").read_text())
    content["images"][0] = {k: v for k, v in (content["images"][0] | values).items() if v is not ...}
    write_annotations(mirror, "train", content)

    result = prepared(mirror, tmp_path / "out")

    train = result.report.splits["train"]
    set_aside = 2 if "duplicate" in name or "one mask" in name else 1
    reasons = train.reasons
    if "duplicate" in name:
        reasons.pop("missing image")  # the annotations that belonged to the id as it was
    assert reasons == {reason: set_aside}
    assert train.num_masks == len(content["images"]) - set_aside
    expected = dict(reference_masks(annotation_path(mirror, "val"), GROUPS))
    assert result.manifest.splits["val"].count == len(expected)
    found = [path for path in tmp_path.rglob("*.png") if DATASET_FOLDER not in path.parts]
    assert len(found) == train.num_masks + len(expected), "a mask lies outside its folder"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken photo"),
        (b"no photo at all", "broken photo"),
        ("cut", "broken photo"),
        ("turned", "photo size"),
    ],
)
def test_a_photo_that_cannot_be_used_is_set_aside(mirror, tmp_path, content, reason):
    image = json.loads(annotation_path(mirror, "train").read_text())["images"][2]
    pixels = np.random.default_rng(0).integers(0, 255, (image["height"], image["width"], 3), dtype=np.uint8)
    prepared(mirror, tmp_path / "out")
    path = tmp_path / "out" / "train" / image["file_name"]
    if content == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels).save(path, exif=exif)
    elif content == "cut":
        path.write_bytes(encode_jpeg(pixels)[:-200])
    else:
        path.write_bytes(content)

    report = _paint_again(mirror, tmp_path / "out")

    assert [(one.reason, one.file_name) for one in report.problems] == [(reason, image["file_name"])]
    assert report.num_masks == 4


def _paint_again(mirror, folder):
    """Paint the training masks from what lies in the photo folder; `prepare` would put the photo back first."""
    source = Mirror(str(mirror))
    (folder / "stage").mkdir()
    report, _ = source.fill_masks(
        folder, source.splits[0], folder / "stage", classes=GROUPS, num_workers=0, steps=hide_step
    )
    return report


def test_a_photo_turned_by_exif_is_painted_as_a_person_sees_it(mirror, tmp_path):
    content = json.loads(annotation_path(mirror, "train").read_text())
    image = content["images"][0]
    prepared(mirror, tmp_path / "out")
    exif = Image.Exif()
    exif[0x0112] = 8
    lying = np.zeros((image["width"], image["height"], 3), dtype=np.uint8)
    Image.fromarray(lying).save(tmp_path / "out" / "train" / image["file_name"], exif=exif)

    assert _paint_again(mirror, tmp_path / "out").problems == ()


def test_an_image_whose_annotations_are_all_set_aside_gets_no_mask_and_one_without_any_gets_an_empty_one(
    tmp_path, mirror
):
    content = json.loads(annotation_path(mirror, "train").read_text())
    first, second = (image["id"] for image in content["images"][:2])
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] != second]
    for one in content["annotations"]:
        if one["image_id"] == first:
            one["segmentation"] = []
    write_annotations(mirror, "train", content)

    result = prepared(mirror, tmp_path / "out")

    assert "no annotation left" in result.report.splits["train"].reasons
    assert not (tmp_path / "out" / "train_masks" / "train000.png").exists()
    assert not read_mask(tmp_path / "out" / "train_masks" / "train001.png").any()


def test_equal_areas_in_file_order_and_a_missing_area_is_counted(mirror, tmp_path):
    content = json.loads(annotation_path(mirror, "train").read_text())
    image = content["images"][0]
    big, small = [[0, 0, 12, 0, 12, 12, 0, 12]], [[3, 3, 9, 3, 9, 9, 3, 9]]
    shared = {"image_id": image["id"]}
    content["images"] = [image]
    content["annotations"] = [
        shared | {"id": 1, "category_id": 0, "segmentation": small},
        shared | {"id": 2, "category_id": 10, "segmentation": big, "area": None},
        shared | {"id": 3, "category_id": 6, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "area": 16},
        shared | {"id": 4, "category_id": 13, "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]], "area": 16},
    ]
    write_annotations(mirror, "train", content)

    result = prepared(mirror, tmp_path / "out")

    assert result.report.num_set_aside == 0
    mask = read_mask(tmp_path / "out" / "train_masks" / "train000.png")
    names = [GROUPS.names[mask[y, x]] for y, x in ((5, 5), (10, 10), (1, 1))]
    assert names == ["upperbody", "wholebody", "head"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"images": [], "annotations": [], "categories": []}', "<html>"])
def test_a_broken_annotation_file_is_an_error_with_no_data_set_left(mirror, tmp_path, content):
    prepared(mirror, tmp_path / "out")
    annotation_path(mirror, "val").write_text(content)

    with pytest.raises(DataError) as caught:
        prepared(mirror, tmp_path / "out")

    assert caught.value.exit_code == 3
    with pytest.raises(MissingInputError, match=r"data_prep\.py"):
        Manifest.read(tmp_path / "out")


def test_nothing_left_is_an_error_that_counts_the_reasons_and_the_report_names_them(mirror, tmp_path):
    content = json.loads(annotation_path(mirror, "train").read_text())
    for image in content["images"]:
        image["width"] = None
    write_annotations(mirror, "train", content)

    with pytest.raises(DataError, match=r"No photo of train .*image size \(5\).*preparation_report"):
        prepared(mirror, tmp_path / "out")

    report = Report.read(tmp_path / "out")
    assert report is not None
    assert not report.finished
    assert not list((tmp_path / "out").glob(".*"))
    assert len(report.splits["train"].problems) == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_workers": -1}, "--workers"),
        ({"sample": True, "annotations": Path("a.json")}, "--annotations and --sample"),
        ({"masks": Path("m"), "annotations": Path("a.json")}, "--annotations and --masks"),
        ({"photos": Path("p")}, "--photos is given without"),
        ({"sample": True, "photos": Path("p")}, "--photos is given without"),
        ({"annotations": Path("a.json")}, "--photos"),
        ({"annotations": Path("a.json"), "photos": Path("p"), "val_masks": Path("m")}, "--val-masks"),
        ({"annotations": Path("a.json"), "photos": Path("p"), "val_photos": Path("m")}, "--val-photos"),
        ({"masks": Path("m"), "photos": Path("p"), "val_annotations": Path("m")}, "--val-annotations"),
        ({"masks": Path("m"), "photos": Path("p"), "val_photos": Path("m")}, "--val-photos"),
        ({"masks": Path("m"), "photos": Path("p"), "val_share": 1.0}, "--val-share"),
        ({"classes": "grups"}, "grups"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(tmp_path, flags, message):
    with pytest.raises(SettingError, match=message):
        Prepare(data_path=tmp_path, **flags).run()

    assert not list(tmp_path.iterdir())


def test_without_msgspec_the_error_ends_with_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)

    with pytest.raises(MissingExtraError, match=r"clothseg\[train\]"):
        Prepare(data_path=tmp_path, source=str(tmp_path)).run()


RUN = """
import sys
from pathlib import Path
from clothseg.data import annotated_split, processes
from clothseg.data.fashionpedia_source import Mirror
from clothseg.data.prepare import prepare
from clothseg.labels import GROUPS
if __name__ == "__main__":
    processes.GROUP_SIZE = 4
    annotated_split.PHOTOS_WORTH_A_PROCESS = 1
    print("ready", flush=True)
    prepare(Mirror(sys.argv[1]), Path(sys.argv[2]), GROUPS, num_workers=int(sys.argv[3]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_killed_at_any_point_the_next_run_ends_with_the_same_bytes(tmp_path):
    write_mirror(tmp_path / "mirror", num_train=60, num_val=10)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    began = time.monotonic()
    prepared(tmp_path / "mirror", tmp_path / "calm")
    duration = time.monotonic() - began
    expected = content_of(tmp_path / "calm")
    chance = random.Random(3)

    for num_workers, longest in ((0, duration), (0, duration), (0, duration), (2, 4 * duration + 1)):
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "mirror"), str(tmp_path / "killed"), str(num_workers)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as words:
            assert words.readline() == b"ready\n"
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.wait()
    prepared(tmp_path / "mirror", tmp_path / "killed")

    assert content_of(tmp_path / "killed") == expected


@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="the mirror of real photos is not beside the project")
def test_all_850_masks_of_real_photos_equal_pycocotools(tmp_path):
    result = prepared(REAL_MIRROR, tmp_path / "out", num_workers=2)

    assert [split.count for split in result.manifest.splits.values()] == [700, 150]
    assert result.report.num_set_aside == 0
    assert_equals_reference(tmp_path / "out", REAL_MIRROR)
