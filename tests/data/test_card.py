import base64
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from clothseg.data.card import card_page, collect_card, notes
from clothseg.data.manifest import DATASET_FOLDER, Manifest
from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import DataError
from clothseg.labels import GROUPS
from clothseg.pictures import read_picture

ANNOTATIONS = "instances_attributes_train2020.json"


@pytest.fixture
def folder(prepared_path: Path) -> Path:
    return prepared_path / DATASET_FOLDER


def write_annotations(folder: Path) -> None:
    categories = [
        {"id": 7, "name": "jacket", "supercategory": "upperbody"},
        {"id": 9, "name": "skirt", "supercategory": "lowerbody"},
        {"id": 3, "name": "wing", "supercategory": "of a bird"},
    ]
    annotations = [{"id": number, "image_id": 1, "category_id": (7, 9, 7, 3, 55)[number % 5]} for number in range(20)]
    content = {"images": [], "annotations": annotations, "categories": categories}
    (folder / ANNOTATIONS).write_text(json.dumps(content))


class Page(HTMLParser):
    """Notes what a page consists of, and that its elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_numbers_are_those_of_the_data_set(folder: Path) -> None:
    write_annotations(folder)
    card = collect_card(folder)
    train = card.splits["train"]
    assert train.num_photos == 7
    assert card.manifest == Manifest.read(folder)
    assert train.sizes == ((33, 47), (60, 96), (200, 50))
    assert train.instances_per_class == (0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0)
    assert card.splits["val"].instances_per_class is None


def test_examples_show_the_class_where_there_is_most_of_it(folder: Path) -> None:
    mask = np.zeros((90, 60), dtype=np.uint8)
    mask[10:80, 10:50] = 8
    (folder / "train_masks" / "street_00.png").write_bytes(encode_png(mask))
    (folder / "train" / "street_00.jpg").write_bytes(encode_jpeg(np.full((90, 60, 3), 255, dtype=np.uint8), 95))
    values = json.loads((folder / "dataset.json").read_text())
    values["splits"]["train"]["photos_per_class"][8] = 1
    (folder / "dataset.json").write_text(json.dumps(values))

    examples = collect_card(folder).examples
    assert set(examples) == {2, 8, 10}
    assert [one.name for one in examples[8]] == ["street_00"]
    assert examples[8][0].share == pytest.approx(70 * 40 / (90 * 60))
    assert [len(examples[one]) for one in (2, 10)] == [3, 3]
    picture = read_picture(examples[8][0].jpeg).pixels
    assert picture.shape == (examples[8][0].height, examples[8][0].width, 3)
    middle = picture[picture.shape[0] // 2, picture.shape[1] // 2].astype(int)
    assert np.abs(middle - (0.65 * 255 + 0.35 * GROUPS.palette[8])).max() < 12
    shares = [one.share for one in examples[2]]
    assert shares == sorted(shares, reverse=True)


def test_a_class_that_is_only_in_val_has_examples_from_there(folder: Path) -> None:
    mask = np.zeros((60, 96), dtype=np.uint8)
    mask[5:20, 5:20] = 11
    (folder / "val_masks" / "street_08.png").write_bytes(encode_png(mask))
    values = json.loads((folder / "dataset.json").read_text())
    values["splits"]["val"]["photos_per_class"][11] = 1
    (folder / "dataset.json").write_text(json.dumps(values))
    card = collect_card(folder)
    assert [(one.split, one.name) for one in card.examples[11]] == [("val", "street_08")]


def test_the_page_needs_nothing_but_itself_and_can_be_read_aloud(folder: Path) -> None:
    write_annotations(folder)
    text = card_page(collect_card(folder))
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert not page.all("script")
    assert not page.all("link")
    assert "http" not in text
    assert "url(" not in text
    pictures = page.all("img")
    assert len(pictures) == 6
    for picture in pictures:
        assert picture["alt"]
        kind, _, content = (picture["src"] or "").partition(",")
        assert kind == "data:image/jpeg;base64"
        height, width = read_picture(base64.b64decode(content)).pixels.shape[:2]
        assert (picture["width"], picture["height"]) == (str(width), str(height))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == 2
    assert "color-scheme: light dark" in text
    assert "prefers-color-scheme: dark" in text
    shown = " ".join(page.text)
    for name in GROUPS.names:
        assert name in shown
    assert "drawn for a test" in shown
    assert "Apache-2.0" in shown


def test_what_is_missing_from_the_data_is_said(folder: Path) -> None:
    found = notes(collect_card(folder))
    assert any(one.startswith("Not in the training photos") and "closures" in one for one in found)
    assert any("fewer than 20 training photos" in one and "upperbody" in one for one in found)
    assert any("instances are not counted" in one for one in found)
    assert not any("gets no score" in one for one in found)
    write_annotations(folder)
    assert not any("instances" in one for one in notes(collect_card(folder)))


def test_names_cannot_break_out_of_the_page(folder: Path) -> None:
    values = json.loads((folder / "dataset.json").read_text())
    values["name"] = "<script>alert(1)</script>"
    values["source"] = '"><img src=x>'
    values["classes"][2]["name"] = "<b>&upper"
    (folder / "dataset.json").write_text(json.dumps(values))
    page = Page(card_page(collect_card(folder)))
    assert not page.all("script")
    assert not page.all("b")
    assert all("alt" in picture for picture in page.all("img"))
    assert "<script>alert(1)</script>" in "".join(page.text)


def test_a_broken_mask_is_named(folder: Path) -> None:
    path = folder / "train_masks" / "street_02.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"street_02\.png"):
        collect_card(folder)
    path.write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"street_02\.png"):
        collect_card(folder)
