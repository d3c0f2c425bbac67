"""Kaggle's iMaterialist gives the masks that the official annotation files give, in each layout that it comes in."""

import csv
import json
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from clothseg.data import sources
from clothseg.data.card import collect_card
from clothseg.data.http_client import RetryableError
from clothseg.data.imaterialist import write_coco
from clothseg.data.manifest import Manifest
from clothseg.data.prepare import prepare
from clothseg.data.prepare_command import Prepare
from clothseg.data.report import Report
from clothseg.data.sources import CocoAnnotations
from clothseg.data.verify import verify
from clothseg.errors import DataError, MachineError, MissingInputError, SettingError
from clothseg.labels import CATEGORIES, GROUPS
from tests.conftest import unpacked
from tests.data.reference_masks import annotation_to_mask
from tests.data.small_mirror import annotation_path, prepared, write_mirror


def encoded_pixels(segmentation, height, width):
    """Return a segmentation as Kaggle's text: start, from 1 down the columns, and length of each run."""
    mask = annotation_to_mask(segmentation, height, width).ravel("F")
    edges = np.flatnonzero(np.diff(mask, prepend=0, append=0).astype(np.int8))
    return " ".join(f"{start + 1} {end - start}" for start, end in edges.reshape(-1, 2).tolist())


def rows_of(annotations: Path, year=2020):
    """Return the rows of an official annotation file as the competition of a year has them."""
    content = json.loads(annotations.read_text())
    images = {image["id"]: image for image in content["images"]}
    rows = []
    for one in content["annotations"]:
        image = images[one["image_id"]]
        size = image["height"], image["width"]
        name = image["file_name"] if year == 2019 else Path(image["file_name"]).stem
        row = [name, encoded_pixels(one["segmentation"], *size), *size]
        rows.append([*row, f"{one['category_id']}_115_136"] if year == 2019 else [*row, one["category_id"], "115,136"])
    return rows


def write_rows(path: Path, rows, header=("ImageId", "EncodedPixels", "Height", "Width", "ClassId", "AttributesIds")):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header[: len(rows[0])], *rows])


@pytest.fixture
def kaggle(tmp_path):
    """The folder of a competition with the training photos of a mirror, beside that mirror."""
    write_mirror(tmp_path / "mirror", num_train=7, num_val=3)
    folder = tmp_path / "kaggle"
    with zipfile.ZipFile(tmp_path / "mirror" / "images" / "train2020.zip") as photos:
        photos.extractall(folder)
    content = json.loads(annotation_path(tmp_path / "mirror", "train").read_text())
    labels = {"info": {"description": "Noise"}, "categories": content["categories"], "attributes": []}
    (folder / "label_descriptions.json").write_text(json.dumps(labels))
    write_rows(folder / "train.csv", rows_of(annotation_path(tmp_path / "mirror", "train")))
    return folder


def masks_of(folder: Path, *splits):
    return {
        path.name: unpacked(path.read_bytes()) for split in splits for path in (folder / f"{split}_masks").iterdir()
    }


def zipped(archive: Path, *paths: Path):
    """Move files and folders into an archive beside them."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for path in paths:
            for file in [path] if path.is_file() else sorted(path.iterdir()):
                stream.write(file, file.relative_to(path.parent))
                file.unlink()


def as_it_is(kaggle, mirror):
    pass


def in_one_zip(kaggle, mirror):
    zipped(kaggle / "imaterialist-fashion-2020-fgvc7.zip", *sorted(kaggle.iterdir()))
    (kaggle / "train").rmdir()
    return kaggle / "imaterialist-fashion-2020-fgvc7.zip"


def in_several_zips(kaggle, mirror):
    zipped(kaggle / "train.csv.zip", kaggle / "train.csv")
    with zipfile.ZipFile(kaggle / "train.zip", "w") as stream:  # that of 2019 has no folder in it
        for photo in sorted((kaggle / "train").iterdir()):
            stream.write(photo, photo.name)
            photo.unlink()
    (kaggle / "train").rmdir()


def of_2019(kaggle, mirror):
    write_rows(kaggle / "train.csv", rows_of(annotation_path(mirror, "train"), year=2019))


def with_scattered_rows(kaggle, mirror):
    """Put the first instances of all photos before their second ones."""
    rows, number = rows_of(annotation_path(mirror, "train")), {}
    for row in rows:
        number[row[0]] = number.get(row[0], -1) + 1
        row.append(number[row[0]])
    write_rows(kaggle / "train.csv", [row[:-1] for row in sorted(rows, key=lambda row: row[-1])])


@pytest.mark.parametrize("change", [as_it_is, in_one_zip, in_several_zips, of_2019, with_scattered_rows])
def test_each_layout_gives_the_masks_of_the_official_files(kaggle, tmp_path, change, capsys):
    mirror = tmp_path / "mirror"
    prepared(mirror, tmp_path / "official", CATEGORIES)
    source = change(kaggle, mirror) or kaggle

    code = Prepare(source=str(source), data_path=tmp_path, classes="categories", val_share=0.3).run()

    folder = tmp_path / "fashionist"
    assert code == 0
    assert [split.count for split in Manifest.read(folder).splits.values()] == [5, 2]
    assert masks_of(folder, "train", "val") == masks_of(tmp_path / "official", "train")
    assert Manifest.read(folder).name == "Noise"
    assert verify(folder).defects == ()
    counted = [sum(facts.instances_per_class) for facts in collect_card(folder).splits.values()]
    assert sum(counted) == len(rows_of(annotation_path(mirror, "train")))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    val = {Path(one["file_name"]).stem for one in json.loads((folder / "instances_val.json").read_text())["images"]}
    assert val == {path.stem for path in (folder / "val_masks").iterdir()}, "the split is recorded"
    assert "write masks of 7 photos or fewer" in capsys.readouterr().err


def test_single_files_with_photos_in_archives_give_the_official_masks(kaggle, tmp_path):
    mirror = tmp_path / "mirror"
    prepared(mirror, tmp_path / "official")
    images = mirror / "images"
    for labels in (annotation_path(mirror, "train"), kaggle / "train.csv"):
        val = annotation_path(mirror, "val")
        source = CocoAnnotations(labels, images / "train2020.zip", val, images / "val_test2020.zip", 0.1)
        prepare(source, tmp_path / labels.suffix[1:], GROUPS, num_workers=0)
        for split in ("train", "val"):
            assert masks_of(tmp_path / labels.suffix[1:], split) == masks_of(tmp_path / "official", split)


WRONG_LAYOUTS = [
    (lambda kaggle, mirror: (kaggle / "train.csv").unlink(), DataError, "neither a mirror .*: it has label_desc"),
    (lambda kaggle, mirror: (kaggle / "label_descriptions.json").unlink(), DataError, "not label_descriptions.json"),
    (lambda kaggle, mirror: (kaggle / "train").rename(kaggle / "photos"), DataError, "but not train, as it is or in a"),
    (lambda kaggle, mirror: (mirror / "images").rename(kaggle / "images"), DataError, "files of two datasets"),
    (
        lambda kaggle, mirror: (kaggle / "train.csv").write_text("ImageId,ClassId\na,1\n"),
        DataError,
        "lacks the columns",
    ),
    (lambda kaggle, mirror: (kaggle / "train.csv").write_bytes(b"ImageId\xff\xfe"), DataError, "cannot be read"),
    (lambda kaggle, mirror: (kaggle / "label_descriptions.json").write_text("[]"), DataError, "is no label_desc"),
    (lambda kaggle, mirror: kaggle.rename(kaggle.with_name("other")), MissingInputError, "Source not found"),
    (
        lambda kaggle, mirror: annotation_path(mirror, "val").unlink() or mirror,
        MissingInputError,
        "val2020.json is not",
    ),
]


def test_wrong_and_mixed_layouts_are_named(kaggle, tmp_path):
    wrong = []
    for number, (change, error, message) in enumerate(WRONG_LAYOUTS):
        here = tmp_path / str(number)
        for name in ("kaggle", "mirror"):
            here.mkdir(exist_ok=True)
            (here / name).mkdir()
            for path in (tmp_path / name).rglob("*"):
                target = here / name / path.relative_to(tmp_path / name)
                target.mkdir() if path.is_dir() else target.write_bytes(path.read_bytes())
        source = change(here / "kaggle", here / "mirror")
        source = source if isinstance(source, Path) and source.name == "mirror" else here / "kaggle"
        try:
            with pytest.raises(error, match=message):
                Prepare(source=str(source), data_path=here).run()
        except (AssertionError, pytest.fail.Exception) as failed:
            wrong.append((message, str(failed)))
        assert not (here / "fashionist" / "dataset.json").exists()
    assert not wrong, wrong
    inside = tmp_path / "fashionist"
    kaggle.rename(inside)
    with pytest.raises(SettingError, match="would overwrite it"):
        Prepare(source=str(inside), data_path=tmp_path).run()


def test_rows_that_cannot_be_used_are_skipped_by_number(kaggle, tmp_path):
    rows = rows_of(annotation_path(tmp_path / "mirror", "train"))
    good = rows[0]
    for change in ("1 2 3", "0 2", "2 x", "5 2 3 1", f"{good[2] * good[3]} 2"):
        rows.append([good[0], change, *good[2:]])
    rows += [good[:3], [good[0], good[1], good[2] + 1, *good[3:]], [*good[:4], 99, ""]]
    write_rows(kaggle / "train.csv", rows)

    code = Prepare(source=str(kaggle), data_path=tmp_path / "out", val_share=0.3).run()

    report = Report.read(tmp_path / "out" / "fashionist")
    problems = [one for split in report.splits.values() for one in split.problems]
    first = len(rows) - 8
    found = {one.annotation_id or one.detail.split(":")[0]: one.reason for one in problems}
    assert code == 1
    assert sorted(found.values()) == ["annotation record", *6 * ["run lengths"], "unknown category"]
    assert found.keys() >= {*range(first + 1, first + 6), first + 7, first + 8}


def test_rows_take_no_memory(tmp_path):
    (tmp_path / "label_descriptions.json").write_text('{"categories": []}')
    peaks = []
    for count in (100, 3000):
        write_rows(tmp_path / "train.csv", [["a", "1 2 " * 500, 50, 50, 1, ""]] * count)
        tracemalloc.start()
        write_coco(tmp_path / "train.csv", tmp_path / "coco.json", progress=lambda done, total: None)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 20_000, peaks


def test_a_limit_paints_the_same_few_photos_with_the_masks_of_a_whole_run(tmp_path, capsys):
    write_mirror(tmp_path / "mirror", num_train=9, num_val=4)
    prepared(tmp_path / "mirror", tmp_path / "whole")
    flags = {"source": str(tmp_path / "mirror"), "data_path": tmp_path}
    kept = []
    for _ in range(2):
        assert Prepare(limit=3, **flags).run() == 0
        kept.append(masks_of(tmp_path / "fashionist", "train") | masks_of(tmp_path / "fashionist", "val"))
    assert "Limited to 3 of 9 photos" in capsys.readouterr().err
    assert [split.count for split in Manifest.read(tmp_path / "fashionist").splits.values()] == [3, 3]
    assert kept[0] == kept[1]
    assert kept[0].items() <= masks_of(tmp_path / "whole", "train", "val").items()
    assert Prepare(**flags).run() == 0
    assert masks_of(tmp_path / "fashionist", "train") == masks_of(tmp_path / "whole", "train")
    with pytest.raises(SettingError, match="--limit is 0"):
        Prepare(limit=0, **flags).run()


def test_before_it_starts_it_says_what_it_needs_and_how_long_the_last_one_took(tmp_path, capsys, monkeypatch):
    write_mirror(tmp_path / "mirror")
    flags = {"source": str(tmp_path / "mirror"), "data_path": tmp_path / "data"}
    used = type("Usage", (), {"free": 10_000})
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: used)
        with pytest.raises(MachineError, match=r"No space for the dataset in .* 10,000 free"):
            Prepare(**flags).run()
    assert not list((tmp_path / "data").rglob("*.png"))
    Prepare(**flags).run()
    first = capsys.readouterr().err
    Prepare(classes="categories", **flags).run()
    second = capsys.readouterr().err
    assert "To do: unpack 0.0 MB, write masks of 9 photos or fewer, about 0.1 MB. " in first
    assert "One core takes about 0.6 s for painting per 1,000 photos" in first
    times = json.loads((tmp_path / "data" / "preparation_times.json").read_text())
    assert times.keys() == {"photos", "unpacking", "painting"}
    assert "The last preparation here, of 8 photos, took " in second
    assert "To do: write masks" in second


def test_a_download_that_fails_lists_the_ways_that_work(tmp_path, capsys, monkeypatch):
    def nobody(source, name, target, **options):
        target.with_name(f"{target.name}.part").write_bytes(b"half")
        raise MachineError(f"Cannot fetch {source}") from RetryableError("no response")

    monkeypatch.setattr(sources, "fetch", nobody)
    monkeypatch.setattr(sources, "bytes_to_fetch", lambda source, name, target: 700_000_000)
    with pytest.raises(MachineError, match="Cannot fetch http://gone"):
        Prepare(source="http://gone", data_path=tmp_path).run()
    said = capsys.readouterr().err
    assert "To do: download 2.8 GB, unpack 2.8 GB, write masks." in said
    for way in ("--source FOLDER_OR_ZIP", "kaggle competitions download", "--annotations-train", "--sample"):
        assert way in said
    assert f"is kept in {tmp_path / 'fashionist'}" in said
    assert (tmp_path / "fashionist" / "instances_attributes_train2020.json.part").exists()
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 5}))
    with pytest.raises(MachineError, match="No space"):
        Prepare(source="http://gone", data_path=tmp_path).run()
    assert "Ways that" not in capsys.readouterr().err
