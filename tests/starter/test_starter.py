"""The packaged model: small enough, free to use, honest about what it knows, and able to see clothes."""

import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
from PIL import Image

import clothseg
from clothseg.data.sample import sample_picture
from clothseg.errors import SettingError
from clothseg.labels import CATEGORIES, FASHIONPEDIA_CATEGORIES, GROUPS
from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.starter import starter_model
from tests.test_architecture import ROOT

REAL_PHOTOS = ROOT.parent / "shared" / "fashionpedia-mirror"
KNOWN = {"background", "upperbody", "head", "legs and feet", "arms and hands", "neck"}
KNOWN |= {"others", "lowerbody", "waist", "wholebody"}


def read(precision) -> ModelFile:
    path = starter_model(precision)
    assert path is not None, "the starter model is not in src/clothseg/starter"
    return ModelFile.read(path)


@pytest.fixture(scope="module")
def model() -> ModelFile:
    return read("fp32")


@pytest.fixture(scope="module")
def model_in_int8() -> ModelFile:
    return read("int8")


def test_it_is_small_enough_to_be_installed_with_the_code(model, model_in_int8):
    assert len(model.content) + len(model_in_int8.content) < 30e6


@pytest.mark.parametrize(
    ("machine", "has_bf16", "options", "expected"),
    [
        ("x86_64", False, {}, "int8"),
        ("AMD64", False, {"runtime": "openvino"}, "int8"),
        ("x86_64", True, {}, "fp32"),
        ("arm64", False, {}, "fp32"),
        ("x86_64", False, {"runtime": "onnxruntime"}, "fp32"),
        ("x86_64", False, {"precision": "fp32"}, "fp32"),
        ("arm64", False, {"precision": "int8"}, "int8"),
    ],
)
def test_it_computes_in_int8_where_that_is_faster_or_asked_for(monkeypatch, machine, has_bf16, options, expected):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr("clothseg.prediction.runtimes.openvino.multiplies_bf16", lambda: has_bf16)
    predictor = clothseg.load("starter", **options)
    assert predictor.description.precision == expected
    assert predictor.model["name"] == starter_model(expected).name


def test_another_model_computes_in_int8_only_if_it_was_exported_so(model):
    for runtime in ("openvino", "onnxruntime"):
        with pytest.raises(SettingError, match=r"computes in fp32, not in int8\. .*--precision int8 --photos DIR"):
            clothseg.load(starter_model(), runtime=runtime, precision="int8")
    assert clothseg.load(starter_model("int8"), precision="int8").runtime_name == "OpenVINO on cpu, int8"


def test_in_int8_it_is_the_same_network_with_the_same_masks(model, model_in_int8):
    assert replace(model_in_int8.description, precision="fp32") == model.description
    compared = (ROOT / "benchmarks/starter/results/int8.md").read_text(encoding="utf-8")
    assert model.sha256 in compared
    assert model_in_int8.sha256 in compared
    assert "No class's IoU differs significantly" in compared
    whole, rounded = (clothseg.load("starter", precision=one) for one in ("fp32", "int8"))
    photos = sorted((ROOT / "docs/pictures/photos").glob("0*.*"))
    masks = [(whole.predict(photo).mask, rounded.predict(photo).mask) for photo in photos]
    assert sum(int((one != other).sum()) for one, other in masks) < 0.01 * sum(one.size for one, _ in masks)
    alone = clothseg.load("starter", precision="int8", one_photo=True)
    np.testing.assert_array_equal(alone.predict(photos[0]).mask, masks[0][1])


def test_it_says_what_it_learned_from_and_what_it_never_saw(model):
    description = model.description
    assert description.encoder_name == "tu-tf_efficientnet_lite2", "not one whose weights are non-commercial"
    assert description.licence == "Apache-2.0"
    assert description.training_data["licence"] == "Apache-2.0"
    assert description.training_data["source"].startswith("https://")
    assert set(description.training_data["known_classes"]) == KNOWN
    assert description.unknown_classes == ("closures", "garment parts", "decorations")
    assert "/" not in description.training_data["name"], "no path of the machine it was trained on"


def test_it_contains_its_scores_on_photos_that_it_was_not_trained_on(model):
    evaluation = json.loads((ROOT / "benchmarks/starter/results/evaluation.json").read_text(encoding="utf-8"))
    scores = model.description.scores
    assert scores["val_iou"] == pytest.approx(evaluation["mean"]["with_background"]["iou"]["value"])
    assert scores["scored_on"] == "150 photos that it did not learn from, at their own size"


def test_it_gives_categories_and_says_how_many_photos_showed_each(tmp_path):
    predictor = clothseg.load("starter", classes="categories")
    description = predictor.description
    assert description.classes == CATEGORIES
    assert set(description.training_data["known_classes"]) == set(description.categories)
    assert (
        description.training_data["photos_per_class"]["cape"]
        < 40
        < description.training_data["photos_per_class"]["dress"]
    )
    assert description.scores["iou"]["dress"] > description.scores["iou"]["cape"]
    photo = ROOT / "docs/pictures/photos/01_documerica_hiser.jpg"
    found, groups = predictor.predict(photo), clothseg.load("starter").predict(photo)
    shown = found.mask > 0
    assert (shown == (groups.mask > 0)).mean() > 0.97
    group_of = [
        GROUPS.names.index(next((key for key, names in FASHIONPEDIA_CATEGORIES.items() if one in names), "background"))
        for one in CATEGORIES.names
    ]
    assert (np.array(group_of)[found.mask] == groups.mask).mean() > 0.9, "a category lies in its group"


@pytest.mark.parametrize("tone", [0, 60, 140, 255])
def test_it_finds_nothing_where_there_is_nothing(tmp_path, tone):
    predictor = clothseg.load(checkpoints_path=tmp_path)
    noise = np.random.default_rng(0).normal(tone, 20, (400, 300, 3)).clip(0, 255).astype(np.uint8)
    for picture in (np.full((400, 300, 3), tone, np.uint8), noise):
        assert float(np.mean(predictor.predict(picture).mask > 0)) < 0.02


def test_its_card_names_this_very_file(model):
    card = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert model.sha256 in card


def test_it_finds_clothes_on_a_drawn_person(tmp_path):
    predictor = clothseg.load(checkpoints_path=tmp_path)
    found = predictor.predict(sample_picture(seed=1))
    share = float(np.mean(found.mask > 0))
    assert 0.03 < share < 0.6, "some of the picture, not all of it"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.10 and NumPy 2
@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_PHOTOS.exists(), reason="no real photos in ../shared/fashionpedia-mirror")
def test_it_finds_the_clothes_of_real_people(tmp_path):
    """Far below what the card says, which was measured on all photos: this finds a broken file, not a bad day."""
    predictor = clothseg.load(checkpoints_path=tmp_path)
    annotations = json.loads((REAL_PHOTOS / "annotations" / "instances_attributes_val2020.json").read_bytes())
    agreed = counted = 0
    with zipfile.ZipFile(REAL_PHOTOS / "images" / "val_test2020.zip") as archive:
        for image in annotations["images"][:6]:
            outlined = np.zeros((image["height"], image["width"]), dtype=bool)
            for instance in annotations["annotations"]:
                if instance["image_id"] == image["id"]:
                    outlined |= decode(instance["segmentation"], *outlined.shape)
            clothes = predictor.predict(archive.read(f"test/{image['file_name']}")).mask > 0
            agreed += int((clothes & outlined).sum())
            counted += int((clothes | outlined).sum())
    assert agreed / counted > 0.7


def decode(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Return an instance's pixels, (height, width) bool, as pycocotools has them."""
    if isinstance(segmentation, list):
        codes = pycocotools.mask.frPyObjects(segmentation, height, width)
        return np.asarray(pycocotools.mask.decode(pycocotools.mask.merge(codes))) > 0
    if isinstance(segmentation["counts"], list):
        segmentation = pycocotools.mask.frPyObjects(segmentation, height, width)
    return np.asarray(pycocotools.mask.decode(segmentation)) > 0


@pytest.mark.slow
def test_large_jpegs_give_the_masks_of_their_whole_pixels_and_an_overlay_of_half_their_size(tmp_path):
    predictor = clothseg.load("starter")
    for path in sorted((ROOT / "docs/pictures/photos").glob("0*.jpg")):
        with Image.open(path) as photo:
            scale = 4032 / max(photo.size)
            large = photo.convert("RGB").resize((round(photo.width * scale), round(photo.height * scale)))
        large.save(tmp_path / path.name, quality=92)
        segmentation = predictor.predict(tmp_path / path.name)
        with Image.open(tmp_path / path.name) as opened:
            pixels = np.array(opened)
        np.testing.assert_array_equal(segmentation.photo, pixels)
        np.testing.assert_array_equal(segmentation.mask, predictor.predict(pixels).mask)
    for full, height in ((True, large.height), (False, large.height // 2)):
        with Image.open(segmentation.save(tmp_path, full_overlay=full)[1]) as shown:
            assert shown.height == height
