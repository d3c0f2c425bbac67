"""POST /v1/segment against the predictor that runs in this process."""

import base64
import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import InputError
from clothseg.labels import GROUPS
from clothseg.prediction.cutouts import CutoutStyle
from clothseg.serving.errors import Problem
from clothseg.serving.parameters import choose_class, choose_output
from tests.conftest import unpacked
from tests.export.small_model import photo_of
from tests.prediction.test_faults import BROKEN, GOOD
from tests.serving.conftest import assert_problem
from tests.serving.running_server import JPEG

# pycocotools itself does not know NumPy 2's rules.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    return image


def test_json_equals_the_results_file(client, offline, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-clothseg-model"] == offline.model["sha256"][:12]
    assert [part.split(";")[0] for part in answer.headers["server-timing"].split(", ")] == [
        "queue",
        "decode",
        "predict",
        "encode",
    ]
    expected = offline.predict(photo)
    assert answer.json() == json.loads(json.dumps(expected.to_coco()))
    mask = np.zeros((90, 60), np.uint8)
    for segment in answer.json()["segments"]:
        mask[coco.decode(segment["rle"]) == 1] = segment["class_id"]
    np.testing.assert_array_equal(mask, expected.mask)


def test_the_mask_is_an_index_png(client, offline, photo):
    for options in ({"params": {"output": "mask"}, "headers": JPEG}, {"headers": JPEG | {"Accept": "image/png"}}):
        answer = client.post("/v1/segment", content=photo, **options)
        assert answer.headers["content-type"] == "image/png"
        image = opened(answer.content)
        assert image.mode == "P"
        assert image.getpalette()[:39] == GROUPS.palette.ravel().tolist()
        np.testing.assert_array_equal(np.array(image), offline.predict(photo).mask)


def test_the_overlay_is_a_jpeg_with_a_legend(client, offline, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Accept": "image/webp, image/jpeg;q=0.5"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == encode_jpeg(offline.predict(photo).overlay(legend=True))


def test_a_cut_out_is_one_class_on_transparent_ground(client, offline, photo):
    expected = offline.predict(photo)
    label = expected.labels[0]
    display_name = label.display_name
    for name in (label.name, label.class_id, display_name.upper(), display_name.split()[0]):
        for tight in (False, True):
            parameters = {"output": "cutout", "label": name, "tight": tight}
            answer = client.post("/v1/segment", params=parameters, content=photo, headers=JPEG)
            assert answer.headers["content-type"] == "image/png"
            image = opened(answer.content)
            assert image.mode == "RGBA"
            assert answer.headers["x-clothseg-class"] == label.name
            np.testing.assert_array_equal(np.array(image), expected.cutout(label.name, tight=tight))


def test_cut_outs_of_all_clothes_in_other_forms(client, offline, photo):
    expected = offline.predict(photo)
    style = {"background": "navy", "canvas": "120x200", "margin": "10%"}
    for label in ({}, {"label": "clothes"}):
        for kind in ("png", "webp", "jpeg"):
            parameters = {"output": "cutout", "format": kind, **style, **label}
            answer = client.post("/v1/segment", params=parameters, content=photo, headers=JPEG)
            assert answer.headers["content-type"] == f"image/{kind}"
            assert "x-clothseg-class" not in answer.headers
            wanted = CutoutStyle(**style, cutout_format=kind).encode(expected.cutout(**style))
            assert unpacked(answer.content) == unpacked(wanted)
    hard = client.post("/v1/segment?output=cutout&edges=hard", content=photo, headers=JPEG)
    np.testing.assert_array_equal(np.array(opened(hard.content))[..., 3] > 0, expected.mask > 0)


def test_all_cut_outs_come_as_one_zip(client, offline, photo):
    expected = offline.predict(photo)
    answer = client.post("/v1/segment?output=cutouts&tight=true", files={"photo": ("my.photo.jpg", photo)})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        files = {f"my.photo{ending}": content for ending, content in expected.cutout_files("tight")}
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert len(files) == len(expected.labels)


def test_try_on_gives_mask_and_garment(client, offline, photo):
    expected = offline.predict(photo)
    for region in ("upper", "full"):
        answer = client.post(f"/v1/segment?output=try-on&region={region}", content=photo, headers=JPEG)
        try:
            files = {f"photo{ending}": content for ending, content in expected.try_on_files(region)}
        except InputError:
            assert region in assert_problem(answer, 404, "not-in-photo")["detail"]
            continue
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert {name: archive.read(name) for name in archive.namelist()} == files


def test_json_may_include_the_outlines(client, offline, photo):
    answer = client.post("/v1/segment?include=polygons&include=mask", content=photo, headers=JPEG).json()
    expected = offline.predict(photo)
    for segment in answer["segments"]:
        assert segment["polygons"] == [one.ravel().tolist() for one in expected.polygons(segment["label"])]
    assert answer["mask"]


def test_a_class_that_is_not_in_the_photo_is_not_found(client, offline, photo):
    shown = {label.name for label in offline.predict(photo).labels}
    missing = next(name for name in GROUPS.names[1:] if name not in shown)
    answer = client.post("/v1/segment", params={"output": "cutout", "label": missing}, content=photo, headers=JPEG)
    assert missing in assert_problem(answer, 404, "not-in-photo")["detail"]


def test_json_may_include_the_mask(client, offline, photo):
    answer = client.post("/v1/segment", params={"include": "mask"}, content=photo, headers=JPEG).json()
    start, _, data = answer["mask"].partition(",")
    assert start == "data:image/png;base64"
    np.testing.assert_array_equal(np.array(opened(base64.b64decode(data))), offline.predict(photo).mask)


def test_a_form_brings_the_name_of_the_file(client, photo):
    for sent, shown in (
        ("shirt.jpg", "shirt.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a b.jpg", "a b.jpg"),
        ("кофта 👕.png", "кофта 👕.png"),
        ("x" * 300, "x" * 255),
    ):
        answer = client.post("/v1/segment", files={"photo": (sent, photo, "image/jpeg")})
        assert answer.status_code == 200
        assert answer.json()["file"] == shown


def test_broken_photos_are_refused(client):
    wrong = {}
    for name, (content, message) in BROKEN.items():
        expected = (413, "too-many-pixels") if "too large" in message else (400, "unreadable-photo")
        answer = client.post("/v1/segment", content=content, headers={"Content-Type": "application/octet-stream"})
        try:
            assert_problem(answer, *expected)
        except AssertionError as error:
            wrong[name] = str(error)
    assert not wrong, wrong


def test_every_photo_gets_the_mask_that_it_gets_offline(client, offline):
    """All formats and orientations, and many sizes one after the other."""
    photos = GOOD | {
        f"{height} x {width}": encode_png(photo_of(height, width))
        for height, width in np.random.default_rng(7).integers(1, 200, (12, 2))
    }
    wrong = []
    for name, content in photos.items():
        answer = client.post("/v1/segment?output=mask", files={"photo": ("photo", content)})
        if answer.status_code != 200 or not np.array_equal(opened(answer.content), offline.predict(content).mask):
            wrong.append((name, answer.status_code))
    assert not wrong, wrong


def test_defaults_go_with_every_output(client, photo):
    defaults = {"edges": "soft", "background": "transparent", "margin": "5%", "format": "png", "region": "upper"}
    for output in ("json", "mask", "cutout", "try-on"):
        plain, given = (
            client.post("/v1/segment", params={"output": output, **more}, content=photo, headers=JPEG)
            for more in ({}, defaults)
        )
        assert (given.status_code, unpacked(given.content)) == (200, unpacked(plain.content))


def test_a_wrong_parameter_is_named(client, photo):
    for parameters, words in (
        ({"output": "pdf"}, "output"),
        ({"output": "cutout", "edges": "round"}, "edges"),
        ({"output": "cutout", "canvas": "20"}, "canvas is '20'. Write width and height in pixels"),
        ({"output": "cutout", "margin": "50%"}, "margin is '50%'. Allowed: 0% to below 50%"),
        ({"output": "cutout", "margin": "10"}, "Set canvas"),
        ({"output": "cutout", "canvas": "20000x2", "format": "webp"}, "16,383"),
        ({"output": "cutouts", "label": "dress"}, "label goes with output=cutout"),
        ({"output": "cutout", "background": "wight"}, "transparent, blur, #rrggbb"),
        ({"output": "cutout", "canvas": "9000x9000"}, "1,000,000 pixels"),
        ({"output": "cutout", "background": "/etc/passwd"}, "background is '/etc/passwd'"),
        ({"output": "cutout", "label": "dres"}, "dress"),
        ({"output": "cutout", "label": "13"}, "13"),
        ({"output": "cutout", "label": "²"}, "²"),
        ({"tight": "perhaps"}, "tight"),
        ({"include": "photo"}, "include is 'photo': input should be 'mask' or 'polygons'"),
        ({"include": "mask", "output": "overlay"}, "include goes with output=json only"),
        ({"label": "dress"}, "label goes with output=cutout only, not with output=json"),
        ({"canvas": "20x20", "output": "mask"}, "canvas goes with output=cutout and output=cutouts only"),
        ({"region": "full", "output": "cutout"}, "region goes with output=try-on"),
        ({"fomat": "jpeg", "output": "cutout"}, "no parameter is called 'fomat'; nearest: format"),
    ):
        answer = client.post("/v1/segment", params=parameters, content=photo, headers=JPEG)
        assert words in assert_problem(answer, 422, "wrong-parameter")["detail"]


def test_an_answer_that_nobody_accepts_is_not_made(client, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Accept": "text/html"})
    assert_problem(answer, 406, "not-acceptable")


def test_other_content_types_and_encodings_are_refused(client, photo):
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "application/json"):
        answer = client.post("/v1/segment", content=photo, headers={"Content-Type": media_type})
        assert media_type in assert_problem(answer, 415, "unsupported-type")["detail"]
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Content-Encoding": "gzip"})
    assert_problem(answer, 415, "unsupported-type")


def test_a_form_without_the_photo_or_with_two_is_refused(client, photo):
    answer = client.post("/v1/segment", files={"picture": ("a.jpg", photo)})
    assert "photo" in assert_problem(answer, 422, "wrong-parameter")["detail"]
    answer = client.post("/v1/segment", files={"photo": ("a.jpg", photo)}, data={"output": "mask"})
    assert "into the address: ?output=" in assert_problem(answer, 422, "wrong-parameter")["detail"]
    answer = client.post("/v1/segment", files=[("photo", ("a.jpg", photo)), ("photo", ("b.jpg", photo))])
    assert_problem(answer, 422, "wrong-parameter")


def test_a_broken_form_is_refused(client):
    form = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\n'
    for content_type, body, status, kind in (
        ("multipart/form-data", b"--x\r\n", 400, "broken-request"),
        (form, b"no boundary at all", 400, "broken-request"),
        (form, part + b"breaks o", 400, "broken-request"),
        (form, b"--x\r\nA: " + b"a" * 9_000 + b"\r\n\r\n--x--\r\n", 400, "broken-request"),
        (form, 17 * (part + b"\r\n") + b"--x--\r\n", 422, "wrong-parameter"),
    ):
        assert_problem(client.post("/v1/segment", content=body, headers={"Content-Type": content_type}), status, kind)


def test_too_many_bytes_are_refused(server):
    """From the head where it tells the length, else as soon as they have come."""
    content = b"\xff" * 1_100_000
    request = httpx.Request("POST", "http://any", files={"photo": ("a.jpg", content)})
    form = request.read(), {"Content-Type": request.headers["content-type"]}
    for body, headers in ((content, JPEG), form):
        pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
        for sent in (body, pieces):
            with server.client() as client:
                answer = client.post("/v1/segment", content=sent, headers=headers)
            assert "1,000,000" in assert_problem(answer, 413, "too-many-bytes")["detail"]


def test_too_many_pixels_are_refused_from_the_header(client):
    content = encode_png(np.zeros((1001, 1000, 3), np.uint8))
    assert_problem(client.post("/v1/segment", content=content, headers=JPEG), 413, "too-many-pixels")


OUTPUTS = {
    "": "json",
    "*/*": "json",
    "application/json": "json",
    "text/html, application/xhtml+xml, */*;q=0.8": "json",
    "image/*": "mask",
    "image/jpeg, image/*;q=0.5": "overlay",
    "IMAGE/PNG": "mask",
    "image/png;q=0.2, application/json;q=0.1": "mask",
    "image/png;q=0, */*;q=0.1": "json",
    "application/json;q=0, */*": "mask",
    " , image/jpeg ,": "overlay",
}


def test_the_most_wanted_form_is_chosen():
    assert {accept: choose_output(None, accept) for accept in OUTPUTS} == OUTPUTS


def test_a_header_that_allows_no_form_is_refused():
    for accept in ("text/html", "image/webp", "application/json;q=0", "*/*;q=nan", "*/*;q=x", ";"):
        with pytest.raises(Problem, match="Allowed"):
            choose_output(None, accept)


def test_a_class_is_chosen_by_name_or_id():
    assert choose_class("boots", GROUPS) == choose_class("4", GROUPS) == "legs and feet"
    with pytest.raises(Problem, match="upperbody"):
        choose_class("uperbody", GROUPS)
