"""The pages are whole, need nothing else, and survive names that look like HTML."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from clothseg.evaluation.compare import Compare
from clothseg.evaluation.evaluate import Evaluate
from clothseg.labels import ClassList, ClothingClass
from tests.evaluation.conftest import CLASSES, read_json, shifted, truth_of

TRUTH = {str(seed): truth_of(seed) for seed in range(9)}
VOID = {"meta", "img", "br", "rect", "path"}


class Checker(HTMLParser):
    """Notes every tag, and fails where one is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def checked(path):
    checker = Checker()
    text = path.read_text()
    checker.feed(text)
    assert checker.open == []
    return text, checker


@pytest.fixture
def report(make_data, write_masks, tmp_path, capsys):
    def write(classes=CLASSES, truth=TRUTH, **options):
        predicted = {stem: shifted(mask, 2) for stem, mask in truth.items()}
        masks, data = write_masks(predicted), make_data(truth, classes=classes)
        Evaluate(data_path=data, predictions=masks, output=tmp_path / "out", **options).run()
        Compare(masks, masks, data_path=data, output=tmp_path / "out", **options).run()
        return tmp_path / "out"

    return write


def test_pages_need_no_other_file_and_no_network(report):
    folder = report()
    for name in ("evaluation.html", "compare.html"):
        text, checker = checked(folder / name)
        assert not {"script", "link", "iframe", "object"} & set(checker.tags)
        sources = [value for key, value in checker.attributes if key in ("src", "href", "srcset")]
        assert all(value.startswith("data:image/jpeg;base64,") for value in sources)
        assert "@import" not in text
        assert "url(" not in text
        assert "http" not in text
        assert 'name="viewport"' in text
        assert "prefers-color-scheme: dark" in text


def test_names_that_look_like_html_are_shown_as_they_are(report):
    evil = ClassList((*CLASSES.classes[:3], ClothingClass("<b>|hat", (1, 2, 3))))
    truth = {"<i>a&b": truth_of(1), **TRUTH}
    folder = report(classes=evil, truth=truth, leave_out=("<b>|hat",))
    for name in ("evaluation.html", "compare.html"):
        text, _ = checked(folder / name)
        assert "<i>a" not in text
        assert "<b>|hat" not in text
        assert "&lt;b&gt;|hat" in text
    assert "&lt;i&gt;a&amp;b.jpg" in (folder / "evaluation.html").read_text()
    for name in ("evaluation.md", "compare.md"):
        for table in re.findall(r"(?:^\|.*\n)+", (folder / name).read_text(), re.MULTILINE):
            assert len({line.count("|") for line in table.splitlines()}) == 1


def test_every_score_of_the_json_is_on_the_page_and_in_the_markdown(report):
    folder = report(leave_out=("shoe",))
    values = read_json(folder)
    page, markdown = ((folder / f"evaluation.{ending}").read_text() for ending in ("html", "md"))
    scores = [
        one[name] for one in values["classes"][:3] for name in ("iou", "f1", "precision", "recall", "boundary_iou")
    ]
    scores += [
        one
        for means in ("with_background", "without_background", "without_left_out")
        for one in values["mean"][means].values()
    ]
    scores += [values["pixel_accuracy"], values["photo_iou"]]
    assert len(scores) == 15 + 15 + 2
    for score in scores:
        assert f"{score['value']:.3f}" in page
        assert f"{score['low']:.3f}–{score['high']:.3f}" in page
        assert f"{score['value']:.3f} ({score['low']:.3f}–{score['high']:.3f})" in markdown
    assert "mean without shoe" in page


def test_the_matrix_s_rows_are_whole(report):
    folder = report()
    matrix = np.array(read_json(folder)["confusion_matrix"])
    section = (folder / "evaluation.md").read_text().partition("## Confusion matrix")[2].partition("## ")[0]
    rows = re.findall(r"^\| (background|dress|shoe) \| (.*) \|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == ["background", "dress", "shoe"]
    for (_, cells), counts in zip(rows, matrix, strict=False):
        shares = [float(cell) for cell in cells.split(" | ")]
        np.testing.assert_allclose(shares, 100 * counts[:3] / counts.sum(), atol=0.051)
