"""A manifest reads back as written, a damaged one is named, and pairs go by stem."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clothseg.data.manifest import MANIFEST_NAME, Manifest, Split, names_by_stem, pairs, stem_of
from clothseg.errors import DataError, MissingInputError
from clothseg.labels import GROUPS

SPLIT = Split("train", "train_masks", 2, tuple(range(13)), (2,) * 13)
MANIFEST = Manifest("Übung", "http://x/y", None, GROUPS, {"train": SPLIT})


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_it_reads_back_as_written(tmp_path):
    MANIFEST.write(tmp_path)

    assert Manifest.read(tmp_path) == MANIFEST
    assert json.loads((tmp_path / MANIFEST_NAME).read_text(encoding="utf-8"))["version"] == 1


def test_its_summary_names_the_classes_that_training_photos_show():
    summary = MANIFEST.summary()
    assert summary["counts"] == {"train": 2}
    assert summary["known_classes"] == list(GROUPS.names[1:]), "of background there is no pixel here"
    assert summary["photos_per_class"] == dict.fromkeys(GROUPS.names, 2)


def test_a_missing_or_damaged_one_is_named_with_what_to_do(tmp_path):
    with pytest.raises(MissingInputError, match=r"uv run data_prep\.py.*--sample"):
        Manifest.read(tmp_path)
    MANIFEST.write(tmp_path)
    path = tmp_path / MANIFEST_NAME
    values = json.loads(path.read_text(encoding="utf-8"))
    train = values["splits"]["train"]
    damaged_splits = [
        {"photos": "../out"},
        {"masks": "/etc"},
        {"masks": 5},
        {"count": "2"},
        {"pixels_per_class": [1]},
        {"photos_per_class": [-1] * 13},
        {"photos_per_class": None},
    ]
    for damaged in (
        [],
        values | {"version": 2},
        {key: value for key, value in values.items() if key != "splits"},
        values | {"splits": {}},
        values | {"splits": []},
        values | {"classes": [{"name": "only one"}]},
        values | {"classes": None},
        *(values | {"splits": {"train": train | damage}} for damage in damaged_splits),
    ):
        path.write_text(json.dumps(damaged))
        with pytest.raises(DataError, match=r"dataset\.json.*data_prep\.py"):
            Manifest.read(tmp_path)


def test_pairs_are_made_by_stem_whatever_other_files_there_are(tmp_path):
    touch(
        tmp_path / "train",
        "a.jpg",
        "b.JPEG",
        "street/a.png",
        "extra.jpg",
        "b.txt",
        ".c.jpg.part",
        ".hidden/d.jpg",
        "x.y.webp",
    )
    touch(tmp_path / "train_masks", "a.png", "b.png", "street/a.png", "notes.txt", ".c.png", "x.y.png")

    found = [
        [path.relative_to(tmp_path).as_posix() for path in pair] for pair in pairs(tmp_path, replace(SPLIT, count=4))
    ]

    assert found == [
        ["train/a.jpg", "train_masks/a.png"],
        ["train/b.JPEG", "train_masks/b.png"],
        ["train/street/a.png", "train_masks/street/a.png"],
        ["train/x.y.webp", "train_masks/x.y.png"],
    ]


def test_masks_without_one_photo_of_theirs_are_refused_and_named(tmp_path):
    """A prediction into the folders of a dataset adds photos with masks, which are no ground truth."""
    wrong = {
        r"1 mask \(b\).*without a photo": (("a.jpg", "c.jpg", "d.jpg"), ("a.png", "b.png", "c.png")),
        r"3 masks in \S*train_masks, but 2 were prepared.*data_prep\.py": (
            ("a.jpg", "b.jpg", "b_mask.png"),
            ("a.png", "b.png", "b_mask.png"),
        ),
        r"a\.jpg and a\.png": (("a.jpg", "a.png"), ("a.png",)),
    }
    for number, (message, (photos, masks)) in enumerate(wrong.items()):
        folder = tmp_path / str(number)
        touch(folder / "train", *photos)
        touch(folder / "train_masks", *masks)
        with pytest.raises(DataError, match=message):
            pairs(folder, SPLIT)
    touch(tmp_path / "train", "a.jpg")
    with pytest.raises(MissingInputError, match="train_masks"):
        pairs(tmp_path, SPLIT)


@given(
    st.lists(
        st.text(st.characters(codec="ascii", exclude_characters="/\\\0.", categories=["L", "N", "P"]), min_size=1),
        min_size=1,
        max_size=3,
    )
)
def test_photo_and_mask_of_a_name_have_one_stem(parts):
    name = "/".join(parts)
    assert stem_of(f"{name}.jpg") == stem_of(f"{name}.png") == name


def test_the_stem_of_a_listing_is_the_stem_of_a_name(tmp_path):
    touch(tmp_path, "a.b.jpg", "x/.y.jpg", "x/y..jpg", "x/ .jpg")

    for stem, names in names_by_stem(tmp_path, (".jpg",)).items():
        assert [stem_of(name) for name in names] == [stem]


def test_linked_folders_of_photos_are_searched(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere" / "a.jpg").touch()
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "circle").symlink_to(tmp_path)
    assert names_by_stem(tmp_path / "photos", (".jpg",)) == {"more/a": ["more/a.jpg"]}
