import json
import os
import re
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from clothseg.labels import GROUPS
from clothseg.prediction.cutouts import CutoutStyle
from clothseg.prediction.folder import FolderRun
from clothseg.prediction.journal import JOURNAL_NAME
from clothseg.prediction.outputs import Outputs
from clothseg.prediction.predictor import Predictor
from clothseg.prediction.sources import find_photos
from clothseg.prediction.test_time_augmentation import TestTimeAugmentation
from tests.conftest import ROOT, unpacked

OUTPUTS = Outputs(json=True, cutouts="tight", soft_masks=True, formats=("coco", "coco-polygons", "label-studio"))

# A run that kills its own process in the middle: at the eighth of twelve photos.
SCRIPT = """
import itertools, os, signal, sys
from pathlib import Path
from clothseg.prediction.predictor import Predictor
from tests.prediction import conftest, test_resume

class Killing(conftest.ColorRuntime):
    calls = itertools.count(1)

    def logits(self, batch):
        if next(self.calls) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().logits(batch)

run = test_resume.run_of(Predictor(Killing(64), model={"name": "colors", "version": "1"}), *map(Path, sys.argv[1:]))
for report in run.outcomes(resume=True):
    pass
"""


def run_of(predictor, folder, output, outputs=OUTPUTS):
    output.mkdir(exist_ok=True)
    return FolderRun(predictor, find_photos([folder], output=output).photos, output, outputs)


def done_by(run, *, resume=True):
    """Run, write the formats, and return the names of the photos that were segmented in this run."""
    new = [report.photo.file for report in run.outcomes(resume=resume) if report.segmentation is not None]
    run.write_collection()
    return new


def contents(folder):
    """Return the files, PNGs by their pixels: the journal's sizes of them are left out, as `unpacked` explains."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    found = {path.relative_to(folder).as_posix(): unpacked(path.read_bytes()) for path in paths}
    journal = found.get(JOURNAL_NAME, b"")
    return found | {JOURNAL_NAME: re.sub(rb'(\.png": )\d+', rb"\1", journal)}


@pytest.fixture
def folder(tmp_path):
    """Twelve photos in two folders, one of them broken."""
    rng = np.random.default_rng(0)
    for number in range(12):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(GROUPS.palette[rng.integers(0, 4, (7, 5))].repeat(12, 0).repeat(12, 1)).save(path)
    (tmp_path / "photos" / "a" / "broken.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.mark.processes
def test_a_killed_run_resumes_to_the_files_of_one_run(predictor, folder, tmp_path, run_in):
    killed = run_in(
        "-c", SCRIPT, str(folder), str(tmp_path / "output"), PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path])
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    new = done_by(run_of(predictor, folder, tmp_path / "output"))
    assert 0 < len(new) < 12
    done_by(run_of(predictor, folder, tmp_path / "whole"), resume=False)
    assert contents(tmp_path / "output") == contents(tmp_path / "whole")


def test_an_interrupted_run_resumes_to_the_files_of_one_run(predictor, folder, tmp_path):
    done_by(run_of(predictor, folder, tmp_path / "whole"), resume=False)
    run = run_of(predictor, folder, tmp_path / "output")
    for num_reports in (1, 6):
        reports = run.outcomes(resume=True)
        for _ in range(num_reports):
            next(reports)
        reports.close()
        with (tmp_path / "output" / JOURNAL_NAME).open("ab") as journal:
            journal.write(b'{"stem": "a/')  # what a kill leaves of the next line
    new = done_by(run)
    assert len(new) == 6
    assert contents(tmp_path / "output") == contents(tmp_path / "whole")


def test_finished_photos_are_skipped(predictor, folder, tmp_path):
    run = run_of(predictor, folder, tmp_path / "output")
    assert len(done_by(run, resume=False)) == 12
    before = contents(tmp_path / "output")
    assert done_by(run) == []
    reports = list(run.outcomes(resume=True))
    assert [len(report.files) > 4 for report in reports] == [report.error is None for report in reports]
    assert sum(report.error is not None for report in reports) == 1, "the broken photo is named again"
    assert contents(tmp_path / "output") == before
    assert len(done_by(run, resume=False)) == 12, "without resume, all are segmented again"


def test_missing_and_cut_files_and_changed_photos_are_done_again(predictor, folder, tmp_path):
    run = run_of(predictor, folder, tmp_path / "output")
    done_by(run)
    before = contents(tmp_path / "output")
    (tmp_path / "output" / "a" / "0_mask.png").unlink()
    overlay = tmp_path / "output" / "b" / "3_overlay.jpg"
    overlay.write_bytes(overlay.read_bytes()[:100])
    Image.fromarray(np.zeros((50, 40, 3), np.uint8)).save(folder / "a" / "4.png")
    assert done_by(run_of(predictor, folder, tmp_path / "output")) == ["a/0.png", "a/4.png", "b/3.png"]
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


def test_results_of_another_model_or_with_other_options_are_not_reused(predictor, folder, tmp_path, monkeypatch):
    runtime, model, augmentation, outputs = (
        type(predictor._runtime)(64),
        dict(predictor.model),
        TestTimeAugmentation(),
        Outputs(),
    )

    def done():
        run = run_of(
            Predictor(runtime, model=model, augmentation=augmentation), folder / "a", tmp_path / "output", outputs
        )
        return len(done_by(run)), len(done_by(run))

    found = {"first": done()}
    model["sha256"] = "other"
    found["model"] = done()
    augmentation = TestTimeAugmentation(flip=True)
    found["augmentation"] = done()
    runtime.name = "numpy, bf16"
    found["runtime"] = done()
    outputs = Outputs(cutouts="frame")
    found["outputs"] = done()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "behind.png")
    outputs = Outputs(cutouts="frame", style=CutoutStyle(background=str(tmp_path / "behind.png")))
    found["background"] = done()
    Image.new("RGB", (9, 9), "blue").save(tmp_path / "behind.png")
    found["another background"] = done()
    monkeypatch.setattr("clothseg.__version__", "another")
    found["version"] = done()
    assert found == dict.fromkeys(found, (6, 0)), "each change segments all photos again, and none twice"


def test_another_format_is_written_without_segmenting_again(predictor, folder, tmp_path):
    done_by(run_of(predictor, folder, tmp_path / "output", Outputs(json=True)))
    assert not (tmp_path / "output" / "label_studio_tasks.json").exists()
    assert done_by(run_of(predictor, folder, tmp_path / "output", Outputs(json=True, formats=("label-studio",)))) == []
    assert (tmp_path / "output" / "label_studio_tasks.json").is_file()


def test_damaged_lines_of_the_journal_lose_only_their_photos(predictor, folder, tmp_path):
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
