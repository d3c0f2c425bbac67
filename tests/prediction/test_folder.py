import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.errors import MachineError, PictureError, make_folder
from clothseg.pictures import read_mask
from clothseg.prediction.folder import FolderRun
from clothseg.prediction.journal import JOURNAL_NAME
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.sources import find_photos
from tests.conftest import unpacked


def run_of(predictor, *inputs, output, **outputs):
    output.mkdir(parents=True, exist_ok=True)
    return FolderRun(predictor, find_photos(inputs, output=output).photos, output, Outputs(**outputs))


def segment(predictor, *inputs, output, **outputs):
    return list(run_of(predictor, *inputs, output=output, **outputs).outcomes())


def files_in(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != JOURNAL_NAME
    )


def test_a_folder_keeps_its_structure(predictor, photo_file, figure, tmp_path):
    for name in ("photos/one.png", "photos/deep/er/two.png", "photos/deep/one.jpg"):
        photo_file(name)
    output = tmp_path / "output"
    reports = segment(predictor, tmp_path / "photos", output=output)
    assert [report.photo.file for report in reports] == ["deep/er/two.png", "deep/one.jpg", "one.png"]
    assert files_in(output) == [
        "deep/er/two_mask.png",
        "deep/er/two_overlay.jpg",
        "deep/one_mask.png",
        "deep/one_overlay.jpg",
        "one_mask.png",
        "one_overlay.jpg",
    ]
    assert [path for report in reports for path in report.files] == [output / name for name in files_in(output)]
    assert (read_mask(output / "deep/er/two_mask.png") == figure[1]).mean() > 0.97


def test_photos_of_one_stem_get_different_outputs(predictor, photo_file, tmp_path):
    photo_file("photos/a.png")
    Image.new("RGB", (7, 5), (0, 130, 200)).save(tmp_path / "photos" / "a.bmp")
    segment(predictor, tmp_path / "photos", output=tmp_path / "output")
    assert read_mask(tmp_path / "output" / "a.bmp_mask.png").shape == (5, 7)
    assert read_mask(tmp_path / "output" / "a.png_mask.png").shape == (90, 60)


def test_results_carry_the_path_inside_the_folder(predictor, photo_file, tmp_path):
    photo_file("photos/deep/two.png")
    (report,) = segment(predictor, tmp_path / "photos", output=tmp_path / "output", json=True)
    assert report.segmentation.to_coco()["file"] == "deep/two.png"
    assert '"file": "deep/two.png"' in (tmp_path / "output" / "deep" / "two_results.json").read_text()


def test_a_bad_photo_is_reported_and_the_rest_done(predictor, photo_file, tmp_path):
    photo_file("photos/a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"broken")
    photo_file("photos/c.png")
    reports = segment(predictor, tmp_path / "photos", output=tmp_path / "output")
    assert [isinstance(report.error, PictureError) for report in reports] == [False, True, False]
    assert files_in(tmp_path / "output") == ["a_mask.png", "a_overlay.jpg", "c_mask.png", "c_overlay.jpg"]


def test_a_second_run_into_the_photos_own_folder_gives_the_same(predictor, photo_file, tmp_path):
    photo_file("photos/a.png")
    folder = tmp_path / "photos"
    segment(predictor, folder, output=folder)
    first = {name: unpacked((folder / name).read_bytes()) for name in files_in(folder)}
    segment(predictor, folder, output=folder)
    assert {name: unpacked((folder / name).read_bytes()) for name in files_in(folder)} == first
    assert sorted(first) == ["a.png", "a_mask.png", "a_overlay.jpg"]


def test_unusual_names_are_kept(predictor, photo_file, tmp_path):
    stems = ("two words", "new\nline", "кофта", "-dash", "a.b.", "%s {0}", os.fsdecode(b"\xff\xfe"))
    for stem in stems:
        photo_file("photos/a.png").rename(tmp_path / "photos" / f"{stem}.png")
    segment(predictor, tmp_path / "photos", output=tmp_path / "output", json=True)
    endings = ("_mask.png", "_overlay.jpg", "_results.json")
    assert files_in(tmp_path / "output") == sorted(f"{stem}{ending}" for stem in stems for ending in endings)


def test_an_output_folder_is_made_or_refused(tmp_path):
    make_folder(tmp_path / "new" / "deep")
    assert (tmp_path / "new" / "deep").is_dir()
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "locked").mkdir(mode=0o500)
    cases = {tmp_path / "taken": "it is a file", tmp_path / "taken" / "below": "not a directory"}
    cases |= {Path("/proc/clothseg"): ""} if Path("/proc/self").exists() else {}
    cases |= {tmp_path / "locked": "permission denied"} if os.geteuid() else {}  # root may write anywhere
    for output, reason in cases.items():
        with pytest.raises(MachineError, match=rf"Cannot write to {output}: .*{reason}.*\. Pass another --output"):
            make_folder(output)
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_ends_the_run_and_leaves_no_partial_file(predictor, photo_file, tmp_path):
    photo_file("photos/a.png")
    photo_file("photos/b.png")
    output = tmp_path / "output"
    output.mkdir()
    # Where the temporary file of b's mask will be: what is written there finds no space.
    (output / ".b_mask.png.part").symlink_to("/dev/full")
    with pytest.raises(MachineError, match=r"b_mask\.png: the disk is full"):
        segment(predictor, tmp_path / "photos", output=output)
    assert files_in(output) == ["a_mask.png", "a_overlay.jpg"]


def test_masks_do_not_depend_on_what_else_is_in_the_folder(predictor, photo_file, tmp_path):
    photo_file("photos/a.png")
    Image.fromarray(np.zeros((300, 20, 3), np.uint8)).save(tmp_path / "photos" / "b.png")
    segment(predictor, tmp_path / "photos", output=tmp_path / "all")
    segment(predictor, tmp_path / "photos" / "a.png", output=tmp_path / "alone")
    assert unpacked((tmp_path / "all/a_mask.png").read_bytes()) == unpacked(
        (tmp_path / "alone/a_mask.png").read_bytes()
    )
