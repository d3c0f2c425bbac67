"""Custom datasets and custom classes, from the commands of docs/how-to/custom-data.md to a prediction."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg.cli import main
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.model.best import find_best
from clothseg.pictures import read_mask

CLASSES = """
classes:
  - name: background
  - {name: hat, color: [255, 0, 0], categories: [cap, beanie]}
  - {name: shoe, supercategories: [footwear]}
"""
NETWORK = ["--encoder-name", "tu-mobilenetv3_small_050", "--encoder-weights", "none", "--decoder-width", "0.5"]
TRAINING = [
    "--img-size",
    "64",
    "--batch-size",
    "3",
    "--epochs",
    "12",
    "--learning-rate",
    "0.005",
    "--encoder-rate",
    "1",
]


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


def clothseg(*arguments):
    """Run a command in this process, as the shell would."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0, arguments


@pytest.fixture(params=["coco", "masks"])
def outlines(request, tmp_path, monkeypatch):
    """Photos, labels of one kind and a class list in the current folder, prepared; the outlines by photo."""
    monkeypatch.chdir(tmp_path)
    outlines = write_photos(tmp_path / "photos")
    (tmp_path / "my-classes.yaml").write_text(CLASSES)
    if request.param == "coco":
        write_coco(tmp_path / "instances.json", outlines)
        given = ["--annotations", "instances.json"]
    else:
        write_masks(tmp_path / "masks", outlines)
        given = ["--masks", "masks"]
    clothseg("prepare", *given, "--photos", "photos", "--classes", "my-classes.yaml", "--val-share", "0.25")
    return outlines


def overlaps(mask, outlines):
    """Return intersection over union of a mask's two classes with the outlines of hat and shoe."""
    found = []
    for class_id, outline in enumerate(outlines, 1):
        truth = cv2.fillPoly(np.zeros(mask.shape, np.uint8), [outline], 1) == 1
        found.append(((mask == class_id) & truth).sum() / ((mask == class_id) | truth).sum())
    return found


def test_custom_labels_become_a_dataset_with_custom_classes(outlines, tmp_path):
    clothseg("verify", "--workers", "1")
    clothseg("preview", "--count", "1")

    folder = tmp_path / "data" / "fashionist"
    manifest = json.loads((folder / "dataset.json").read_text())
    assert [one["name"] for one in manifest["classes"]] == ["background", "hat", "shoe"]
    assert [split["count"] for split in manifest["splits"].values()] == [9, 3]
    masks = [*(folder / "train_masks").iterdir(), *(folder / "val_masks").iterdir()]
    assert len(masks) == len(outlines)
    for path in masks:
        assert min(overlaps(read_mask(path), outlines[f"{path.stem}.jpg"])) > 0.9
    card = (tmp_path / "visualized_samples" / "dataset_card.html").read_text()
    assert "hat" in card


@pytest.mark.slow
def test_a_model_learns_custom_classes_and_predicts_them(outlines, tmp_path):
    clothseg("train", *NETWORK, *TRAINING, "--patience", "0", "--num-workers", "0")
    clothseg("predict", "photos/00.jpg", "--json")

    assert find_best(tmp_path / "checkpoints") is not None
    results = json.loads((tmp_path / "output" / "00_results.json").read_text())
    with Image.open(tmp_path / "output" / "00_mask.png") as image:
        mask = np.array(image)
        assert image.getpalette()[3:6] == [255, 0, 0], "the colour of the YAML file"
    assert {segment["label"] for segment in results["segments"]} <= {"hat", "shoe"}
    assert min(overlaps(mask, outlines["00.jpg"])) > 0.5, "a class was not learned"
