"""The report and the model card say what was measured of the model file that ships."""

import importlib
import sys

import pytest

from clothseg.prediction.runtimes.model_file import ModelFile
from clothseg.starter import starter_model
from tests.test_architecture import ROOT

MAKERS = ROOT / "benchmarks" / "starter"


@pytest.fixture(scope="module")
def report():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(MAKERS))
        yield importlib.import_module("report")
    del sys.modules["report"]


@pytest.fixture(scope="module")
def model():
    return ModelFile.read(starter_model())


@pytest.mark.slow
def test_the_documents_are_what_the_results_and_the_model_file_say(report):
    files = report.written(starter_model(), report.RESULTS)
    assert len(files) == 7
    for path, content in files.items():
        if path.suffix == ".md":
            assert (ROOT / path).read_bytes() == content, f"run benchmarks/starter/report.py: {path}"
        assert (ROOT / path).is_file()


def test_tables_are_copied_whole(report, model):
    parts = report.sections(report.RESULTS / "evaluation.md", model.sha256)
    text = report.filled("a\n<!-- evaluation.md: Classes -->\nold\n<!-- end -->\nb", parts)
    assert text.startswith("a\n<!-- evaluation.md: Classes -->\n\nThe pixels")
    assert text.endswith("|\n\n<!-- end -->\nb")
    assert f"**{model.description.scores['val_iou']:.3f} (" in text
    with pytest.raises(SystemExit, match="no part 'Clases'"):
        report.filled("<!-- evaluation.md: Clases -->\n<!-- end -->", parts)


def test_results_of_another_model_are_refused(report, model, tmp_path):
    (tmp_path / "evaluation.md").write_text("# Classes\n\nSHA-256: 0123\n")
    with pytest.raises(SystemExit, match=r"evaluation\.md was not measured of the model file"):
        report.sections(tmp_path / "evaluation.md", model.sha256)
    with pytest.raises(SystemExit, match=r"none\.md is missing"):
        report.sections(tmp_path / "none.md", model.sha256)


def test_photos_of_a_reader(report, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report.py", "--photos", str(ROOT / "docs/pictures/photos"), "--output", "out"])
    monkeypatch.chdir(tmp_path)
    assert report.main() == 0
    assert len(list((tmp_path / "out").iterdir())) == 5
