"""Every defect of a record is set aside by name while a whole mirror is prepared, and the rest comes out right."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.data.preparation.fashionpedia_source import Mirror
from clothseg.data.preparation.prepare_command import Prepare
from clothseg.data.preparation.report import Report
from clothseg.data.progress import hide_step
from clothseg.encoding import encode_jpeg
from clothseg.errors import DataError, MissingInputError
from clothseg.labels import GROUPS
from clothseg.pictures import read_mask
from tests.data.reference_masks import assert_equals_reference, reference_masks
from tests.data.small_mirror import annotation_path, prepared, write_annotations, write_mirror


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    write_mirror(folder)
    return folder


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
