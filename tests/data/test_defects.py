"""Defective records of a mirror are skipped with their reasons while it is prepared, and the rest comes out right."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.data.prepare_command import Prepare
from clothseg.data.report import Report
from clothseg.data.source import TRAIN, MaskJob
from clothseg.data.sources import Mirror
from clothseg.errors import DataError, MissingInputError
from clothseg.labels import GROUPS
from clothseg.pictures import read_mask
from clothseg.progress import hide_step
from tests.data.reference_masks import assert_equals_reference
from tests.data.small_mirror import annotation_path, prepared, write_annotations

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


IMAGES = {
    9001: ({"file_name": "../../train000.jpg"}, "file name"),
    9002: ({"file_name": "/etc/train000.jpg"}, "file name"),
    9003: ({"file_name": "nowhere.jpg"}, "missing photo"),
    9004: ({"width": None}, "image size"),
    9005: ({"width": 200_000, "height": 200_000}, "image size"),
}


def test_defective_records_are_skipped_with_reason_and_the_rest_is_prepared(mirror, tmp_path):
    content = json.loads(annotation_path(mirror, "train").read_text())
    image = content["images"][1]
    added, reasons = [], {}
    for number, (values, reason) in enumerate(DEFECTS.values(), 5001):
        wrong = {"image_id": image["id"], "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]], "area": 36}
        wrong = {key: value for key, value in (wrong | values | {"id": number}).items() if value is not ...}
        if isinstance(wrong.get("segmentation"), dict) and wrong["segmentation"]["size"] == "same":
            wrong["segmentation"] = wrong["segmentation"] | {"size": [image["height"], image["width"]]}
        added.append(wrong)
        reasons[number] = reason
    images = [{"id": key, "file_name": f"{key}.jpg", "width": 9, "height": 9} | row for key, (row, _) in IMAGES.items()]
    reasons |= {key: reason for key, (_, reason) in IMAGES.items()}
    broken = tmp_path / "broken"
    shutil.copytree(mirror, broken)
    rows = {"images": [*images, *content["images"]], "annotations": [*added, *content["annotations"]]}
    write_annotations(broken, "train", content | rows)

    code = Prepare(source=str(broken), data_path=tmp_path / "out", num_workers=1).run()

    report = json.loads((tmp_path / "out" / DATASET_FOLDER / "preparation_report.json").read_text())["splits"]["train"]
    found = [(record.get("annotation_id", record["image_id"]), record["reason"]) for record in report["records"]]
    assert code == 1
    assert dict(found) == reasons
    assert len(found) == len(reasons)
    assert report["set_aside"] == Counter(reasons.values())
    assert_equals_reference(tmp_path / "out" / DATASET_FOLDER, mirror)
    assert not [path for path in tmp_path.rglob("*.png") if DATASET_FOLDER not in path.parts]
    assert Prepare(source=str(broken), data_path=tmp_path / "out").run() == 1, "the second run forgot"


def test_photos_that_cannot_be_used_are_skipped_with_reason(mirror, tmp_path):
    images = json.loads(annotation_path(mirror, "train").read_text())["images"]
    prepared(mirror, tmp_path / "out")
    paths = [tmp_path / "out" / "train" / image["file_name"] for image in images]
    paths[0].write_bytes(b"")
    paths[1].write_bytes(b"no photo at all")
    paths[2].write_bytes(paths[2].read_bytes()[:-200])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((images[3]["height"], images[3]["width"], 3), dtype=np.uint8)).save(paths[3], exif=exif)

    report = _paint_again(mirror, tmp_path / "out")

    reasons = ["broken photo"] * 3 + ["photo size"]
    assert [(one.reason, one.file_name) for one in report.problems] == [
        (reason, image["file_name"]) for reason, image in zip(reasons, images, strict=False)
    ]
    assert report.num_masks == 1


def _paint_again(mirror, folder):
    """Paint the training masks from what lies in the photo folder; `prepare` would put the photo back first."""
    source = Mirror(str(mirror))
    (folder / "stage").mkdir()
    report, _ = source.write_masks(MaskJob(folder, TRAIN, folder / "stage", GROUPS, 0, hide_step))
    return report


def test_a_photo_with_an_exif_orientation_is_painted_upright(mirror, tmp_path):
    content = json.loads(annotation_path(mirror, "train").read_text())
    image = content["images"][0]
    prepared(mirror, tmp_path / "out")
    exif = Image.Exif()
    exif[0x0112] = 8
    lying = np.zeros((image["width"], image["height"], 3), dtype=np.uint8)
    Image.fromarray(lying).save(tmp_path / "out" / "train" / image["file_name"], exif=exif)

    assert _paint_again(mirror, tmp_path / "out").problems == ()


def test_all_annotations_skipped_gives_no_mask_and_no_annotations_an_empty_one(tmp_path, mirror):
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

    assert result.report.num_skipped == 0
    mask = read_mask(tmp_path / "out" / "train_masks" / "train000.png")
    names = [GROUPS.names[mask[y, x]] for y, x in ((5, 5), (10, 10), (1, 1))]
    assert names == ["upperbody", "wholebody", "head"]


def test_a_broken_annotation_file_is_an_error_with_no_data_set_left(mirror, tmp_path):
    right = annotation_path(mirror, "val").read_text()
    for content in ("", "{}", "[]", '{"images": [], "annotations": [], "categories": []}', "<html>"):
        annotation_path(mirror, "val").write_text(right)
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
