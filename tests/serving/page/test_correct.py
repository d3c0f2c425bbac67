"""Correcting a mask by hand: what is clicked and painted is in every download, and each says so."""

import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from clothseg.labels import GROUPS
from clothseg.prediction.label_studio import write_tasks
from clothseg.prediction.outputs import write_results
from clothseg.rle import decode_region, encode_regions
from tests.serving.page.conftest import middle_of, playwright, upload

pytestmark = pytest.mark.browser

PHOTO = upload("coat.png", 120, 80)
NOTE = b"corrected by hand"
RADIUS = 3


@pytest.fixture
def correcting(visitor):
    """Someone who corrects a photo."""
    visitor.choose(PHOTO)
    visitor.tab.get_by_role("tab", name="Cut-out").click()
    visitor.tab.get_by_label("Edges").select_option("hard")
    visitor.tab.get_by_role("tab", name="Correct").click()
    return visitor


@pytest.fixture(scope="module")
def predicted(offline):
    return offline.predict(PHOTO["buffer"]).mask


def mask_of(visitor):
    """The mask as downloaded, and its bytes."""
    _, content = visitor.download("[data-download=mask]")
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == "P"
        assert image.getpalette()[: 3 * len(GROUPS)] == GROUPS.palette.ravel().tolist()
        return np.array(image), content


def decoded(results):
    mask = np.zeros((results["height"], results["width"]), np.uint8)
    for segment in results["segments"]:
        mask[decode_region(segment["rle"])] = segment["class_id"]
    return mask


def region_at(mask, place):
    """(H, W) bool of the connected pixels around (x, y) as parts of the size."""
    x, y = int(place[0] * mask.shape[1]), int(place[1] * mask.shape[0])
    pieces = cv2.connectedComponents((mask == mask[y, x]).astype(np.uint8), connectivity=4)[1]
    return pieces == pieces[y, x]


def click(visitor, place):
    visitor.point(place)
    visitor.tab.mouse.down()
    visitor.tab.mouse.up()


def drag(visitor, start, end):
    visitor.point(start)
    visitor.tab.mouse.down()
    visitor.point(end)
    visitor.tab.mouse.up()


def near_line(shape, start, end, radius):
    """(H, W) float, distance of each pixel's centre from a line, less the radius of the brush."""
    y, x = np.indices(shape) + 0.5
    a, b = (np.array(place) * (shape[1], shape[0]) for place in (start, end))
    along = np.clip(((x - a[0]) * (b - a)[0] + (y - a[1]) * (b - a)[1]) / max(1e-9, (b - a) @ (b - a)), 0, 1)
    return np.hypot(x - a[0] - along * (b - a)[0], y - a[1] - along * (b - a)[1]) - radius


def test_regions_get_another_class_and_steps_are_undone(correcting, predicted):
    tab = correcting.tab
    areas = np.bincount(predicted.ravel())
    areas[0] = 0
    one, other = (int(class_id) for class_id in np.argsort(-areas)[:2])
    places = [middle_of(predicted, class_id) for class_id in (one, other)]
    new = next(i for i in (2, 3, 4) if i not in (one, other))
    click(correcting, places[0])
    correcting.wait_for("#correct-words", "1 region selected")
    tab.locator(f"#correct-classes [data-id='{new}']").click()
    correcting.wait_for("#file-facts", "corrected by hand")
    wanted = predicted.copy()
    wanted[region_at(predicted, places[0])] = new
    mask, content = mask_of(correcting)
    np.testing.assert_array_equal(mask, wanted)
    assert NOTE in content
    click(correcting, places[0])
    click(correcting, places[1])
    correcting.wait_for("#correct-words", "2 regions selected")
    tab.get_by_role("button", name="Merge").click()
    merged = wanted.copy()
    merged[region_at(wanted, places[1])] = new
    np.testing.assert_array_equal(mask_of(correcting)[0], merged)
    click(correcting, places[1])
    tab.get_by_role("button", name="Remove", exact=True).click()
    assert not np.any(mask_of(correcting)[0][region_at(merged, places[1])])
    for shortcut in ("Control+z", "Control+z"):
        tab.keyboard.press(shortcut)
    np.testing.assert_array_equal(mask_of(correcting)[0], wanted)
    tab.keyboard.press("Control+Shift+z")
    np.testing.assert_array_equal(mask_of(correcting)[0], merged)
    tab.get_by_role("button", name="Undo").click()
    tab.get_by_role("button", name="Undo").click()
    playwright.expect(tab.locator("#file-facts")).not_to_contain_text("corrected")
    mask, content = mask_of(correcting)
    np.testing.assert_array_equal(mask, predicted)
    assert NOTE not in content


def test_brush_and_eraser_paint_lines(correcting, predicted):
    tab = correcting.tab
    tab.get_by_label("Size of the brush").fill(str(RADIUS))
    before = predicted
    for tool, start, end in (("Brush", (0.3, 0.2), (0.7, 0.5)), ("Eraser", (0.6, 0.7), (0.6, 0.3))):
        tab.get_by_text(tool, exact=True).click()
        if tool == "Brush":
            tab.locator("#correct-classes [data-id='12']").click()
        drag(correcting, start, end)
        mask, _ = mask_of(correcting)
        distance = near_line(mask.shape, start, end, RADIUS)
        assert np.all(mask[distance < -0.5] == (12 if tool == "Brush" else 0))
        np.testing.assert_array_equal(mask[distance > 0.5], before[distance > 0.5])
        before = mask


def test_everything_by_keyboard(correcting, predicted):
    tab = correcting.tab
    row = predicted[60]
    steps = next(count for count in range(15) if row[int((0.5 + 0.03 * count) * 80)])
    column = int((0.5 + 0.03 * steps) * 80)
    tab.locator("#stage").focus()
    for key in ["ArrowRight"] * steps + ["Space"]:
        tab.keyboard.press(key)
    correcting.wait_for("#correct-words", "1 region selected")
    assert GROUPS.classes[row[column]].display_name in tab.locator("#correct-words").inner_text()
    tab.keyboard.press("Escape")
    tab.keyboard.press("b")
    tab.locator("#correct-classes [data-id='12']").press("Enter")
    tab.locator("#stage").focus()
    for key in ("Space", "ArrowRight", "ArrowRight", "Space", "ArrowDown"):
        tab.keyboard.press(key)
    mask, _ = mask_of(correcting)
    assert np.all(mask[60, column : column + 4] == 12)
    assert np.count_nonzero(mask != predicted) > 20


@pytest.mark.parametrize("seed", [1, 2])
def test_mask_json_and_archives_agree_after_any_corrections(correcting, predicted, seed):
    tab, chance = correcting.tab, np.random.default_rng(seed)
    for _ in range(8):
        place, end = chance.uniform(0.05, 0.95, 2), chance.uniform(0.05, 0.95, 2)
        tool = chance.choice(["select", "brush", "eraser", "undo"])
        if tool == "undo":
            tab.keyboard.press("Control+z")
            continue
        tab.locator("#stage").focus()
        tab.keyboard.press({"select": "v", "brush": "b", "eraser": "e"}[tool])
        drag(correcting, place, place if tool == "select" else end)
        if tool != "eraser":
            tab.locator("#correct-classes button").nth(int(chance.integers(12))).click()
    mask, _ = mask_of(correcting)
    assert np.any(mask != predicted)
    results = json.loads(correcting.download("[data-download=json]")[1])
    assert results["corrected"] is True
    np.testing.assert_array_equal(decoded(results), mask)
    regions = {region.class_id: region for region in encode_regions(mask)}
    assert [segment["class_id"] for segment in results["segments"]] == list(regions)
    for segment in results["segments"]:
        region = regions[segment["class_id"]]
        assert segment["rle"] == region.rle
        assert (segment["area"], tuple(segment["bbox"])) == (region.area, region.bbox)
        is_same = np.array_equal(mask == region.class_id, predicted == region.class_id)
        assert segment.get("corrected", False) is not is_same
        assert segment["label"] == GROUPS.names[region.class_id]

    _, content = correcting.download("[data-download=everything]")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(files["coat/coat_results.json"]) == results
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(files["coat/coat_mask.png"]))), mask)
    for class_id in regions:
        name = f"coat/coat_{GROUPS.names[class_id].replace(' ', '-')}.png"
        alpha = np.array(Image.open(io.BytesIO(files[name])))[..., 3]
        np.testing.assert_array_equal(alpha >= 128, mask == class_id)
        assert NOTE in files[name]
    assert NOTE in files["coat/coat_overlay.jpg"]
    alpha = np.array(Image.open(io.BytesIO(files["coat/coat_clothes.png"])))[..., 3]
    np.testing.assert_array_equal(alpha >= 128, mask > 0)
    scores = {one["category_id"]: one for one in json.loads(files["coco_results.json"])}
    assert {i: one["segmentation"] for i, one in scores.items()} == {i: one.rle for i, one in regions.items()}
    assert json.loads(files["coco_images.json"])["images"][0]["corrected"] is True


def test_labelling_files_are_those_of_the_command_line(visitor, offline, tmp_path):
    visitor.choose(upload("a (1) é.png", 70, 90))
    _, content = visitor.download("[data-download=formats]")
    results = offline.predict(upload("a (1) é.png", 70, 90)["buffer"], name="a (1) é.png").to_coco()
    paths = [*write_results(tmp_path, GROUPS, [results]), *write_tasks(tmp_path, GROUPS, [results])]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sorted(archive.namelist()) == sorted(path.name for path in paths)
        for path in paths:
            ours = archive.read(path.name).decode()
            if path.suffix == ".json":
                assert json.loads(ours) == json.loads(path.read_text()), path.name
            else:
                assert ours == path.read_text()
