"""The static site: the network in Chromium, its masks against Python's, offline, and where it cannot run."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

import clothseg
from clothseg.errors import MachineError
from clothseg.labels import CATEGORIES
from clothseg.pictures import read_mask
from clothseg.prediction.probabilities import scores
from clothseg.prediction.runtimes import class_logits
from clothseg.rle import encode_regions
from clothseg.serving.app import PAGE_FOLDER
from clothseg.serving.site_command import Site
from clothseg.transforms import IMAGENET, Letterbox, logits_to_mask
from tests.conftest import ROOT
from tests.export.small_model import DESCRIPTION
from tests.serving.page.conftest import playwright
from tests.serving.test_site_command import serving

pytestmark = pytest.mark.browser

SIZES = (
    *((600, 404), (1000, 1280), (1281, 320), (1920, 96), (2560, 64), (302, 4032), (831, 1279), (641, 77)),
    *((700, 3), (640, 480), (639, 640), (427, 320), (40, 30), (17, 501), (3, 600), (2, 1), (1, 1)),
)
"""(height, width) of photos that are shrunk, by whole numbers or not, kept and enlarged to 640 pixels."""

COMPARE = """async ({ width, height, planes, fill }) => {
    const { classMask, letterbox, networkInput, planesOf, scoresOf } = await import("/page/transforms.js");
    const bytes = async (name) => (await fetch(name, { cache: "no-store" })).arrayBuffer();
    const hash = async (values) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", values))];
    const box = letterbox(width, height, 640);
    const photo = new ImageData(new Uint8ClampedArray(await bytes("/photo.bin")), width, height);
    const input = await hash(networkInput(photo, box, fill));
    const found = {};
    for (const [name, factor] of [["logits", 1], ["categories", 2]]) {
        const dims = [1, planes, box.inputHeight / factor, box.inputWidth / factor];
        const output = { data: new Float32Array(await bytes(`/${name}.bin`)), dims };
        const logits = planesOf(output, box, Array.from({ length: planes }, (_, id) => id));
        const mask = classMask(logits, width, height);
        const expected = new Uint8Array(await bytes(`/${name}-mask.bin`));
        const equal = mask.filter((id, at) => id === expected[at]).length / expected.length;
        found[name] = { equal, scores: [...scoresOf(logits, mask, width, height)] };
    }
    return { input, ...found };
}"""


def test_input_and_classes_are_those_of_python(chromium, tmp_path):
    description = replace(DESCRIPTION, classes=CATEGORIES, categories=CATEGORIES.names[:5])
    (tmp_path / "page").symlink_to(PAGE_FOLDER)
    random = np.random.default_rng(0)
    with serving(tmp_path) as (address, _):
        page = chromium.new_page()
        page.goto(f"{address}/page/icon.svg")
        for height, width in SIZES:
            box = Letterbox.fit(height, width, 640)
            photo = random.integers(0, 256, (height, width, 4), np.uint8)
            rows, columns = box.input_size
            logits = random.normal(size=(1, 5, rows, columns)).astype(np.float32)
            logits[:, 0] += 1
            half = random.normal(size=(1, 5, rows // 2, columns // 2)).astype(np.float32)
            outputs = {"logits": logits[0], "categories": class_logits(half, description, (rows, columns))[0, :5]}
            cropped = {name: np.ascontiguousarray(box.crop(planes)) for name, planes in outputs.items()}
            masks = {name: logits_to_mask(planes, (height, width)) for name, planes in cropped.items()}
            files = {"photo": photo, "logits": logits, "categories": half}
            for name, values in {**files, **{f"{name}-mask": mask for name, mask in masks.items()}}.items():
                (tmp_path / f"{name}.bin").write_bytes(values.tobytes())
            seen = page.evaluate(COMPARE, {"width": width, "height": height, "planes": 5, "fill": list(IMAGENET.fill)})
            size = height, width
            assert seen["input"] == digest(box.image(np.ascontiguousarray(photo[..., :3]))), size
            assert seen["logits"]["equal"] == 1, size
            assert seen["categories"]["equal"] > 0.9999, size  # OpenCV rounds what it doubles in another way
            for name, mask in masks.items():
                planes = cropped[name]
                regions = encode_regions(mask)
                expected = dict(zip([one.class_id for one in regions], scores(planes, mask, regions), strict=True))
                assert dict(map(tuple, seen[name]["scores"])) == pytest.approx(expected, abs=0.02), (name, size)


def digest(values):
    return list(hashlib.sha256(np.ascontiguousarray(values).tobytes()).digest())


def site_of(folder, model=None):
    """Write a site with onnxruntime-web from npm."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.with_name("cache")))
        try:
            Site(folder, model).run()
        except MachineError as error:
            pytest.skip(f"npm's registry cannot be reached: {error}")
    return folder


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site with the starter model."""
    return site_of(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def small_site(tmp_path_factory, model_path):
    """A site with a small model: with the starter model, a graphics card that is emulated takes minutes."""
    return site_of(tmp_path_factory.mktemp("small site"), model_path)


def test_masks_are_those_of_python_and_photos_stay_in_the_browser(visit, site):
    photos = [ROOT / "docs/pictures/before.jpg", PAGE_FOLDER / "gallery/garden.jpg"]
    predictor = clothseg.load("starter", precision="fp32")  # as the browser computes
    with serving(site) as (address, asked):
        visitor = visit(f"{address}/", allow="ERR_INTERNET_DISCONNECTED")
        visitor.wait_for("#loading", "The model is loaded. This page also works offline.")
        assert visitor.tab.evaluate("crossOriginIsolated")  # which threads need
        assert "Photos stay in this browser" in visitor.see("footer").inner_text()
        playwright.expect(visitor.tab.locator("#api-open")).to_be_hidden()
        for photo in photos:
            check(visitor, photo, predictor.predict(photo))
            visitor.wait_for("#file-facts", "on the processor")  # an emulated graphics card is slower
            visitor.open()
    methods = []
    visitor.tab.on("request", lambda request: methods.append(request.method))
    visitor.tab.context.set_offline(True)
    visitor.open()  # the server has ended, too
    check(visitor, photos[0], predictor.predict(photos[0]))
    assert set(methods) == {"GET"}
    ours = ("/page/", "/v1/", "/onnxruntime/", "/model.onnx?v=", "/service-worker.js")
    assert [path for path in asked if path != "/" and (not path.startswith(ours) or "jspi" in path)] == []


def check(visitor, photo, expected):
    """Choose a photo and compare mask and results."""
    visitor.choose(photo)
    _, mask = visitor.download("[data-download=mask]")
    assert np.mean(read_mask(mask) == expected.mask) >= 0.995
    results = json.loads(visitor.download("[data-download=json]")[1])
    wanted = expected.to_coco()
    for key in ("version", "file", "width", "height", "model"):
        assert results[key] == (wanted[key] if key != "file" else photo.name)
    assert results.get("notes") == wanted.get("notes")
    large = [one for one in wanted["segments"] if one["area"] > 1000]
    by_id = {one["class_id"]: one for one in results["segments"]}
    for one in large:
        assert by_id[one["class_id"]]["label"] == one["label"]
        assert by_id[one["class_id"]]["score"] == pytest.approx(one["score"], abs=0.02)


def test_the_graphics_card_gives_the_same_masks_and_may_be_lost(visit, small_site, model_path, chromium):
    photos = [ROOT / "docs/pictures/before.jpg", PAGE_FOLDER / "gallery/garden.jpg"]
    expected = clothseg.load(model_path).predict_many(photos)
    with serving(small_site) as (address, asked):
        visitor = visit(f"{address}/", opened=False, allow="Aborted()")
        visitor.tab.goto(f"{address}/?engine=webgpu")
        visitor.wait_for("#loading", "The model is loaded")  # until then the page loads itself again, for threads
        check(visitor, photos[0], next(expected))
        visitor.wait_for("#file-facts", "on the graphics card")
        files = [path for path in asked if path.startswith("/onnxruntime/")]
        assert [".jspi." in path for path in files] == [True, True]
        assert all(visitor.tab.evaluate("async (path) => Boolean(await caches.match(path))", path) for path in files)
        chromium.new_browser_cdp_session().send("Browser.crashGpuProcess")
        check(visitor, photos[1], next(expected))
        visitor.wait_for("#file-facts", "on the processor")


ERRING = """import * as right from "./right.mjs";
export * from "./right.mjs";
export const InferenceSession = {
    create: async (bytes, { executionProviders: [provider], ...options }) => {
        const session = await right.InferenceSession.create(bytes, { executionProviders: ["wasm"], ...options });
        const run = async (...input) => {
            const found = await session.run(...input);
            for (const { data } of Object.values(found)) data.forEach((value, at) => (data[at] = 1.02 * value));
            return found;
        };
        return provider === "webgpu" ? { run } : session;
    },
};"""


def test_a_graphics_card_that_errs_is_not_used(visit, small_site, model_path):
    photo = ROOT / "docs/pictures/before.jpg"
    script = small_site / "onnxruntime/ort.jspi.bundle.min.mjs"
    right = script.rename(script.with_name("right.mjs"))
    script.write_text(ERRING)
    with serving(small_site) as (address, _):
        visitor = visit(f"{address}/", opened=False)
        visitor.tab.goto(f"{address}/?engine=webgpu")
        visitor.wait_for("#loading", "The model is loaded")
        check(visitor, photo, clothseg.load(model_path).predict(photo))
        visitor.wait_for("#file-facts", "on the processor")
    right.rename(script)


HELD = """
const { register } = ServiceWorkerContainer.prototype;
const held = new Promise((resolve) => (window.release = resolve));
ServiceWorkerContainer.prototype.register = async function (...words) {
    await held;
    return register.apply(this, words);
};"""


@pytest.mark.parametrize("way", ["dialog", "drop"])
def test_a_photo_chosen_before_the_page_would_load_itself_again_is_kept(way, visit, small_site):
    photo = PAGE_FOLDER / "gallery/garden.jpg"
    with serving(small_site) as (address, _):
        visitor = visit(f"{address}/", opened=False)
        visitor.tab.add_init_script(HELD)
        visitor.open()
        if way == "dialog":
            with visitor.tab.expect_file_chooser() as dialog:
                visitor.see("#drop [data-choose]").click()
            visitor.tab.evaluate("release()")
            visitor.wait_for("#loading", "The model is loaded")
            dialog.value.set_files(photo)
        else:
            visitor.tab.set_input_files("#chooser", photo)  # to the page as a drop: without a click
            visitor.tab.evaluate("release()")
        visitor.see("#garments li >> nth=0")
        visitor.wait_for("#file-facts", "on the processor")
        assert not visitor.tab.evaluate("crossOriginIsolated")
        visitor.open().tab.evaluate("release()")
        visitor.wait_for("#loading", "The model is loaded")
        assert visitor.tab.evaluate("crossOriginIsolated")  # so the next time there are threads


def test_where_the_network_cannot_run_the_page_says_why(visit, site, chromium):
    with serving(site) as (address, _):
        old = visit(f"{address}/", opened=False)
        old.tab.add_init_script("delete WebAssembly.validate; WebAssembly.validate = () => false")
        old.open().wait_for("#notice", "It lacks WebAssembly with SIMD")
        hidden = (site / "model.onnx").rename(site / "hidden.onnx")
        incomplete = visit(f"{address}/", allow="404")
        incomplete.wait_for("#about-name", "clothseg-starter")  # the page has loaded itself again, for threads
        incomplete.tab.set_input_files("#chooser", [ROOT / "docs/pictures/before.jpg"])
        incomplete.wait_for("#message", "is missing from the site (404)")
        hidden.rename(site / "model.onnx")
        incomplete.tab.locator("#again").click()
        incomplete.see("#garments li >> nth=0")
    page = chromium.new_page()
    page.goto((site / "index.html").as_uri())
    playwright.expect(page.locator("#notice")).to_contain_text("python -m http.server")
    page.close()
