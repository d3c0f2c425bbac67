"""Every public name has an example in its docstring, which runs and is correct."""

import doctest
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import clothseg
from clothseg.labels import GROUPS
from tests.conftest import ROOT, needs

NAMES = sorted(set(clothseg.__all__) - {"__version__"})


@pytest.fixture
def names(predictor, tmp_path, monkeypatch, checkpoint_path):
    """Names that the examples may use, in a folder with a photo and a model.

    `predictor` finds garments by their colours, so that the examples have results to show.
    """
    mask = np.zeros((90, 60), np.uint8)
    mask[10:45, 5:35] = GROUPS.id_of("upperbody")
    mask[45:80, 15:45] = GROUPS.id_of("lowerbody")
    pixels = GROUPS.palette[mask]
    sharper = clothseg.Predictor(type(predictor._runtime)(96), model=predictor.model)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(pixels).save("photo.jpg", quality=100, subsampling=0)
    shutil.copy(checkpoint_path, "model.ckpt")
    return {"clothseg": clothseg, "predictor": sharper, "pixels": pixels}


def test_there_are_at_most_ten_public_names():
    assert len(clothseg.__all__) - 1 <= 10
    assert dir(clothseg) == sorted(clothseg.__all__)


@pytest.mark.parametrize("thing", [getattr(clothseg, name) for name in NAMES], ids=lambda one: one.__name__)
def test_the_example_of_a_public_name_runs(names, thing, capsys):
    (example,) = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs=names | {thing.__name__: thing})
    assert example.examples, f"{thing.__name__} has no example"
    result = doctest.DocTestRunner().run(example)
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.full
@pytest.mark.slow
def test_examples_of_the_documents_pass_pyright_in_strict_mode(tmp_path):
    needs("basedpyright")
    count = 0
    for page in ("README.md", "docs/how-to/predict.md", "docs/how-to/try-on.md", "docs/tutorials/catalogue-cutouts.md"):
        for code in re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.MULTILINE | re.DOTALL):
            count += 1
            (tmp_path / f"example_{count}.py").write_text(code)
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT / "src")]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "-p", tmp_path]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert count > 5
    assert checked.returncode == 0, checked.stdout
