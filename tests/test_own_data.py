"""One's own photos and classes, from the commands of docs/how-to/own-data.md to a prediction with those classes."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg.encoding import encode_jpeg, encode_png
from clothseg.model.best import find_best

CLASSES = """
classes:
  - name: background
  - {name: hat, color: [255, 0, 0], categories: [cap, beanie]}
  - {name: shoe, supercategories: [footwear]}
"""
NETWORK = ["--encoder-name", "resnet18", "--encoder-weights", "none", "--img-size", "64", "--batch-size", "3"]


def write_photos(folder, count=12):
    """Write photos of a red hat above green shoes and return, for each, its name and the two outlines."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    outlines = {}
    for number in range(count):
        left, top = (int(value) for value in rng.integers(5, 30, 2))
        hat = np.array([(left, top), (left + 45, top), (left + 40, top + 25), (left + 5, top + 25)])
        shoe = np.add(hat, (5, 45))
        image = rng.integers(90, 160, (120, 100, 3)).astype(np.uint8)
        cv2.fillPoly(image, [hat], (220, 20, 20))
        cv2.fillPoly(image, [shoe], (20, 200, 20))
        (folder / f"{number:02d}.jpg").write_bytes(encode_jpeg(image))
        outlines[f"{number:02d}.jpg"] = (hat, shoe)
    return outlines


def write_coco(path, outlines):
    categories = [
        {"id": 7, "name": "beanie", "supercategory": "headwear"},
        {"id": 3, "name": "boot", "supercategory": "footwear"},
        {"id": 9, "name": "glove", "supercategory": "hands"},
    ]
    images, annotations = [], []
    for number, (name, (hat, shoe)) in enumerate(outlines.items()):
        images.append({"id": 10 * number, "file_name": name, "width": 100, "height": 120})
        for category, outline in ((7, hat), (3, shoe)):
            polygon = [outline.astype(float).ravel().tolist()]
            annotations.append(
                {"id": len(annotations) + 5, "image_id": 10 * number, "category_id": category, "segmentation": polygon}
            )
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def write_masks(folder, outlines):
    folder.mkdir()
    for name, (hat, shoe) in outlines.items():
        mask = np.zeros((120, 100), np.uint8)
        cv2.fillPoly(mask, [hat], 1)
        cv2.fillPoly(mask, [shoe], 2)
        (folder / name.replace(".jpg", ".png")).write_bytes(encode_png(mask))


@pytest.mark.parametrize("labels", ["coco", "masks"])
def test_from_own_labels_to_a_prediction_with_own_classes(tmp_path, run_in, labels):
    outlines = write_photos(tmp_path / "photos")
    (tmp_path / "my-classes.yaml").write_text(CLASSES)
    if labels == "coco":
        write_coco(tmp_path / "instances.json", outlines)
        given = ["--annotations", "instances.json"]
    else:
        write_masks(tmp_path / "masks", outlines)
        given = ["--masks", "masks"]
    for command in (
        ["prepare", *given, "--photos", "photos", "--classes", "my-classes.yaml", "--val-share", "0.25"],
        ["verify"],
        ["preview", "--count", "1"],
        ["train", *NETWORK, "--epochs", "20", "--learning-rate", "0.001", "--patience", "0", "--num-workers", "0"],
        ["predict", "photos/00.jpg", "--json"],
    ):
        ended = run_in("-m", "clothseg.cli", *command, OMP_NUM_THREADS="1")
        assert ended.returncode == 0, f"{command[0]}: {ended.stderr}"

    manifest = json.loads((tmp_path / "data" / "fashionist" / "dataset.json").read_text())
    assert [one["name"] for one in manifest["classes"]] == ["background", "hat", "shoe"]
    assert [split["count"] for split in manifest["splits"].values()] == [9, 3]
    card = (tmp_path / "visualized_samples" / "dataset_card.html").read_text()
    assert "hat" in card
    assert find_best(tmp_path / "checkpoints") is not None
    results = json.loads((tmp_path / "output" / "00_results.json").read_text())
    with Image.open(tmp_path / "output" / "00_mask.png") as image:
        mask = np.array(image)
        assert image.getpalette()[3:6] == [255, 0, 0], "the colour of the YAML file"
    assert {segment["label"] for segment in results["segments"]} <= {"hat", "shoe"}
    hat, shoe = (np.zeros((120, 100), np.uint8) for _ in range(2))
    cv2.fillPoly(hat, [outlines["00.jpg"][0]], 1)
    cv2.fillPoly(shoe, [outlines["00.jpg"][1]], 1)
    for class_id, truth in ((1, hat), (2, shoe)):
        overlap = ((mask == class_id) & (truth == 1)).sum() / ((mask == class_id) | (truth == 1)).sum()
        assert overlap > 0.5, f"class {class_id} was not learned"
