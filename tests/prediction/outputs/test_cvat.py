import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clothseg.encoding import encode_png
from clothseg.labels import GROUPS, ClassList, ClothingClass
from clothseg.prediction.outputs.cvat import runs_by_row, write_annotations


@settings(max_examples=60)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_runs_begin_outside_and_go_by_rows(mask):
    runs = runs_by_row(mask)
    np.testing.assert_array_equal(np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(mask.shape), mask)
    assert all(runs[1:]), "only the first may be empty"


def mask_of(image):
    """Paint the masks of an <image>, as CVAT's documentation of the format describes them."""
    painted = np.zeros((int(image.get("height")), int(image.get("width"))), np.uint8)
    for mask in image.findall("mask"):
        left, top, width, height = (int(mask.get(name)) for name in ("left", "top", "width", "height"))
        runs = [int(run) for run in mask.get("rle").split(",")]
        inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        painted[top : top + height, left : left + width][inside] = GROUPS.id_of(mask.get("label"))
    return painted


def test_masks_are_read_back_whole(results, segmentations, tmp_path):
    path, labels = write_annotations(tmp_path, GROUPS, iter(results))
    root = ElementTree.parse(path).getroot()
    assert root.findtext("version") == "1.1"
    for number, (image, segmentation) in enumerate(zip(root.findall("image"), segmentations, strict=True)):
        assert image.get("id") == str(number)
        assert image.get("name") == segmentation.file
        np.testing.assert_array_equal(mask_of(image), segmentation.mask)
    names = [label.findtext("name") for label in root.findall("meta/task/labels/label")]
    assert names == [label["name"] for label in json.loads(labels.read_text())] == list(GROUPS.names[1:])


def test_names_that_xml_cannot_hold(results, tmp_path):
    classes = ClassList((ClothingClass("background", (0, 0, 0)), ClothingClass("a & <b>", (1, 2, 3))))
    odd = [results[2] | {"file": name} for name in ("new\nline.jpg", "bell\a.jpg", "\udcff.jpg")]
    path, _ = write_annotations(tmp_path, classes, odd)
    root = ElementTree.parse(path).getroot()
    assert [image.get("name") for image in root.findall("image")] == ["new\nline.jpg", "bell?.jpg", "?.jpg"]
    assert root.findtext("meta/task/labels/label/name") == "a & <b>"


def test_datumaro_which_cvat_imports_with_reads_them(results, segmentations, tmp_path):
    """Run it with: uv run --with datumaro pytest tests/prediction/outputs."""
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed")
    (tmp_path / "images").mkdir()
    renamed = [result | {"file": f"{number}.png"} for number, result in enumerate(results)]
    for result, segmentation in zip(renamed, segmentations, strict=True):
        (tmp_path / "images" / result["file"]).write_bytes(encode_png(segmentation.photo))
    write_annotations(tmp_path, GROUPS, renamed)
    items = {item.id: item for item in datumaro.Dataset.import_from(str(tmp_path), "cvat")}
    for number, segmentation in enumerate(segmentations):
        painted = np.zeros_like(segmentation.mask)
        for annotation in items[str(number)].annotations:
            painted[np.asarray(annotation.image) > 0] = annotation.label + 1
        np.testing.assert_array_equal(painted, segmentation.mask)
