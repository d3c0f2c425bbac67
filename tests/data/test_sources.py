"""Custom datasets with custom classes prepare into the layout that everything else reads."""

import errno
import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.data.manifest import DATASET_FOLDER, Manifest, pairs
from clothseg.data.prepare_command import Prepare
from clothseg.data.report import Report
from clothseg.data.verify import verify
from clothseg.encoding import encode_png
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from clothseg.pictures import read_mask
from tests.conftest import unpacked
from tests.data.reference_masks import reference_masks
from tests.data.small_mirror import area_of, draw_photo

CLASSES = """
classes:
  - name: background
  - name: hat
    color: [255, 0, 0]
    categories: [cap, beanie]
  - name: shoe
    supercategories: [footwear]
"""
CATEGORIES = [
    {"id": 4, "name": "beanie"},
    {"id": 7, "name": "sandal", "supercategory": "footwear"},
    {"id": 9, "name": "tree", "supercategory": "plants"},
]


def write_custom(folder, count):
    """Write photos, some in a sub-folder, a COCO file, index masks and a class list."""
    (folder / "photos" / "street").mkdir(parents=True)
    (folder / "masks" / "street").mkdir(parents=True)
    (folder / "classes.yaml").write_text(CLASSES)
    rng = np.random.default_rng(3)
    images, annotations = [], []
    for number in range(count):
        name = f"street/look.{number}.jpg" if number % 2 else f"{number}.jpeg"
        height, width = (int(side) for side in rng.integers(20, 50, 2))
        (folder / "photos" / name).write_bytes(draw_photo(number, height, width))
        images.append({"id": number, "file_name": name, "width": width, "height": height, "extra": [1, {"a": 2}]})
        for _ in range(3):
            left, top, size = (round(float(value), 2) for value in rng.uniform(0, 20, 3))
            outline = [[left, top, left + size, top, left + size, top + size]]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": (4, 7, 9)[len(annotations) % 3],
                    "segmentation": outline,
                    "area": area_of(outline, height, width),
                }
            )
        mask = rng.integers(0, 3, (height, width), dtype=np.uint8)
        (folder / "masks" / name).with_suffix(".png").write_bytes(
            encode_png(mask, palette=np.array([[9, 9, 9], [200, 0, 0], [0, 0, 200]], dtype=np.uint8))
        )
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES})
    )


@pytest.fixture
def custom(tmp_path):
    """A folder with 10 photos, a COCO file, index masks and a class list."""
    write_custom(tmp_path / "custom", 10)
    return tmp_path / "custom"


def prepare(custom, tmp_path, **flags):
    flags = {"photos": custom / "photos"} | flags
    command = Prepare(data_path=tmp_path / "data", classes=str(custom / "classes.yaml"), **flags)
    return command.run(), tmp_path / "data" / DATASET_FOLDER


def reference(custom, classes):
    content = json.loads((custom / "instances.json").read_text())
    for category in content["categories"]:
        category.setdefault("supercategory", "")
    (custom / "reference.json").write_text(json.dumps(content))
    return dict(reference_masks(custom / "reference.json", classes))


def test_coco_annotations_with_photos_in_sub_folders(custom, tmp_path, capsys):
    code, folder = prepare(custom, tmp_path, annotations=custom / "instances.json", val_share=0.3)

    manifest = Manifest.read(folder)
    assert code == 0
    assert manifest.classes.names == ("background", "hat", "shoe")
    assert [split.count for split in manifest.splits.values()] == [7, 3]
    expected = reference(custom, manifest.classes)
    found = {
        photo.relative_to(folder / split.photos).as_posix(): (photo, mask)
        for split in manifest.splits.values()
        for photo, mask in pairs(folder, split)
    }
    assert found.keys() == expected.keys()
    for name, (photo, mask) in found.items():
        assert photo.read_bytes() == (custom / "photos" / name).read_bytes()
        assert (read_mask(mask) == expected[name]).all()
    assert verify(folder).defects == ()
    said = " ".join(capsys.readouterr().err.split())
    assert "left out, since they are in no class: 'tree'" in said
    assert "The class list names category 'cap' (nearest:" in said


def test_rows_of_a_file_that_is_split_stay_unchanged(custom, tmp_path):
    _, folder = prepare(custom, tmp_path, annotations=custom / "instances.json")

    content = json.loads((custom / "instances.json").read_text())
    parts = [json.loads((folder / f"instances_{name}.json").read_text()) for name in ("train", "val")]
    for rows in ("images", "annotations"):
        assert sorted(parts[0][rows] + parts[1][rows], key=lambda row: row["id"]) == content[rows]
    assert {row["image_id"] for row in parts[1]["annotations"]} == {row["id"] for row in parts[1]["images"]}
    assert parts[0]["categories"] == parts[1]["categories"] == content["categories"]


def test_coco_annotations_with_a_validation_set_of_their_own(custom, tmp_path):
    code, folder = prepare(
        custom,
        tmp_path,
        annotations=custom / "instances.json",
        val_annotations=custom / "instances.json",
        val_photos=custom / "photos",
    )

    assert code == 0
    assert [split.count for split in Manifest.read(folder).splits.values()] == [10, 10]
    duplicates = verify(folder).defects
    assert len(duplicates) == 10
    assert "both in training and in validation" in str(duplicates[0])


def test_index_masks(custom, tmp_path):
    code, folder = prepare(custom, tmp_path, masks=custom / "masks", val_share=0.2)

    manifest = Manifest.read(folder)
    assert code == 0
    assert [split.count for split in manifest.splits.values()] == [8, 2]
    for split in manifest.splits.values():
        for photo, mask in pairs(folder, split):
            name = mask.relative_to(folder / split.masks)
            assert (read_mask(mask) == read_mask(custom / "masks" / name)).all()
            with Image.open(mask) as image:
                assert image.mode == "L", "a palette is not part of the layout"
            assert photo.stem == mask.stem
    assert verify(folder).defects == ()


def test_index_masks_with_a_validation_set(custom, tmp_path):
    code, folder = prepare(
        custom,
        tmp_path,
        masks=custom / "masks",
        val_masks=custom / "masks" / "street",
        val_photos=custom / "photos" / "street",
    )

    assert code == 0
    assert [split.count for split in Manifest.read(folder).splits.values()] == [10, 5]


def test_index_masks_that_cannot_be_used_are_skipped_with_reason(tmp_path):
    custom = tmp_path / "custom"
    write_custom(custom, 20)
    masks, photos = custom / "masks", custom / "photos"
    shapes = {number: read_mask(masks / f"{number}.png").shape for number in range(0, 20, 2)}
    (masks / "0.png").write_bytes(encode_png(np.full(shapes[0], 200, dtype=np.uint8)))
    (masks / "2.png").write_bytes(encode_png(np.zeros(shapes[2][::-1], dtype=np.uint8)))  # turned, no square
    (masks / "4.png").write_bytes(encode_png(np.zeros((*shapes[4], 3), dtype=np.uint8)))
    (masks / "6.png").write_bytes(b"no mask at all")
    (photos / "8.jpeg").write_bytes(b"no photo at all")
    (photos / "10.jpeg").unlink()
    (photos / "12.jpg").write_bytes((photos / "12.jpeg").read_bytes())
    Image.fromarray(np.zeros(shapes[14], dtype=np.uint8)).save(masks / "14.bmp")
    (masks / "16.png").write_bytes(encode_png(np.full(shapes[16], 3, dtype=np.uint8)))

    code, folder = prepare(custom, tmp_path, masks=masks, val_share=0.4)

    report = Report.read(folder)
    assert report is not None
    problems = [problem for split in report.splits.values() for problem in split.problems]
    assert code == 1
    assert sorted((int(Path(problem.file_name).stem), problem.reason) for problem in problems) == [
        (0, "mask value"),
        (2, "mask size"),
        (4, "broken mask"),
        (6, "broken mask"),
        (8, "broken photo"),
        (10, "missing photo"),
        (12, "shared stem"),
        (14, "shared stem"),
        (16, "mask value"),
    ]
    assert sum(split.count for split in Manifest.read(folder).splits.values()) == 11
    assert verify(folder).defects == ()


def test_photos_changed_in_place_are_noticed_and_nothing_is_redone_otherwise(custom, tmp_path, capsys):
    for expected in ("Prepared", "Nothing to do"):
        prepare(custom, tmp_path, masks=custom / "masks")
        assert capsys.readouterr().err.splitlines()[-2].strip().startswith(expected)
    (custom / "photos" / "2.jpeg").unlink()

    code, folder = prepare(custom, tmp_path, masks=custom / "masks")

    assert code == 1
    assert not list(folder.rglob("2.jpeg"))
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_photos_are_copied_where_there_are_no_links(custom, tmp_path, monkeypatch):
    def no_link(*args, **options):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", no_link)
    prepare(custom, tmp_path, masks=custom / "masks")
    code, folder = prepare(custom, tmp_path, annotations=custom / "instances.json")

    assert code == 0
    assert verify(folder).defects == ()
    assert all(path.stat().st_nlink == 1 for path in (folder / "train").rglob("*.jpg"))


def test_the_input_photos_survive_whatever_replaces_the_dataset(custom, tmp_path):
    before = {path: path.read_bytes() for path in custom.rglob("*") if path.is_file()}
    prepare(custom, tmp_path, masks=custom / "masks")

    prepare(custom, tmp_path, annotations=custom / "instances.json")

    assert before == {path: path.read_bytes() for path in custom.rglob("*") if path.is_file()}


def test_what_is_not_there_or_does_not_fit_is_named(custom, tmp_path):
    for flags, error in (
        ({"annotations": "instances.json", "photos": "none"}, MissingInputError),
        ({"annotations": "none.json"}, MissingInputError),
        ({"masks": "none"}, MissingInputError),
        ({"annotations": "classes.yaml"}, DataError),
        ({"masks": "photos"}, DataError),
        ({"masks": "masks", "classes": "none.yaml"}, MissingInputError),
        ({"masks": "masks", "classes": "photos"}, SettingError),
        ({"annotations": "instances.json", "classes": "groups"}, DataError),
    ):
        given = {"photos": custom / "photos", "classes": str(custom / "classes.yaml")}
        given |= {name: value if value == "groups" else custom / value for name, value in flags.items()}
        given["classes"] = str(given["classes"])

        with pytest.raises(error) as caught:
            Prepare(data_path=tmp_path / "data", **given).run()

        assert caught.value.exit_code in (2, 3)
        assert not list((tmp_path / "data").rglob("dataset.json"))


def test_the_how_to_explains_every_reason_there_is():
    project = Path(__file__).resolve().parents[2]
    sources = "".join(path.read_text() for path in (project / "src" / "clothseg" / "data").rglob("*.py"))
    reasons = set(re.findall(r'RecordError\(\s*"([^"]+)"', sources))
    reasons |= set(re.findall(r'^(?:MISSING|POLYGON|COORDINATE|RUN_LENGTHS|[A-Z]+_RECORD) = "([^"]+)"', sources, re.M))
    explained = (project / "docs" / "how-to" / "custom-data.md").read_text()

    assert len(reasons) > 20
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in explained] == []


def rewritten(custom, change):
    """Return a copy of the annotation file, its content passed through `change`."""
    content = json.loads((custom / "instances.json").read_text())
    change(content)
    path = custom / "rewritten.json"
    path.write_text(json.dumps(content))
    return path


def link_as_text(content):
    for row in content["annotations"]:
        row["image_id"], row["category_id"] = f"0{row['image_id']}", str(row["category_id"])


def link_by_name(content):
    for number, row in enumerate(content["images"]):
        row["id"] = f"photo-{number}"
    for row in content["annotations"]:
        row["image_id"] = Path(content["images"][row["image_id"]]["file_name"]).name
        row["category_id"] = next(one["name"] for one in CATEGORIES if one["id"] == row["category_id"])


def whole_valued_floats(content):
    for row in content["images"]:
        row["width"], row["height"] = float(row["width"]), float(row["height"])
    for row in content["annotations"]:
        row["image_id"], row["category_id"] = float(row["image_id"]), float(row["category_id"])


def names_of_other_systems(content):
    for row, change in zip(content["images"], (nfd_name, backslashes, with_folder, other_suffix), strict=False):
        change(row)


def nfd_name(row):
    row["file_name"] = unicodedata.normalize("NFD", "0é.jpeg")


def backslashes(row):
    row["file_name"] = row["file_name"].replace("/", "\\")


def with_folder(row):
    row["file_name"] = f"custom\\photos\\{row['file_name']}"


def other_suffix(row):
    row["file_name"] = row["file_name"].replace(".jpg", ".JPG")


def test_links_and_names_that_other_programs_write_are_understood(custom, tmp_path):
    masks = {}
    for change in (lambda content: None, link_as_text, link_by_name, whole_valued_floats, names_of_other_systems):
        if change is names_of_other_systems:
            (custom / "photos" / "0.jpeg").rename(custom / "photos" / unicodedata.normalize("NFC", "0é.jpeg"))
        code, folder = prepare(custom, tmp_path, annotations=rewritten(custom, change), val_share=0.5)
        assert code == 0, change
        masks[change.__name__] = {
            mask.stem.removesuffix("é"): unpacked(mask.read_bytes())
            for split in Manifest.read(folder).splits.values()
            for _, mask in pairs(folder, split)
        }
        assert verify(folder).defects == ()
    assert all(found == masks["<lambda>"] for found in masks.values())


def test_annotations_of_which_none_can_be_used_are_refused(custom, tmp_path):

    def dangling(content):
        for row in content["annotations"]:
            row["image_id"] += 1000

    def no_outline(content):
        for row in content["annotations"]:
            row["segmentation"] = [[1, 1]]
        content["images"].append({"id": 99, "file_name": "0.png", "width": 20, "height": 20})

    (custom / "photos" / "0.png").write_bytes(encode_png(np.zeros((20, 20, 3), np.uint8)))
    for change, reason in ((dangling, r"missing image \(30\)"), (no_outline, r"polygon")):
        with pytest.raises(DataError, match=f"No .* of .* can be used: .*{reason}"):
            prepare(custom, tmp_path, annotations=rewritten(custom, change), val_share=0.3)
        assert not list((tmp_path / "data").rglob("dataset.json"))


def test_annotations_of_which_each_is_one_photo_off_are_refused(custom, tmp_path):

    def counted_from_one(content):
        for row in content["images"]:
            row["id"] += 1

    def one_dangling(content):
        content["annotations"][4]["image_id"] = 12

    shifted = rewritten(custom, counted_from_one)
    for flags in ({}, {"val_annotations": shifted}, {"val_annotations": custom / "instances.json"}):
        with pytest.raises(
            DataError, match=r"image_id 0 to 9, but the ids are 1 to 10.*Add 1 to each image_id"
        ) as refused:
            prepare(custom, tmp_path, annotations=shifted, **flags)
        assert refused.value.exit_code == 3
        assert not list((tmp_path / "data").rglob("dataset.json"))
    code, folder = prepare(custom, tmp_path, annotations=rewritten(custom, one_dangling))
    problems = [one for split in Report.read(folder).splits.values() for one in split.problems]
    assert code == 1
    assert [(one.reason, one.annotation_id) for one in problems] == [("missing image", 4)]


def test_what_is_odd_but_no_defect_is_said(custom, tmp_path, capsys):

    def only_left_out(content):
        for row in content["annotations"]:
            row["category_id"] = 9

    def short_polygon(content):
        content["annotations"][0]["segmentation"].append([1, 1, 2, 2])

    def shares_of_the_size(content):
        for row in content["annotations"]:
            row["segmentation"] = [[0.1, 0.1, 0.9, 0.1, 0.9, 0.9]]
            del row["area"]

    for change, note in (
        (shares_of_the_size, "pixels in all. Coordinates are counted in pixels, not as shares of the photo's size"),
        (only_left_out, "No mask has a pixel of another class than the background"),
        (short_polygon, "Polygons of fewer than 3 points are left out of 1 annotations that have others (ids 0)"),
    ):
        code, folder = prepare(custom, tmp_path, annotations=rewritten(custom, change))
        assert code == 0
        assert note in capsys.readouterr().err
        assert note in (folder / "preparation_report.json").read_text()


def test_names_that_fit_no_photo_are_named_with_the_file_that_is_there(custom, tmp_path):
    (custom / "masks" / "street" / "look.5.png").rename(custom / "masks" / "look.5.png")

    def wrong_names(content):
        content["images"][0]["file_name"] = "0.png"
        content["images"][1]["file_name"] = "look.1.jpg"

    for flags, there in (
        ({"annotations": rewritten(custom, wrong_names)}, ("0.jpeg", "street/look.1.jpg")),
        ({"masks": custom / "masks"}, ("street/look.5.jpg",)),
    ):
        code, folder = prepare(custom, tmp_path, **flags)
        details = [one.detail for split in Report.read(folder).splits.values() for one in split.problems]
        assert code == 1
        assert {next(name for name in there if f"but {name!r} is there" in one) for one in details} == set(there)


def test_masks_in_a_format_that_is_not_read_are_named(custom, tmp_path, capsys):
    masks = custom / "masks"
    for name in ("0", "2"):
        Image.open(masks / f"{name}.png").save(masks / f"{name}.tif")
    (masks / "0.png").unlink()
    code, folder = prepare(custom, tmp_path, masks=masks)
    note = "Not read from the mask folder: 1 files (0.tif). Masks end in .png, .bmp, .gif: save others as PNG"
    assert code == 0
    assert capsys.readouterr().err.count(note) == 1
    assert note in (folder / "preparation_report.json").read_text()
    for path in masks.rglob("*.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"No mask in .*masks; it has 0\.tif, 2\.tif\. Masks end in \.png"):
        prepare(custom, tmp_path, masks=masks)


def test_index_masks_find_photos_whose_names_other_systems_wrote(custom, tmp_path):
    for old, new in (("photos/0.jpeg", "photos/e\u0301.JPG"), ("masks/0.png", "masks/é.PNG")):
        (custom / old).rename(custom / new)
    (custom / "masks/street/look.1.png").rename(custom / "masks" / "street\\look.1.png")
    code, folder = prepare(custom, tmp_path, masks=custom / "masks")
    assert code == 0
    assert verify(folder).defects == ()


def test_a_path_that_the_system_refuses_is_named(custom, tmp_path):
    long = tmp_path / ("a" * 300)
    for flags in (
        {"annotations": long},
        {"masks": long},
        {"masks": custom / "masks", "photos": long},
        {"masks": custom / "masks", "classes": f"{long}.yaml"},
        {"source": str(long), "photos": None, "classes": "groups"},
    ):
        given = {"photos": custom / "photos", "classes": str(custom / "classes.yaml")}
        with pytest.raises(DataError, match="name is too long"):
            Prepare(data_path=tmp_path / "data", **(given | flags)).run()
    with pytest.raises(MachineError, match=r"name is too long.*Choose another --data-path"):
        prepare(custom, long, masks=custom / "masks")


def test_a_photo_or_folder_that_cannot_be_opened_is_named(custom, tmp_path, monkeypatch):
    photos = custom / "photos"
    (photos / "0.jpeg").unlink()
    (photos / "0.jpeg").symlink_to(tmp_path / "gone")
    (photos / "2.jpeg").unlink()
    os.mkfifo(photos / "2.jpeg")
    code, folder = prepare(custom, tmp_path, masks=custom / "masks", val_share=0.4)
    problems = {one.file_name: one.detail for split in Report.read(folder).splits.values() for one in split.problems}
    assert code == 1
    assert "0.jpeg" in problems["0.png"]
    assert "not a file" in problems["2.png"]
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"Folder cannot be listed: .*permission denied"):
        prepare(custom, tmp_path, masks=custom / "masks")


def refuse(path):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_inputs_in_the_folder_that_is_prepared_are_refused_and_stay(custom, tmp_path):
    folder = tmp_path / "data" / DATASET_FOLDER
    folder.mkdir(parents=True)
    for name in ("masks", "photos"):
        (custom / name).rename(folder / name)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before
    for flags in (
        {"masks": folder / "masks", "photos": folder / "photos"},
        {"annotations": custom / "instances.json", "photos": folder / "photos"},
        {"masks": custom / "none", "photos": custom / "none", "val_masks": folder / "masks"},
    ):
        with pytest.raises(SettingError, match="would overwrite it"):
            prepare(custom, tmp_path, **flags)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
