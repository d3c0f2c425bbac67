"""What the page lets one keep, against what the predictor in this process makes of the same photo."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.export.small_model import photo_of
from tests.serving.page.conftest import upload

pytestmark = pytest.mark.browser

PHOTO = upload("A photo, of me.png", 120, 80)
STEM = "A photo, of me"


@pytest.fixture(scope="module")
def expected(offline):
    return offline.predict(PHOTO["buffer"])


@pytest.fixture
def with_photo(visitor):
    """Someone who has chosen a photo, and hard edges: those are the same pixels everywhere."""
    visitor.choose(PHOTO)
    choose_hard_edges(visitor)
    return visitor


def choose_hard_edges(visitor):
    visitor.tab.get_by_role("tab", name="Cut-out").click()
    visitor.tab.get_by_label("Edges").select_option("hard")
    visitor.tab.get_by_role("tab", name="Overlay").click()


def gray_difference(one, other):
    return np.abs(one @ [0.299, 0.587, 0.114] - other @ [0.299, 0.587, 0.114]).mean()


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    return image


def test_the_mask(with_photo, expected):
    name, content = with_photo.download("[data-download=mask]")
    assert name == f"{STEM}_mask.png"
    assert opened(content).mode == "P"
    np.testing.assert_array_equal(np.array(opened(content)), expected.mask)


def test_the_results(with_photo, expected):
    name, content = with_photo.download("[data-download=json]")
    assert name == f"{STEM}_results.json"
    assert json.loads(content) == json.loads(json.dumps(expected.to_coco())) | {"file": PHOTO["name"]}


@pytest.mark.parametrize("tight", [False, True])
def test_the_cut_out_of_one_garment(with_photo, expected, tight):
    label = expected.labels[-1]
    if tight:
        with_photo.tab.get_by_role("tab", name="Cut-out").click()
        with_photo.tab.get_by_label("Canvas").select_option("crop")
    name, content = with_photo.download(f"#garments li[data-id='{label.class_id}'] .icon")
    assert name == f"{STEM}_{label.name.replace(' ', '-')}.png"
    assert opened(content).mode == "RGBA"
    np.testing.assert_array_equal(np.array(opened(content)), expected.cutout(label.name, tight=tight, edges="hard"))


def test_all_cut_outs_in_one_archive(with_photo, expected):
    name, content = with_photo.download("[data-download=cutouts]")
    assert name == f"{STEM}_cutouts.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == len(expected.labels)
        for label in expected.labels:
            cutout = opened(archive.read(f"{STEM}_{label.name.replace(' ', '-')}.png"))
            np.testing.assert_array_equal(np.array(cutout), expected.cutout(label.name, edges="hard"))


def test_the_overlay_is_what_is_seen(with_photo, expected):
    hidden = expected.labels[0]
    with_photo.tab.locator(f"#garments li[data-id='{hidden.class_id}'] [role=switch]").click()
    with_photo.tab.get_by_label("Colour strength").press("Home")
    for _ in range(8):
        with_photo.tab.get_by_label("Colour strength").press("ArrowRight")
    name, content = with_photo.download("[data-download=overlay]")
    assert name == f"{STEM}_overlay.jpg"
    around = np.pad(expected.mask, 1, mode="edge")
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    is_edge = np.any([one != expected.mask for one in neighbours], axis=0)
    strength = np.where(is_edge, 0.8, 0.4) * ((expected.mask > 0) & (expected.mask != hidden.class_id))
    colours = expected.classes.palette[expected.mask]
    wanted = expected.photo + strength[..., None] * (colours.astype(float) - expected.photo)
    seen = np.array(opened(content).convert("RGB")).astype(float)
    assert seen.shape == wanted.shape
    assert gray_difference(seen, wanted) < 4  # JPEG keeps brightness better than colour
    assert gray_difference(seen, expected.photo) > 12


def test_a_rotated_photo_is_upright_for_both(visitor, offline):
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    Image.fromarray(photo_of(80, 120)).save(stream, "JPEG", exif=exif, quality=95)
    segmentation = offline.predict(stream.getvalue())
    assert segmentation.size == (120, 80)
    visitor.choose({"name": "side.jpg", "mimeType": "image/jpeg", "buffer": stream.getvalue()})
    assert visitor.tab.evaluate("() => [photo.width < photo.height, colours.width < colours.height]") == [True, True]
    label = segmentation.labels[0]
    choose_hard_edges(visitor)
    _, content = visitor.download(f"#garments li[data-id='{label.class_id}'] .icon")
    seen, wanted = np.array(opened(content)), segmentation.cutout(label.name, edges="hard")
    np.testing.assert_array_equal(seen[..., 3], wanted[..., 3])
    assert np.abs(seen.astype(int) - wanted).mean() < 4  # two JPEG decoders


def test_a_photo_that_the_browser_cannot_show(visitor, offline):
    stream = io.BytesIO()
    Image.fromarray(photo_of(90, 60)).save(stream, "TIFF")
    segmentation = offline.predict(stream.getvalue())
    visitor.choose({"name": "scan.tiff", "mimeType": "image/tiff", "buffer": stream.getvalue()})
    visitor.wait_for("#panel-hint", "cannot show")
    label = segmentation.labels[0]
    _, content = visitor.download(f"#garments li[data-id='{label.class_id}'] .icon")
    np.testing.assert_array_equal(np.array(opened(content)), segmentation.cutout(label.name))
    _, content = visitor.download("[data-download=clothes]")
    np.testing.assert_array_equal(np.array(opened(content)), segmentation.cutout())
    _, content = visitor.download("[data-download=everything]")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert "scan/scan_overlay.jpg" in archive.namelist()
        np.testing.assert_array_equal(np.array(opened(archive.read("scan/scan_clothes.png"))), segmentation.cutout())
    _, content = visitor.download("[data-download=mask]")
    np.testing.assert_array_equal(np.array(opened(content)), segmentation.mask)
