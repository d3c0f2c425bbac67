"""A mirror becomes a prepared dataset: right, whole, repeatable, and the same after a kill."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clothseg.data import painting, processes, sources
from clothseg.data.manifest import Manifest
from clothseg.data.prepare import prepare
from clothseg.data.prepare_command import Prepare
from clothseg.data.processes import lock_folder
from clothseg.data.report import Report
from clothseg.data.source import SPLITS, local_path
from clothseg.data.sources import FASHIONPEDIA, LICENCE, Mirror, Sample
from clothseg.errors import DataError, MachineError, MissingExtraError, MissingInputError, SettingError
from clothseg.labels import CATEGORIES, GROUPS
from clothseg.settings import OFFICIAL_SOURCE
from tests.conftest import unpacked
from tests.data.broken_server import Answer, BrokenServer
from tests.data.reference_masks import assert_equals_reference
from tests.data.small_mirror import annotation_path, prepared, write_annotations, write_mirror

PROJECT = Path(__file__).resolve().parents[2]
REAL_MIRROR = PROJECT.parent / "shared" / "fashionpedia-mirror"


def content_of(folder):
    """Return what every file below a folder contains, by name; of a PNG its pixels."""
    return {
        str(path.relative_to(folder)): unpacked(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_no_two_files_of_the_download_share_a_path(tmp_path: Path) -> None:
    names = [name for split in SPLITS for name in split.files]
    places = {local_path(tmp_path, name) for name in names}
    assert len(places) == len(names) == 4
    assert all(place.parent == tmp_path for place in places)


def test_addresses_name_and_licence_are_the_official_ones(tmp_path: Path) -> None:
    assert Mirror(OFFICIAL_SOURCE + "/").describe(tmp_path) == (FASHIONPEDIA, LICENCE)
    addresses = [f"{OFFICIAL_SOURCE}/{name}" for split in SPLITS for name in split.files]
    assert addresses == [
        "https://s3.amazonaws.com/ifashionist-dataset/images/train2020.zip",
        "https://s3.amazonaws.com/ifashionist-dataset/annotations/instances_attributes_train2020.json",
        "https://s3.amazonaws.com/ifashionist-dataset/images/val_test2020.zip",
        "https://s3.amazonaws.com/ifashionist-dataset/annotations/instances_attributes_val2020.json",
    ]


@pytest.mark.parametrize(("classes", "group_size"), [(GROUPS, 32), (CATEGORIES, 2)])
def test_masks_equal_pycocotools_and_the_manifest_counts_them(mirror, tmp_path, classes, group_size, monkeypatch):
    monkeypatch.setattr(processes, "GROUP_SIZE", group_size)

    result = prepared(mirror, tmp_path / "out", classes)

    assert (result.was_ready, result.report.num_skipped) == (False, 0)
    assert_equals_reference(tmp_path / "out", mirror, classes)
    assert (result.manifest.name, result.manifest.licence) == ("Noise", "CC0")
    assert Manifest.read(tmp_path / "out") == result.manifest
    assert Report.read(tmp_path / "out") == result.report
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
    for split in ("train", "val"):
        copied = tmp_path / "out" / annotation_path(mirror, split).name
        assert copied.read_bytes() == annotation_path(mirror, split).read_bytes()


def test_the_disk_has_all_masks_before_the_manifest_says_so(mirror, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "sync", lambda: seen.append(content_of(tmp_path / "out").keys()))

    prepared(mirror, tmp_path / "out")

    assert content_of(tmp_path / "out").keys() - seen[-1] == {"dataset.json"}


@pytest.mark.processes
def test_several_processes_give_the_same_bytes_as_none(tmp_path, monkeypatch):
    """Masks differed once, and nobody knows why: isal gave the same bytes in 267,000 compressions by busy processes."""
    monkeypatch.setattr(painting, "PHOTOS_PER_PROCESS", 40)
    write_mirror(tmp_path / "mirror", num_train=90, num_val=2)

    prepared(tmp_path / "mirror", tmp_path / "alone")
    prepared(tmp_path / "mirror", tmp_path / "together", num_workers=2)

    assert content_of(tmp_path / "alone") == content_of(tmp_path / "together")


def test_a_second_run_skips_what_is_done(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    again = prepared(mirror, tmp_path / "out")

    assert again.was_ready
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}


def test_other_classes_paint_anew_what_a_fresh_run_would(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")

    again = prepared(mirror, tmp_path / "out", CATEGORIES)

    prepared(mirror, tmp_path / "fresh", CATEGORIES)
    assert not again.was_ready
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


@pytest.mark.parametrize("also_killed", [False, True])
def test_another_source_leaves_nothing_of_the_first(mirror, tmp_path, also_killed):
    write_mirror(tmp_path / "other", num_train=3, num_val=4, seed=5)
    prepared(mirror, tmp_path / "out")
    if also_killed:
        (tmp_path / "out" / "dataset.json").unlink()
        (tmp_path / "out" / ".train_masks.77.part").mkdir()

    again = prepared(tmp_path / "other", tmp_path / "out")

    assert again.replaced == str(mirror)
    assert prepared(tmp_path / "other", tmp_path / "fresh").replaced is None
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


def test_an_annotation_file_changed_in_place_is_noticed(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    content = json.loads(annotation_path(mirror, "train").read_text())
    content["images"].pop()
    content["annotations"] = [
        one for one in content["annotations"] if one["image_id"] in {image["id"] for image in content["images"]}
    ]
    write_annotations(mirror, "train", content)

    again = prepared(mirror, tmp_path / "out")

    assert not again.was_ready
    assert_equals_reference(tmp_path / "out", mirror)


def test_what_was_deleted_is_put_back(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")
    wrong = []
    for lost in ("train_masks/train001.png", "train/train001.jpg", "dataset.json", "val_masks"):
        path = tmp_path / "out" / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()

        if prepared(mirror, tmp_path / "out").was_ready or content_of(tmp_path / "out") != before:
            wrong.append(lost)
    assert not wrong, wrong


def test_files_beside_the_dataset_are_not_changed(mirror, tmp_path):
    write_mirror(tmp_path / "other", seed=5)
    prepared(mirror, tmp_path / "out")
    (tmp_path / "out" / "notes.json").write_text("{}")

    prepared(tmp_path / "other", tmp_path / "out")

    assert (tmp_path / "out" / "notes.json").exists()


def test_a_full_disk_is_named_and_leaves_no_manifest(mirror, tmp_path, monkeypatch):
    write = Path.write_bytes

    def no_room(path, content):
        if path.suffix == ".png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(MachineError, match=r"train000\.png: the disk is full"):
        prepared(mirror, tmp_path / "out")
    monkeypatch.undo()

    assert not (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out" / "train_masks").exists()
    prepared(mirror, tmp_path / "out")
    prepared(mirror, tmp_path / "fresh")
    assert content_of(tmp_path / "out") == content_of(tmp_path / "fresh")


def test_a_folder_in_use_is_left_alone(mirror, tmp_path):
    (tmp_path / "out").mkdir()

    with lock_folder(tmp_path / "out"), pytest.raises(MachineError, match="Another run"):
        prepared(mirror, tmp_path / "out")

    assert not list((tmp_path / "out").iterdir())


def test_a_sample_is_prepared_and_replaces_no_other_data(mirror, tmp_path):
    sample = Sample(counts=(2, 1, 1))
    result = prepare(sample, tmp_path / "sample", GROUPS, num_workers=0)
    assert [split.count for split in result.manifest.splits.values()] == [2, 1]
    assert prepare(sample, tmp_path / "sample", GROUPS, num_workers=0).was_ready
    assert not [path for path in (tmp_path / "sample").iterdir() if path.name.startswith(".")]
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")

    with pytest.raises(DataError, match=r"the sample would replace.*--data-path"):
        prepare(sample, tmp_path / "out", GROUPS, num_workers=0)

    assert content_of(tmp_path / "out") == before
    prepared(mirror, tmp_path / "sample")
    assert content_of(tmp_path / "sample") == before


def test_a_server_gives_what_a_folder_does_and_each_file_is_fetched_once(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    names = [split.annotations for split in SPLITS] + [split.archive for split in SPLITS]
    with BrokenServer(*(Answer((mirror / name).read_bytes()) for name in names)) as server:
        prepared(server.address, tmp_path / "out")
        (tmp_path / "out" / "train2020.zip").unlink()
        prepared(server.address, tmp_path / "out", CATEGORIES)

        assert [request.path for request in server.requests] == [f"/{name}" for name in names]
        with pytest.raises(DataError, match=f"contains the download of {server.address}, not of"):
            prepared("http://127.0.0.1:9", tmp_path / "out")

    assert_equals_reference(tmp_path / "out", mirror, CATEGORIES)


def test_a_source_that_is_not_there_costs_nothing(mirror, tmp_path):
    prepared(mirror, tmp_path / "out")
    before = content_of(tmp_path / "out")

    with pytest.raises(MissingInputError, match="--source"):
        prepared(tmp_path / "nowhere", tmp_path / "out")

    assert content_of(tmp_path / "out") == before


WRONG_FLAGS = [
    ({"num_workers": -1}, "--workers"),
    ({"sample": True, "annotations": Path("a.json")}, "--annotations and --sample"),
    ({"masks": Path("m"), "annotations": Path("a.json")}, "--annotations and --masks"),
    ({"photos": Path("p")}, "--photos is given without"),
    ({"sample": True, "photos": Path("p")}, "--photos is given without"),
    ({"annotations": Path("a.json")}, "--photos"),
    ({"annotations": Path("a.json"), "photos": Path("p"), "val_masks": Path("m")}, "--val-masks"),
    ({"annotations": Path("a.json"), "photos": Path("p"), "val_photos": Path("m")}, "--val-photos"),
    ({"masks": Path("m"), "photos": Path("p"), "val_annotations": Path("m")}, "--val-annotations"),
    ({"masks": Path("m"), "photos": Path("p"), "val_photos": Path("m")}, "--val-photos"),
    ({"masks": Path("m"), "photos": Path("p"), "val_share": 1.0}, "--val-share"),
    ({"classes": "grups"}, "grups"),
]


def test_flags_that_do_not_go_together_are_refused(tmp_path):
    for flags, message in WRONG_FLAGS:
        with pytest.raises(SettingError, match=message):
            Prepare(data_path=tmp_path, **flags).run()

    assert not list(tmp_path.iterdir())


def test_without_msgspec_the_error_ends_with_the_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "msgspec", None)

    with pytest.raises(MissingExtraError, match=r"(--extra train|clothseg\[train\]\")$"):
        Prepare(data_path=tmp_path, source=str(tmp_path)).run()


RUN = """
import sys
from pathlib import Path
from clothseg.data import processes
from clothseg.data.source import SPLITS
from clothseg.data import painting
from clothseg.data.sources import Mirror
from clothseg.data import sources
from clothseg.data.prepare import prepare
from clothseg.labels import GROUPS
if __name__ == "__main__":
    processes.GROUP_SIZE = 4
    painting.PHOTOS_PER_PROCESS = 1
    print("ready", flush=True)
    prepare(Mirror(sys.argv[1]), Path(sys.argv[2]), GROUPS, num_workers=int(sys.argv[3]))
"""


@pytest.mark.processes
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_killed_at_any_point_the_next_run_ends_with_the_same_files(tmp_path):
    write_mirror(tmp_path / "mirror", num_train=60, num_val=10)
    script = tmp_path / "run.py"
    script.write_text(RUN)
    began = time.monotonic()
    prepared(tmp_path / "mirror", tmp_path / "calm")
    duration = time.monotonic() - began
    expected = content_of(tmp_path / "calm")
    chance = random.Random(3)

    for num_workers, longest in ((0, duration), (0, duration), (0, duration), (2, 4 * duration + 1)):
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / "mirror"), str(tmp_path / "killed"), str(num_workers)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        with process.stdout as words:
            assert words.readline() == b"ready\n"
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.wait()
    prepared(tmp_path / "mirror", tmp_path / "killed")

    assert content_of(tmp_path / "killed") == expected


@pytest.mark.slow
@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_MIRROR.is_dir(), reason="the mirror of real photos is not beside the project")
def test_all_850_masks_of_real_photos_equal_pycocotools(tmp_path):
    result = prepared(REAL_MIRROR, tmp_path / "out", num_workers=2)

    assert [split.count for split in result.manifest.splits.values()] == [700, 150]
    assert result.report.num_skipped == 0
    assert_equals_reference(tmp_path / "out", REAL_MIRROR)


def test_only_what_was_downloaded_binds_a_folder(tmp_path, monkeypatch):
    def nobody(source, name, target, **options):
        raise MachineError(f"Cannot fetch {source}")

    monkeypatch.setattr(sources, "fetch", nobody)
    failed, killed = tmp_path / "failed", tmp_path / "killed"
    failed.mkdir()
    (failed / "train2020.zip").write_bytes(b"the user's own")
    killed.mkdir()
    Report("fashionpedia", "http://wrong", "http://wrong", "x").write(killed)
    for folder, source in (
        (failed, "http://wrong"),
        (failed, "ftp://wrong"),
        (failed, "http://right"),
        (killed, "http://right"),
    ):
        with pytest.raises(MachineError, match=f"Cannot fetch {source}"):
            prepared(source, folder)
    assert [path.name for path in failed.iterdir()] == ["train2020.zip"]


def test_after_a_download_another_source_is_still_refused(tmp_path, monkeypatch):
    def half(source, name, target, **options):
        target.with_name(f"{target.name}.part").write_bytes(b"half")
        raise MachineError("cut off")

    monkeypatch.setattr(sources, "fetch", half)
    with pytest.raises(MachineError, match="cut off"):
        prepared("http://first", tmp_path / "out")
    with pytest.raises(DataError, match="contains the download of http://first"):
        prepared("http://second", tmp_path / "out")
