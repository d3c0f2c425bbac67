"""The pages of docs/: their links, the figure of the layers, the notebook and the first tutorial."""

import csv
import json
import re
import shlex
import shutil

import pytest
from PIL import Image

from docs.pictures.architecture import TARGET, drawing
from tests.test_architecture import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"
PHOTO = ROOT / "docs" / "pictures" / "before.jpg"


def test_every_link_leads_to_a_file():
    """In the repository; the strict build of the site checks the site's links."""
    wrong, count = [], 0
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", text):
            count += 1
            if not (page.parent / target).exists():
                wrong.append(f"{page.relative_to(ROOT)}: {target}")
    assert count > 50
    assert not wrong


def test_the_figure_shows_the_layers_as_they_are():
    assert TARGET.read_text(encoding="utf-8") == drawing(), "run: uv run python -m docs.pictures.architecture"


@pytest.mark.slow
def test_the_notebook_runs_and_gives_what_it_shows(run_in, tmp_path):
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    shutil.copy(PHOTO, tmp_path / "docs" / "pictures")
    cells = json.loads((TUTORIALS / "python-interface.ipynb").read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in cells if cell["cell_type"] == "code"]
    ended = run_in("-c", "\n".join("".join(cell["source"]) for cell in cells))
    assert ended.returncode == 0, ended.stderr
    shown = [line for cell in cells for output in cell["outputs"] for line in output.get("text", [])]
    # Scores and areas differ a little between processors, the classes do not.
    assert [line.split()[0] for line in ended.stdout.splitlines()] == [line.split()[0] for line in shown]


@pytest.mark.slow
def test_the_tutorial_of_cutouts_runs(run_in, tmp_path):
    text = (TUTORIALS / "catalogue-cutouts.md").read_text(encoding="utf-8")
    (tmp_path / "photos").mkdir()
    shutil.copy(PHOTO, tmp_path / "photos" / "a.jpg")
    for command in re.findall(r"^clothseg (.*)$", text, flags=re.MULTILINE):
        ended = run_in("-m", "clothseg.cli", *shlex.split(command))
        assert ended.returncode == 0, ended.stderr
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    ended = run_in("-c", code)
    assert ended.returncode == 0, ended.stderr
    with (tmp_path / "results" / "garments.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    sure = {row["label"].replace(" ", "-") for row in rows if float(row["share"]) > 0.02 and float(row["score"]) > 0.8}
    squares = [*tmp_path.glob("catalogue/*.jpg"), *tmp_path.glob("squares/a_cutout-*.jpg")]
    assert sorted(path.stem for path in squares) == sorted(
        [f"a-{name}" for name in sure] + [f"a_cutout-{row['label'].replace(' ', '-')}" for row in rows]
    )
    assert sure
    for path in squares:
        with Image.open(path) as square:
            assert square.size == (1000, 1000)
            assert min(square.getpixel((0, 0))) > 250
