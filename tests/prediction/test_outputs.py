import codecs
import contextlib
import csv
import io
import json

import numpy as np
import pytest
from pycocotools import mask as pycocotools_mask
from pycocotools.coco import COCO

from clothseg.labels import GROUPS
from clothseg.prediction.outputs import write_polygons, write_results, write_table
from clothseg.prediction.segmentation import Segmentation

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def read(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(path)


def test_pycocotools_loads_the_results(results, segmentations, tmp_path):
    images, found = write_results(tmp_path, GROUPS, iter(results))
    coco = read(images)
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = coco.loadRes(str(found))
    assert [image["file_name"] for image in loaded.loadImgs([1, 2, 3, 4])] == [one.file for one in segmentations]
    assert {one["id"]: one["name"] for one in loaded.loadCats(loaded.getCatIds())} == dict(
        enumerate(GROUPS.names[1:], start=1)
    )
    for image_id, segmentation in enumerate(segmentations, start=1):
        rebuilt = np.zeros_like(segmentation.mask)
        annotations = loaded.loadAnns(loaded.getAnnIds(imgIds=[image_id]))
        for annotation in annotations:
            rebuilt[loaded.annToMask(annotation) == 1] = annotation["category_id"]
            assert annotation["area"] == (segmentation.mask == annotation["category_id"]).sum()
        np.testing.assert_array_equal(rebuilt, segmentation.mask)
        scores = {label.class_id: round(label.score, 4) for label in segmentation.labels}
        assert {one["category_id"]: one["score"] for one in annotations} == scores


def test_results_are_cocos_list_and_nothing_more(results, tmp_path):
    _, found = write_results(tmp_path, GROUPS, results)
    entries = json.loads(found.read_text())
    assert {tuple(entry) for entry in entries} == {("image_id", "category_id", "segmentation", "score")}
    assert len(entries) == sum(len(result["segments"]) for result in results)


def test_cocos_evaluation_reads_them(results, tmp_path):
    """Against the polygons of the same masks as truth, COCOeval gives an average precision close to 1."""
    from pycocotools.cocoeval import COCOeval

    images, found = write_results(tmp_path, GROUPS, results)
    (truth,) = write_polygons(tmp_path, GROUPS, results)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(read(truth), read(images).loadRes(str(found)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[1] == pytest.approx(1), "at IoU 0.5"


def test_polygons_are_the_masks_except_for_their_edges(results, segmentations, tmp_path):
    (path,) = write_polygons(tmp_path, GROUPS, results)
    coco = read(path)
    for image_id, segmentation in enumerate(segmentations, start=1):
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[image_id])):
            painted = coco.annToMask(annotation)
            inside = segmentation.mask == annotation["category_id"]
            union = (painted | inside).sum()
            assert (painted & inside).sum() / union > 0.85
            assert (
                annotation["bbox"]
                == pycocotools_mask.toBbox(pycocotools_mask.encode(np.asfortranarray(inside.astype(np.uint8)))).tolist()
            )
    (figure,) = [one for one in coco.loadAnns(coco.getAnnIds(imgIds=[1])) if one["category_id"] == 2]
    assert len(figure["segmentation"]) == 2, "the speck is a polygon of its own"
    assert not coco.annToMask(figure)[22:28, 12:18].any(), "the hole stays one"


def test_a_folder_without_photos_gives_empty_files(tmp_path):
    images, found = write_results(tmp_path, GROUPS, [])
    assert json.loads(found.read_text()) == []
    assert read(images).getImgIds() == []
    assert read(write_polygons(tmp_path, GROUPS, [])[0]).getAnnIds() == []


def test_a_table_of_garments_carries_names_colors_and_no_formula(tmp_path):
    names = ("=1+2.jpg", "+a.jpg", "-b.jpg", "@c.jpg", 'a,"b"\nü/é.jpg', "plain.jpg", "no UTF-8 \udce9.jpg", "\td.jpg")
    mask = np.zeros((20, 30), np.uint8)
    mask[2:12, 3:9] = GROUPS.id_of("upperbody")
    mask[12:18, 3:23] = GROUPS.id_of("belt")
    photo = np.full((20, 30, 3), 255, np.uint8)
    photo[2:12, 3:9], photo[12:18, 3:13], photo[12:18, 13:23] = (24, 32, 84), (250, 2, 2), (1, 128, 2)
    logits = np.zeros((13, 20, 30), np.float32)
    results = [Segmentation(mask, photo, GROUPS, logits, file=name).to_coco(colors=True) for name in names]
    (path,) = write_table(tmp_path, GROUPS, results)
    content = path.read_bytes()
    assert content.startswith(codecs.BOM_UTF8)
    assert content.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    shown = ["'=1+2.jpg", "'+a.jpg", "'-b.jpg", "'@c.jpg", *names[4:6], r"no UTF-8 \udce9.jpg", "'\td.jpg"]
    assert [row["photo"] for row in rows[::2]] == shown
    assert ",".join(rows[0].values()) == (
        "'=1+2.jpg,tops and jackets,upperbody,,0.1000,0.0769,3,2,6,10,#182054,navy,,,,"
    )
    belt = rows[1]
    assert (belt["garment"], belt["category"], belt["share"]) == ("belts", "belt", "0.2000")
    assert {belt["color_1_name"], belt["color_2_name"]} == {"red", "green"}
