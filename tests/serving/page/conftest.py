import io
import shutil

import numpy as np
import pytest
from PIL import Image

from clothseg.encoding import encode_png
from tests.conftest import HANG_SECONDS, needs
from tests.export.small_model import photo_of

try:
    import playwright.sync_api as playwright
except ImportError:
    playwright = None

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Visitor:
    """Someone with a browser who has opened the page.

    Args:
        tab: Playwright's page.
        address: of the server.
    """

    def __init__(self, tab, address):
        self.tab = tab
        self.address = address
        self.complaints = []
        self.asked = []
        tab.set_default_timeout(1000 * HANG_SECONDS)
        tab.on("console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("request", lambda request: self.asked.append(request.url))

    def open(self):
        self.tab.goto(self.address)
        return self

    def see(self, selector):
        """Wait until something is visible, and return it."""
        found = self.tab.locator(selector)
        playwright.expect(found).to_be_visible()
        return found

    def wait_for(self, selector, words):
        playwright.expect(self.tab.locator(selector)).to_contain_text(words)

    def choose(self, *files):
        """Choose photos as the dialog does, and wait until the first is segmented."""
        self.tab.set_input_files("#chooser", files)
        self.see("#garments li >> nth=0")

    def ink(self, place):
        """RGBA, 0 to 255, of the colours over the photo; `place` is (x, y) as parts of its size."""
        script = """([x, y]) => {
            const canvas = document.getElementById("colours");
            const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
            pen.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
            return [...pen.getImageData(0, 0, 1, 1).data];
        }"""
        return self.tab.evaluate(script, place)

    def point(self, place):
        """Move the mouse over the photo."""
        box = self.see("#stage").bounding_box()
        self.tab.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])

    def stage_picture(self):
        """(H, W, 3) uint8 of the stage as it is on the screen, above the handle of the wipe."""
        picture = np.array(Image.open(io.BytesIO(self.see("#stage").screenshot())).convert("RGB"))
        return picture[: len(picture) // 3]

    def download(self, button):
        """Click a button; return the name and content of the file that comes."""
        with self.tab.expect_download() as coming:
            self.tab.locator(button).click()
        return coming.value.suggested_filename, coming.value.path().read_bytes()


@pytest.fixture(scope="module")
def chromium():
    needs("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    playwright.expect.set_options(timeout=1000 * HANG_SECONDS)
    with playwright.sync_playwright() as driver:
        # As root there is no sandbox; the only page that is opened is our own. The graphics card is emulated.
        flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, server):
    """Open the page; afterwards the console must have no message, and nothing was fetched from elsewhere."""
    visitors = []

    def open_page(address=server.address, allow="", opened=True, **options):
        context = chromium.new_context(
            **{"viewport": {"width": 1200, "height": 820}, "reduced_motion": "reduce"} | options
        )
        visitor = Visitor(context.new_page(), address)
        visitors.append((visitor, context, allow))
        return visitor.open() if opened else visitor

    yield open_page
    for visitor, context, allow in visitors:
        context.close()
        assert [one for one in visitor.complaints if not (allow and allow in one)] == []
        assert {one for one in visitor.asked if not one.startswith((visitor.address, "blob:", "data:"))} == set()


@pytest.fixture
def visitor(visit):
    return visit()


def upload(name="coat.png", height=90, width=60):
    """A photo as Playwright gives it to a file chooser; PNG, so that both sides see the same pixels."""
    return {"name": name, "mimeType": "image/png", "buffer": encode_png(photo_of(height, width))}


def middle_of(mask, class_id):
    """A place inside a class that is away from its outline and from the handle: (x, y) as parts of the size."""
    inside = np.pad(mask == class_id, 3)
    depth = sum(np.roll(inside, (down, across), (0, 1)) for down in (-3, 0, 3) for across in (-3, 0, 3))[3:-3, 3:-3]
    depth[:, : mask.shape[1] // 5] = 0
    y, x = np.unravel_index(np.argmax(depth * (mask == class_id)), mask.shape)
    return [(x + 0.5) / mask.shape[1], (y + 0.5) / mask.shape[0]]
