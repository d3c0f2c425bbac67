import json
import subprocess
import sys
from dataclasses import replace

import pytest

from clothseg.errors import ModelError, SettingError
from clothseg.labels import CATEGORIES, GROUPS, ClassList, named_classes
from clothseg.model.description import ModelDescription
from clothseg.transforms import IMAGENET, Normalization

DESCRIPTION = ModelDescription(
    classes=GROUPS,
    architecture="unet",
    encoder_name="resnet18",
    image_size=256,
    normalization=IMAGENET,
    licence="CC BY 4.0",
    training_data={"name": "sample", "counts": {"train": 8}},
    scores={"val_iou": 0.5, "iou": {"background": 0.9, "waist": None}},
    version="0.1.0",
)


@pytest.mark.parametrize(
    "description",
    [
        DESCRIPTION,
        replace(DESCRIPTION, classes=CATEGORIES, normalization=Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))),
        replace(DESCRIPTION, categories=("background", "dress"), usual_score=0.5),
    ],
)
def test_survives_json(description: ModelDescription) -> None:
    assert ModelDescription.from_dict(json.loads(json.dumps(description.to_dict()))) == description


def test_keeps_the_written_form() -> None:
    """Files written today must be readable tomorrow: this text is the contract."""
    written = json.dumps(
        {
            "classes": [
                {"name": "background", "color": [0, 0, 0], "supercategories": [], "categories": []},
                {"name": "dress", "color": [250, 0, 0], "supercategories": [], "categories": ["dress"]},
            ],
            "architecture": "fpn",
            "encoder_name": "tu-resnet18",
            "decoder_width": 0.5,
            "image_size": 512,
            "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
            "licence": "",
            "training_data": {"name": "own"},
            "scores": {"val_iou": 0.75},
            "version": "0.1.0",
        }
    )
    description = ModelDescription.from_dict(json.loads(written))
    assert description.classes.names == ("background", "dress")
    assert description.normalization == Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert json.dumps(description.to_dict()) == written


def test_files_of_earlier_and_later_versions_are_read() -> None:
    values = DESCRIPTION.to_dict()
    del values["decoder_width"]
    assert ModelDescription.from_dict(values | {"tomorrow": 1}) == DESCRIPTION


WRONG_PARTS = [
    ("classes", "background"),
    ("classes", [{"name": "background"}]),
    ("classes", [3, 4]),
    ("classes", [{"name": "a", "color": ["x", 0, 0]}, {"name": "b"}]),
    ("architecture", ""),
    ("encoder_name", None),
    ("decoder_width", 0.3),
    ("decoder_width", "0.5"),
    ("decoder_width", None),
    ("image_size", 500),
    ("image_size", "512"),
    ("image_size", True),
    ("normalization", {"mean": [0.5, 0.5, 0.5]}),
    ("normalization", {"mean": [0.5, 0.5, 0.5], "std": [0, 1, 1]}),
    ("normalization", {"mean": [0.5, 0.5, float("nan")], "std": [1, 1, 1]}),
    ("licence", 3),
    ("training_data", []),
    ("scores", None),
    ("version", 1.0),
    ("usual_score", 1.5),
    ("categories", "dress"),
    ("categories", ["background", "gown"]),
]


def test_a_wrong_part_is_named() -> None:
    wrong = []
    for key, value in WRONG_PARTS:
        with pytest.raises(ModelError) as caught:
            ModelDescription.from_dict(DESCRIPTION.to_dict() | {key: value})
        if f"wrong {key}" not in str(caught.value):
            wrong.append((key, value, str(caught.value)))
    assert not wrong, wrong


def test_what_is_said_of_the_categories_takes_the_place_of_what_is_said_of_the_groups() -> None:
    both = replace(
        DESCRIPTION,
        categories=("background", "dress"),
        training_data={"name": "sample", "known_classes": ["waist"], "categories": {"known_classes": ["dress"]}},
        scores={"val_iou": 0.5, "categories": {"val_iou": 0.25}},
        usual_score=0.5,
    )
    fine = both.with_classes("categories")
    assert (fine.classes, fine.output, both.output) == (CATEGORIES, "categories", "logits")
    assert fine.training_data == {"name": "sample", "known_classes": ["dress"]}
    assert (fine.scores, fine.usual_score) == ({"val_iou": 0.25}, 0.0)
    assert both.with_classes(None) == both.with_classes("groups") == both
    trained_with_categories = replace(DESCRIPTION, classes=CATEGORIES)
    assert trained_with_categories.with_classes("categories") == trained_with_categories


def test_classes_that_fall_into_others_are_merged() -> None:
    names = ["Background", "Hat", "Hair", "Sunglasses", "Dress"]
    own = replace(DESCRIPTION, classes=named_classes(names), scores={"val_iou": 0.5}, usual_score=0.5)
    groups = own.with_classes("groups")
    assert (groups.classes, groups.merged, groups.output) == (GROUPS, (0, 3, 0, 3, 12), "logits")
    assert groups.training_data["known_classes"] == ["background", "head", "wholebody"]
    assert (groups.scores, groups.usual_score, "merged" in groups.to_dict()) == ({}, 0.0, False)
    seen = replace(own, training_data={"known_classes": names[:4]}).with_classes("groups")
    assert seen.training_data["known_classes"] == ["background", "head"]
    unlabelled = ClassList((replace(CATEGORIES.classes[0], name="unlabelled"), *CATEGORIES.classes[1:]))
    assert replace(own, classes=unlabelled).with_classes("categories").merged == tuple(range(47))


@pytest.mark.parametrize(
    ("classes", "name", "message"),
    [
        (GROUPS, "categories", r"groups \(13\), not categories \(47\), of which none contains its class 'closures'"),
        (named_classes(["background", "hat", "sofa"]), "groups", r"own \(3\), not .* contains its class 'sofa'"),
        (GROUPS, "colours", "Unknown classes 'colours'. Allowed: groups, categories"),
    ],
)
def test_classes_that_a_model_lacks_are_refused(classes: ClassList, name: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(DESCRIPTION, classes=classes).with_classes(name)


def test_a_missing_part_is_named() -> None:
    values = DESCRIPTION.to_dict()
    del values["image_size"]
    with pytest.raises(ModelError, match="wrong image_size: missing"):
        ModelDescription.from_dict(values)


def test_no_table_is_refused() -> None:
    for values in (None, [], "text", 3):
        with pytest.raises(ModelError, match="not a table"):
            ModelDescription.from_dict(values)


def test_what_prediction_reads_does_not_import_torch() -> None:
    code = "import sys, clothseg.model.best, clothseg.model.description; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_classes_that_the_training_photos_never_showed_are_unknown() -> None:
    known = replace(DESCRIPTION, training_data={"known_classes": ["background", "head"]})
    others = tuple(name for name in GROUPS.names if name not in ("background", "head"))
    assert known.unknown_classes == others
    assert replace(DESCRIPTION, training_data={}).unknown_classes == (), "where nothing was noted, nothing is said"
