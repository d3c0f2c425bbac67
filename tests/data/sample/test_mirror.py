import hashlib
import io
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from clothseg.data.sample import draw_photo, draw_sample, sample_picture
from clothseg.labels import FASHIONPEDIA_CATEGORIES, GROUPS

COUNTS = {"train": 14, "val": 8, "test": 2}
MANY_COUNTS = {"train": 46, "val": 20, "test": 0}
"""Enough photos for statements about all classes."""

# pycocotools decodes through an old NumPy interface.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def draw_counts(folder, counts):
    draw_sample(folder, tuple(counts.values()), seed=5, progress=lambda *step: None)
    return folder


def read_photos(folder):
    """Return every photo by file name: (H, W, 3) uint8 RGB."""
    found = {}
    for archive in ("train2020", "val_test2020"):
        with zipfile.ZipFile(folder / "images" / f"{archive}.zip") as members:
            for name in members.namelist():
                found[name.split("/")[1]] = np.asarray(Image.open(io.BytesIO(members.read(name))))
    return found


def read_instances(folder, photos):
    """Return each annotation of train and val with its group, its mask and its photo."""
    groups = {name: group for group, names in FASHIONPEDIA_CATEGORIES.items() for name in names}
    found = []
    for split in ("train", "val"):
        coco = COCO(folder / "annotations" / f"instances_attributes_{split}2020.json")
        for row in coco.dataset["annotations"]:
            group = groups[coco.cats[row["category_id"]]["name"]]
            found.append((row, group, coco.annToMask(row), photos[coco.imgs[row["image_id"]]["file_name"]]))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return draw_counts(tmp_path_factory.mktemp("drawn"), COUNTS)


@pytest.fixture(scope="module")
def photos(folder):
    return read_photos(folder)


@pytest.fixture(scope="module")
def instances(folder, photos):
    return read_instances(folder, photos)


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory):
    return draw_counts(tmp_path_factory.mktemp("many"), MANY_COUNTS)


def annotations(folder, split):
    name = "info_test2020" if split == "test" else f"instances_attributes_{split}2020"
    return json.loads((folder / "annotations" / f"{name}.json").read_text())


def test_layout_is_that_of_the_official_download(folder, photos):
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "annotations/info_test2020.json",
        "annotations/instances_attributes_train2020.json",
        "annotations/instances_attributes_val2020.json",
        "images/train2020.zip",
        "images/val_test2020.zip",
    ]
    listed = {split: [row["file_name"] for row in annotations(folder, split)["images"]] for split in COUNTS}
    assert {split: len(names) for split, names in listed.items()} == COUNTS
    with zipfile.ZipFile(folder / "images" / "train2020.zip") as archive:
        assert archive.namelist() == [f"train/{name}" for name in listed["train"]]
    with zipfile.ZipFile(folder / "images" / "val_test2020.zip") as archive:
        assert archive.namelist() == [f"test/{name}" for name in listed["val"] + listed["test"]]
    for split in COUNTS:
        for row in annotations(folder, split)["images"]:
            assert photos[row["file_name"]].shape == (row["height"], row["width"], 3)


def test_annotation_files_have_the_official_keys(folder):
    for split in ("train", "val"):
        content = annotations(folder, split)
        assert list(content) == ["info", "licenses", "images", "annotations", "categories", "attributes"]
        assert set(content["annotations"][0]) == {
            *("id", "image_id", "category_id", "attribute_ids", "segmentation", "area", "bbox", "iscrowd"),
        }
        assert len({row["id"] for row in content["annotations"]}) == len(content["annotations"])
        named = {row["name"]: row["supercategory"] for row in content["categories"]}
        assert named == {name: group for group, names in FASHIONPEDIA_CATEGORIES.items() for name in names}
        assert [row["id"] for row in content["categories"]] == list(range(46))
        assert set(content["categories"][0]) == {"id", "name", "supercategory", "level", "taxonomy_id"}
    assert "annotations" not in annotations(folder, "test")


def test_every_group_is_in_both_splits(folder):
    for split in ("train", "val"):
        content = annotations(folder, split)
        groups = {row["id"]: row["supercategory"] for row in content["categories"]}
        assert {groups[row["category_id"]] for row in content["annotations"]} == set(FASHIONPEDIA_CATEGORIES), split


@pytest.mark.slow
def test_every_category_is_drawn(large_folder):
    drawn = set()
    for split in ("train", "val"):
        content = annotations(large_folder, split)
        names = {row["id"]: row["name"] for row in content["categories"]}
        drawn |= {names[row["category_id"]] for row in content["annotations"]}
    assert drawn == {name for names in FASHIONPEDIA_CATEGORIES.values() for name in names}


def test_polygons_are_in_the_photo_and_masks_with_holes_are_compressed_rle(instances):
    parts, holed = [], 0
    for row, _, mask, photo in instances:
        assert row["area"] == mask.sum() > 0
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert row["bbox"] == [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
        outlines = row["segmentation"]
        if isinstance(outlines, dict):
            assert row["iscrowd"] == 1
            assert outlines["size"] == list(photo.shape[:2])
            assert isinstance(outlines["counts"], str)
            _, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            holed += bool((tree[0][:, 3] >= 0).any())
            continue
        assert row["iscrowd"] == 0
        parts.append(len(outlines))
        for polygon in outlines:
            points = np.array(polygon).reshape(-1, 2)
            assert len(points) >= 3
            assert (points >= 0).all()
            assert (points <= photo.shape[1::-1]).all()
    assert max(parts) > 1, "something in front divides an instance"
    assert holed >= 5


def test_painting_larger_instances_first_gives_what_is_on_top():
    """Masks painted by Fashionpedia's rule have, away from edges, the class of the topmost layer."""
    groups = {name: group for group, names in FASHIONPEDIA_CATEGORIES.items() for name in names}
    class_ids = [GROUPS.id_of(group) for group in groups.values()]
    wrong = compared = 0
    for index in range(8):
        photo = draw_photo(11, "val", index)
        canvas, size = photo.canvas, (photo.canvas.height, photo.canvas.width)
        mask = np.zeros(size, np.uint8)
        for row in sorted(photo.instances, key=lambda one: -one["area"]):
            runs = row["segmentation"]
            runs = runs if isinstance(runs, dict) else coco_mask.merge(coco_mask.frPyObjects(runs, *size))
            mask[coco_mask.decode(runs) > 0] = class_ids[row["category_id"]]
        names = [[groups[canvas.instances[number]] for number in owners] for owners in canvas.owners]
        classes = np.array([GROUPS.id_of(owners[-1]) if owners else 0 for owners in names], np.uint8)
        fine = classes[canvas.top]
        flat = cv2.erode(fine, np.ones((7, 7))) == cv2.dilate(fine, np.ones((7, 7)))
        wrong += np.count_nonzero(mask[flat[::2, ::2]] != fine[::2, ::2][flat[::2, ::2]])
        compared += np.count_nonzero(flat[::2, ::2])
    assert compared > 1_000_000
    assert wrong / compared < 0.0005


def test_outlines_are_on_the_edges_of_the_stored_photo(instances):
    """Averaged over all instances, the photo changes most within a pixel of the outline."""
    steps = np.arange(-5, 6)
    total, count = np.zeros(len(steps)), np.zeros(len(steps))
    for row, _, mask, photo in instances:
        if row["area"] < 300:
            continue
        x, y, width, height = (int(side) for side in row["bbox"])
        around = np.s_[max(0, y - 8) : y + height + 8, max(0, x - 8) : x + width + 8]
        mask, gray = mask[around], cv2.cvtColor(photo[around], cv2.COLOR_RGB2GRAY)
        change = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
        inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
        outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
        away = np.where(mask > 0, inside - 0.5, 0.5 - outside)
        for number, step in enumerate(steps):
            ring = change[np.abs(away - step) <= 0.5]
            total[number] += ring.sum()
            count[number] += len(ring)
    profile = total / count
    assert abs(steps[profile.argmax()]) <= 1
    assert profile.max() > 2 * max(profile[0], profile[-1])


@pytest.mark.slow
def test_colour_does_not_reveal_a_class_and_no_two_photos_are_equal(large_folder):
    photos = read_photos(large_folder)
    colors = {}
    for row, group, mask, photo in read_instances(large_folder, photos):
        if row["area"] >= 20:
            colors.setdefault(group, []).append(photo[mask > 0].mean(axis=0))
    assert len(colors) == GROUPS.num_classes - 1
    for group, found in colors.items():
        assert np.linalg.norm(np.std(found, axis=0)) > 35, group
    small = np.array([cv2.resize(photo, (16, 16), interpolation=cv2.INTER_AREA) for photo in photos.values()], float)
    apart = np.abs(small[:, None] - small[None]).mean(axis=(2, 3, 4)) + 255 * np.eye(len(small))
    assert apart.min() > 8
    assert len({photo.shape for photo in photos.values()}) > len(photos) / 2


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_same_seed_draws_the_same_photos_and_progress_counts_to_the_end(tmp_path):
    steps = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw_sample(tmp_path / name, (2, 1, 1), seed=seed, progress=lambda *step: steps.append(step))
    first, again, other = (digests(tmp_path / name) for name in "abc")
    assert first == again
    assert len(first) == 5
    assert all(first[name] != other[name] for name in first)
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)] * 3
    content = annotations(tmp_path / "a", "train")
    last = [row["segmentation"] for row in content["annotations"] if row["image_id"] == content["images"][1]["id"]]
    photo = draw_photo(1, "train", 1)
    assert last == [row["segmentation"] for row in photo.instances], "the number of photos before it does not matter"


def test_sample_picture_is_one_photo_of_a_person():
    picture = sample_picture(1)
    assert picture.shape == (720, 480, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, sample_picture(1))
    assert np.abs(picture.astype(int) - sample_picture(2)).mean() > 10
