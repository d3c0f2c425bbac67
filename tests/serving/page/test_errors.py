"""Clear words when something fails, and a way on."""

import json

import pytest

from tests.serving.page.conftest import playwright, upload
from tests.serving.running_server import RunningServer

pytestmark = pytest.mark.browser

PHOTO = upload()
REFUSED = "Failed to load resource"
KEY = "a-key-for-the-page"


def send(visitor, name, content, media_type="image/jpeg"):
    visitor.tab.set_input_files("#chooser", [{"name": name, "mimeType": media_type, "buffer": content}])


def busy(route):
    content = {"type": "urn:clothseg:problem:busy", "title": "The server is busy", "status": 503, "detail": "Wait"}
    headers = {"Retry-After": "1", "Content-Type": "application/problem+json"}
    route.fulfill(status=503, headers=headers, body=json.dumps(content))


@pytest.mark.parametrize(
    ("name", "content", "media_type", "words"),
    [
        ("letter.jpg", b"no photo at all", "image/jpeg", "The photo cannot be read"),
        ("empty.png", b"", "image/png", "The photo cannot be read"),
        ("paper.pdf", b"%PDF-1.7", "application/pdf", "This is not a photo"),
        ("wide.png", upload(height=1000, width=1001)["buffer"], "image/png", "The photo has too many pixels"),
    ],
)
def test_what_cannot_be_segmented(visit, name, content, media_type, words):
    visitor = visit(allow=REFUSED)
    send(visitor, name, content, media_type)
    visitor.wait_for("#message", words)
    visitor.wait_for("#status", words)
    assert visitor.tab.locator("#again").is_hidden()
    assert visitor.tab.locator("#results").is_hidden()
    visitor.choose(PHOTO)  # and the next one goes on
    assert visitor.tab.locator("#message").is_hidden()


def test_too_many_bytes(visit):
    visitor = visit(allow=REFUSED)
    send(visitor, "huge.jpg", b"\xff" * 1_100_000)
    playwright.expect(visitor.tab.locator("#message-title")).to_contain_text("bytes")


def test_a_busy_server_is_asked_again(visit):
    visitor = visit(allow=REFUSED)
    visitor.tab.route("**/v1/segment*", busy, times=1)
    visitor.tab.set_input_files("#chooser", [PHOTO])
    visitor.wait_for("#message", "The server is busy")
    visitor.wait_for("#message", "sent again in")
    photo, message = (visitor.see(one).bounding_box() for one in ("#stage", "#message"))
    assert photo["y"] + photo["height"] <= message["y"]  # the card does not hide the photo
    visitor.see("#garments li >> nth=0")
    assert visitor.tab.locator("#message").is_hidden()


def test_a_server_that_is_gone_and_comes_back(visit):
    visitor = visit(allow=REFUSED)
    visitor.tab.route("**/v1/segment*", lambda route: route.abort())
    visitor.tab.route("**/healthz", lambda route: route.abort())
    visitor.tab.set_input_files("#chooser", [PHOTO])
    visitor.wait_for("#message", "The server does not answer")
    visitor.tab.unroute_all()
    visitor.tab.get_by_role("button", name="Try again").click()
    visitor.see("#garments li >> nth=0")


def test_an_upload_that_is_broken_off(visit):
    visitor = visit(allow=REFUSED)
    visitor.tab.route("**/v1/segment*", lambda route: route.abort())
    visitor.tab.set_input_files("#chooser", [PHOTO])
    visitor.wait_for("#message", "ended the upload")


def test_a_photo_without_garments(visit):
    visitor = visit(opened=False)

    def nothing(route):
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"segments": []})

    visitor.tab.route("**/v1/segment*", nothing)
    visitor.open()
    visitor.tab.set_input_files("#chooser", [PHOTO])
    visitor.wait_for("#message", "No garments found")
    assert visitor.tab.locator("#results").is_hidden()


def test_what_is_dropped_or_pasted_but_no_file(visitor):
    visitor.tab.evaluate("""() => {
        const dataTransfer = new DataTransfer();
        dataTransfer.setData("text/plain", "words");
        document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true }));
    }""")
    visitor.wait_for("#notice", "That was no file")
    visitor.tab.keyboard.press("Control+V")
    visitor.tab.get_by_role("button", name="Drawn by clothseg").click()
    visitor.see("#garments li >> nth=0")
    assert visitor.tab.locator("#notice").is_hidden()


def test_a_key_is_asked_for(visit, model_path):
    with RunningServer("--model", model_path, "--api-key", KEY) as locked:
        visitor = visit(address=locked.address, allow=REFUSED)
        visitor.see("#key-form")
        visitor.tab.set_input_files("#chooser", [PHOTO])
        for key, words in (("a-wrong-key", "does not know this key"), (KEY, "")):
            visitor.tab.get_by_label("API key", exact=True).fill(key)
            visitor.tab.get_by_role("button", name="Use this key").click()
            if words:
                visitor.wait_for("#key-form", words)
        visitor.see("#garments li >> nth=0")
        assert visitor.tab.locator("#key-form").is_hidden()
        stored = "() => [localStorage.length, sessionStorage.length, document.cookie]"
        assert visitor.tab.evaluate(stored) == [0, 0, ""]
