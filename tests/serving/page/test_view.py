"""Looking at a photo: ways in, the list, light, switches, strength, wipe, strip, keyboard, phone."""

import numpy as np
import pytest

from clothseg.labels import GROUPS
from tests.serving.page.conftest import middle_of, playwright, upload

pytestmark = pytest.mark.browser

PHOTO = upload()
FULL, FAINT = round(0.55 * 255), round(0.25 * 0.55 * 255)
VEIL = round(0.62 * 255)
GUESSES = {"strong guess": 0.9, "fair guess": 0.7, "weak guess": 0.5, "wild guess": 0}

TRANSFER = """([bytes, name]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
    return transfer;
}"""


@pytest.fixture(scope="module")
def expected(offline):
    return offline.predict(PHOTO["buffer"])


@pytest.fixture
def with_photo(visitor):
    """Someone who has chosen a photo."""
    visitor.choose(PHOTO)
    return visitor


def largest_first(segmentation):
    return sorted(segmentation.to_coco()["segments"], key=lambda one: -one["area"])


def guess(segment):
    return next(words for words, least in GUESSES.items() if segment["score"] >= least)


def near(seen, wanted, tolerance=2):
    np.testing.assert_allclose(seen, wanted, atol=tolerance)


def transfer_of(visitor):
    return visitor.tab.evaluate_handle(TRANSFER, [list(PHOTO["buffer"]), PHOTO["name"]])


@pytest.mark.parametrize("way", ["click", "drop", "paste"])
def test_a_photo_comes_in_and_its_garments_are_listed(visitor, expected, way):
    tab = visitor.tab
    if way == "click":
        with tab.expect_file_chooser() as coming:
            tab.get_by_role("button", name="Choose photos").click()
        coming.value.set_files([PHOTO])
    elif way == "drop":
        transfer = transfer_of(visitor)
        tab.dispatch_event("#drop", "dragenter", {"dataTransfer": transfer})
        visitor.see("#curtain")
        tab.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
        playwright.expect(tab.locator("#curtain")).to_be_hidden()
    else:
        paste = "(clipboardData) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))"
        tab.evaluate(paste, transfer_of(visitor))
    visitor.see("#garments li >> nth=0")
    segments = largest_first(expected)
    assert [row.get_attribute("data-id") for row in tab.locator("#garments li").all()] == [
        str(one["class_id"]) for one in segments
    ]
    first = tab.locator("#garments li").first.inner_text().lower()
    assert GROUPS.classes[segments[0]["class_id"]].display_name in first
    assert f"{100 * segments[0]['area'] / (60 * 90):.0f}%" in first
    assert guess(segments[0]) in first
    assert "60 × 90 pixels" in tab.locator("#file-facts").inner_text()
    status = tab.locator("#status").inner_text()
    assert f"{len(segments)} garments found" in status
    assert all(GROUPS.classes[one["class_id"]].display_name in status for one in segments)


def test_colours_are_where_the_mask_says(with_photo, expected):
    for class_id in np.unique(expected.mask)[1:]:
        if np.count_nonzero(expected.mask == class_id) > 100:
            ink = with_photo.ink(middle_of(expected.mask, class_id))
            near(ink[:3], GROUPS.palette[class_id], 3)
            near(ink[3], FULL)


def test_a_pointed_at_garment_lights_up_and_others_dim(with_photo, expected):
    one, other = (segment["class_id"] for segment in largest_first(expected)[:2])
    with_photo.point(middle_of(expected.mask, one))
    tip = with_photo.see("#tip").inner_text()
    assert GROUPS.classes[one].display_name in tip.lower()
    assert "of the photo" in tip
    assert "guess" in tip
    assert with_photo.tab.locator("#garments li.lit").get_attribute("data-id") == str(one)
    near(with_photo.ink(middle_of(expected.mask, one))[3], FAINT)
    near(with_photo.ink(middle_of(expected.mask, other))[3], VEIL)
    with_photo.tab.mouse.move(2, 2)
    playwright.expect(with_photo.tab.locator("#tip")).to_be_hidden()
    near(with_photo.ink(middle_of(expected.mask, other))[3], FULL)
    with_photo.tab.locator(f"#garments li[data-id='{other}']").hover()
    near(with_photo.ink(middle_of(expected.mask, other))[3], FAINT)


def test_classes_are_switched_off_and_on(with_photo, expected):
    one, other = (segment["class_id"] for segment in largest_first(expected)[:2])
    place = middle_of(expected.mask, one)
    switch = with_photo.tab.locator(f"#garments li[data-id='{one}']").get_by_role("switch")
    switch.click()
    assert switch.get_attribute("aria-checked") == "false"
    with_photo.tab.mouse.move(2, 2)
    assert with_photo.ink(place)[3] == 0
    near(with_photo.ink(middle_of(expected.mask, other))[3], FULL)
    with_photo.point(place)  # what is switched off does not light up
    playwright.expect(with_photo.tab.locator("#tip")).to_be_hidden()
    with_photo.tab.get_by_role("button", name="Show all").click()
    assert switch.get_attribute("aria-checked") == "true"
    near(with_photo.ink(place)[3], FULL)
    with_photo.tab.get_by_role("button", name="Hide all").click()
    assert with_photo.ink(middle_of(expected.mask, other))[3] == 0


def test_the_strength_of_the_colours(with_photo, expected):
    place = middle_of(expected.mask, largest_first(expected)[0]["class_id"])
    slider = with_photo.tab.get_by_label("Colour strength")
    slider.press("End")
    assert with_photo.ink(place)[3] == 255
    slider.press("ArrowLeft")
    near(with_photo.ink(place)[3], 0.95 * 255)
    assert with_photo.tab.locator("#opacity-value").inner_text() == "95%"
    slider.press("Home")
    assert with_photo.ink(place)[3] == 0


def test_the_wipe_parts_photo_and_colours(with_photo):
    wipe = with_photo.tab.get_by_label("Before and after")
    assert wipe.is_hidden()
    coloured = with_photo.stage_picture()
    with_photo.tab.get_by_role("tab", name="Compare").click()
    assert wipe.input_value() == "50"
    half_way = with_photo.stage_picture()
    near(half_way[:, half_way.shape[1] // 2 + 12 :].astype(int), coloured[:, half_way.shape[1] // 2 + 12 :])
    wipe.press("End")
    assert "Photo alone" in wipe.get_attribute("aria-valuetext")
    plain = with_photo.stage_picture()
    half = plain.shape[1] // 2
    assert np.abs(plain.astype(int) - coloured).mean() > 10
    wipe.press("Home")
    box = with_photo.see("#stage").bounding_box()
    with_photo.tab.mouse.move(box["x"] + 22, box["y"] + box["height"] / 2)
    with_photo.tab.mouse.down()
    with_photo.tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    with_photo.tab.mouse.up()
    with_photo.tab.mouse.move(2, 2)
    assert abs(int(wipe.input_value()) - 50) <= 2
    parted = with_photo.stage_picture()
    near(parted[:, : half - 12].astype(int), plain[:, : half - 12])
    near(parted[:, half + 12 :].astype(int), coloured[:, half + 12 :])
    wipe.press("ArrowRight")
    assert int(wipe.input_value()) > 48


def test_everything_by_keyboard(with_photo, expected):
    tab, (one, other) = with_photo.tab, (segment["class_id"] for segment in largest_first(expected)[:2])
    tab.get_by_role("button", name="Hide all").focus()
    tab.keyboard.press("Tab")
    assert tab.locator(f"#garments li[data-id='{one}'] [role=switch]:focus").count() == 1
    near(with_photo.ink(middle_of(expected.mask, one))[3], FAINT)
    tab.keyboard.press("ArrowDown")
    assert tab.locator(f"#garments li[data-id='{other}'].lit [role=switch]:focus").count() == 1
    tab.keyboard.press("Space")
    assert tab.locator(":focus").get_attribute("aria-checked") == "false"
    tab.keyboard.press("ArrowRight")
    assert "Copy #" in tab.locator(":focus").get_attribute("aria-label")
    for words in ("Recolour", "cut-out"):
        tab.keyboard.press("Tab")
        assert words in tab.locator(":focus").get_attribute("aria-label")
    tab.keyboard.press("Escape")
    assert tab.locator("#garments li.lit").count() == 0


def test_a_screen_reader_hears_everything(with_photo, expected):
    heard = with_photo.tab.locator("body").aria_snapshot()
    segment = largest_first(expected)[0]
    share = f"{100 * segment['area'] / (60 * 90):.0f}%"
    name = GROUPS.classes[segment["class_id"]].display_name
    assert f'switch "{name.capitalize()} {share} of the photo, {guess(segment)}"' in heard
    for role in (
        'tab "Overlay" [selected]',
        'slider "Colour strength"',
        'button "Copy #',
        f'textbox "Recolour {name}"',
        'list "Garments"',
        'img "The photo coat.png"',
        'button "coat.png, segmented"',
        'button "Remove coat.png"',
        f'button "Download the cut-out of {name}"',
    ):
        assert role in heard
    assert "- button\n" not in heard


def test_several_photos_in_a_strip(with_photo, expected):
    tab = with_photo.tab
    with_photo.choose(upload("hat.png", 50, 80), upload("shoe.png", 70, 70))
    tiles = tab.locator("#strip .tile")
    assert [tile.get_attribute("title") for tile in tiles.all()] == ["coat.png", "hat.png", "shoe.png"]
    with_photo.wait_for("#file-facts", "80 × 50")
    tiles.nth(0).click()
    with_photo.wait_for("#file-facts", "60 × 90")
    one = largest_first(expected)[0]["class_id"]
    tab.locator(f"#garments li[data-id='{one}'] [role=switch]").click()
    tiles.nth(0).focus()
    tab.keyboard.press("End")
    with_photo.wait_for("#file-facts", "70 × 70")
    tab.get_by_role("button", name="Remove shoe.png").click()
    with_photo.wait_for("#file-facts", "80 × 50")
    tab.locator("#strip .tile >> nth=1").press("ArrowLeft")
    with_photo.wait_for("#file-facts", "60 × 90")
    switch = tab.locator(f"#garments li[data-id='{one}'] [role=switch]")
    playwright.expect(switch).to_have_attribute("aria-checked", "false")
    tab.get_by_role("button", name="Remove coat.png").click()
    with_photo.wait_for("#file-facts", "80 × 50")
    tab.get_by_role("button", name="Remove hat.png").click()
    with_photo.see("#welcome")


def test_a_phone(visit, expected):
    phone = visit(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert phone.tab.locator("#camera").get_attribute("capture") == "environment"
    phone.see("text=Take a photo")
    width = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    assert phone.tab.evaluate(width) == [390, 390]
    phone.choose(upload(f"{'a-very-long-name-' * 9}.png"))
    assert phone.tab.evaluate(width) == [390, 390]
    box = phone.see("#stage").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    one = largest_first(expected)[0]["class_id"]
    x, y = middle_of(expected.mask, one)
    phone.tab.touchscreen.tap(box["x"] + x * box["width"], box["y"] + y * box["height"])
    assert GROUPS.classes[one].display_name in phone.see("#tip").inner_text().lower()


def test_light_and_dark(visit):
    def brightness(scheme):
        colour = visit(color_scheme=scheme).tab.evaluate(
            "() => getComputedStyle(document.documentElement).backgroundColor"
        )
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness("light") > 700
    assert brightness("dark") < 100


def test_the_model_is_described(visit, offline):
    visitor = visit(opened=False)
    hair = offline.predict(PHOTO["buffer"]).labels[0].class_id

    def few_known(route):
        answer = route.fetch()
        card = answer.json()
        card["classes"][hair]["is_body_part"] = True
        route.fulfill(response=answer, json=card | {"known_classes": ["upperbody", "head"]})

    visitor.tab.route("**/v1/model", few_known)
    visitor.open()
    visitor.wait_for("#about-name", "small")
    visitor.tab.locator("#about-open").click()
    visitor.see("#about")
    assert visitor.tab.locator("#known").inner_text().split("\n") == ["Tops and jackets", "Hats and glasses"]
    assert "Trousers and skirts" in visitor.see("#unknown").inner_text()
    visitor.tab.keyboard.press("Escape")
    playwright.expect(visitor.tab.locator("#about")).to_be_hidden()
    visitor.choose(PHOTO)
    assert "never finds buckles and zips, shoes and legwear" in visitor.see("#never").inner_text()
    switched_off = visitor.tab.locator(".garment:has([role=switch][aria-checked=false])")
    assert [one.get_attribute("data-id") for one in switched_off.all()] == [str(hair)], "a body part is not worn"
    assert "stored nowhere" in visitor.tab.locator("footer").inner_text()
