import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clothseg.labels import GROUPS
from clothseg.prediction.folder import FolderRun
from clothseg.prediction.journal import JOURNAL_NAME
from clothseg.prediction.outputs.options import Outputs
from clothseg.prediction.passes import Passes
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.sources import find_photos

OUTPUTS = Outputs(
    json=True, cutouts="tight", soft_masks=True, formats=("coco", "coco-polygons", "label-studio", "cvat")
)

# A run in a process of its own, to be killed: the network takes a while, so that the kill comes in the middle.
SCRIPT = """
import importlib.util, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("shared", sys.argv[1])
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
from clothseg.prediction.predictor import Predictor
import test_resume

class Slow(shared.ColorRuntime):
    def logits(self, batch):
        time.sleep(0.03)
        return super().logits(batch)

run = test_resume.run_of(Predictor(Slow(64), model={"name": "colors", "version": "1"}), *map(Path, sys.argv[2:4]))
for report in run.reports(resume=True):
    pass
run.write_collection()
"""


def run_of(predictor, folder, output, outputs=OUTPUTS):
    output.mkdir(exist_ok=True)
    return FolderRun(predictor, find_photos([folder], output=output).photos, output, outputs)


def done_by(run, *, resume=True):
    """Run, write the formats, and return the names of the photos that were segmented in this run."""
    new = [report.photo.file for report in run.reports(resume=resume) if report.segmentation is not None]
    run.write_collection()
    return new


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    """Twelve photos in two folders, one of them broken."""
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GROUPS.palette[rng.integers(0, 13, (7, 5))].repeat(12, 0).repeat(12, 1)).save(path)
    (tmp_path / "photos" / "a" / "broken.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.mark.parametrize("num_before_kill", [1, 5, 10])
def test_kill_and_resume_give_the_files_of_one_run(predictor, folder, tmp_path, num_before_kill):
    here = Path(__file__)
    killed = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(here.with_name("conftest.py")), str(folder), str(tmp_path / "output")],
        env=os.environ | {"PYTHONPATH": str(here.parent)},
    )
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "output").rglob("*_mask.png"))) < num_before_kill:
        assert killed.poll() is None, "it was to be killed in the middle"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()

    new = done_by(run_of(predictor, folder, tmp_path / "output"))
    assert 0 < len(new) < 13
    done_by(run_of(predictor, folder, tmp_path / "whole"), resume=False)
    assert contents(tmp_path / "output") == contents(tmp_path / "whole")


def test_what_is_whole_is_passed_over(predictor, folder, tmp_path):
    run = run_of(predictor, folder, tmp_path / "output")
    assert len(done_by(run, resume=False)) == 12
    before = contents(tmp_path / "output")
    assert done_by(run) == []
    reports = list(run.reports(resume=True))
    assert [len(report.files) > 4 for report in reports] == [report.error is None for report in reports]
    assert sum(report.error is not None for report in reports) == 1, "the broken photo is named again"
    assert contents(tmp_path / "output") == before
    assert len(done_by(run, resume=False)) == 12, "without resume, all is done anew"


def test_a_file_that_is_gone_or_cut_and_a_photo_that_changed_are_done_anew(predictor, folder, tmp_path):
    run = run_of(predictor, folder, tmp_path / "output")
    done_by(run)
    before = contents(tmp_path / "output")
    (tmp_path / "output" / "a" / "0_mask.png").unlink()
    overlay = tmp_path / "output" / "b" / "3_overlay.jpg"
    overlay.write_bytes(overlay.read_bytes()[:100])
    Image.fromarray(np.zeros((50, 40, 3), np.uint8)).save(folder / "a" / "4.png")
    assert done_by(run) == ["a/0.png", "a/4.png", "b/3.png"]
    after = contents(tmp_path / "output")
    assert after["a/4_mask.png"] != before["a/4_mask.png"]
    assert {name: after[name] for name in after if "a/4" not in name and "/" in name} == {
        name: before[name] for name in before if "a/4" not in name and "/" in name
    }


def test_new_photos_are_added(predictor, folder, tmp_path):
    done_by(run_of(predictor, folder, tmp_path / "output"))
    (folder / "a" / "zz.png").write_bytes((folder / "a" / "0.png").read_bytes())
    assert done_by(run_of(predictor, folder, tmp_path / "output")) == ["a/zz.png"]
    images = json.loads((tmp_path / "output" / "coco_images.json").read_text())["images"]
    assert [image["file_name"] for image in images][-7:] == ["a/zz.png", *(f"b/{n}.png" for n in (1, 3, 5, 7, 9, 11))]


@pytest.mark.parametrize("change", ["model", "passes", "outputs"])
def test_results_of_another_model_or_with_other_options_are_not_taken_for_done(predictor, folder, tmp_path, change):
    done_by(run_of(predictor, folder, tmp_path / "output"))
    other, outputs = predictor, OUTPUTS
    if change == "model":
        other = Predictor(predictor._runtime, model={"name": "colors", "version": "1", "sha256": "other"})
    elif change == "passes":
        other = Predictor(predictor._runtime, model=predictor.model, passes=Passes(flip=True))
    else:
        outputs = replace(OUTPUTS, cutouts="frame")
    assert len(done_by(run_of(other, folder, tmp_path / "output", outputs))) == 12


def test_another_format_is_written_without_doing_photos_anew(predictor, folder, tmp_path):
    done_by(run_of(predictor, folder, tmp_path / "output", Outputs(json=True)))
    assert not (tmp_path / "output" / "cvat_annotations.xml").exists()
    assert done_by(run_of(predictor, folder, tmp_path / "output", Outputs(json=True, formats=("cvat",)))) == []
    assert (tmp_path / "output" / "cvat_annotations.xml").is_file()


def test_a_journal_that_is_damaged_costs_only_its_photos(predictor, folder, tmp_path):
    run = run_of(predictor, folder, tmp_path / "output")
    done_by(run)
    before = contents(tmp_path / "output")
    journal = tmp_path / "output" / JOURNAL_NAME
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[0], lines[1], b"{no json}\n", b'["a list"]\n', lines[3], lines[4][:40]]))
    assert len(done_by(run)) == 10
    after = contents(tmp_path / "output")
    assert after.keys() == before.keys()
    assert all(after[name] == before[name] for name in before if name != JOURNAL_NAME)
    journal.write_bytes(b"\xff\0 something else entirely")
    assert len(done_by(run)) == 12
