"""POST /v1/segment against the predictor that runs in this process."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from clothseg.encoding import encode_jpeg, encode_png
from clothseg.labels import GROUPS
from tests.export.small_model import photo_of
from tests.prediction.test_faults import BROKEN, GOOD

# pycocotools itself does not know NumPy 2's rules.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

JPEG = {"Content-Type": "image/jpeg"}


def opened(content):
    with Image.open(io.BytesIO(content)) as image:
        image.load()
    return image


def assert_problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:clothseg:problem:{kind}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    return problem


def test_json_is_what_a_file_of_results_holds(client, offline, photo):
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


@pytest.mark.parametrize("way", ["parameter", "accept"])
def test_the_mask_is_an_index_png(client, offline, photo, way):
    parameters = {"output": "mask"} if way == "parameter" else {}
    headers = JPEG | ({"Accept": "image/png"} if way == "accept" else {})
    answer = client.post("/v1/segment", params=parameters, content=photo, headers=headers)
    assert answer.headers["content-type"] == "image/png"
    image = opened(answer.content)
    assert image.mode == "P"
    assert image.getpalette()[:39] == GROUPS.palette.ravel().tolist()
    np.testing.assert_array_equal(np.array(image), offline.predict(photo).mask)


def test_the_overlay_is_a_jpeg_with_a_legend(client, offline, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Accept": "image/webp, image/jpeg;q=0.5"})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.content == encode_jpeg(offline.predict(photo).overlay(legend=True))


@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("by", ["name", "id"])
def test_a_cut_out_is_one_class_on_nothing(client, offline, photo, tight, by):
    expected = offline.predict(photo)
    label = expected.labels[0]
    wish = {"output": "cutout", "label": label.name if by == "name" else label.class_id, "tight": tight}
    answer = client.post("/v1/segment", params=wish, content=photo, headers=JPEG)
    assert answer.headers["content-type"] == "image/png"
    assert opened(answer.content).mode == "RGBA"
    np.testing.assert_array_equal(np.array(opened(answer.content)), expected.cutout(label.name, tight=tight))


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


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("shirt.jpg", "shirt.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photos\\a b.jpg", "a b.jpg"),
        ("кофта 👕.png", "кофта 👕.png"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_form_brings_the_name_of_the_file(client, photo, sent, shown):
    answer = client.post("/v1/segment", files={"photo": (sent, photo, "image/jpeg")})
    assert answer.status_code == 200
    assert answer.json()["file"] == shown


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_photo_is_refused(client, name):
    answer = client.post("/v1/segment", content=BROKEN[name][0], headers={"Content-Type": "application/octet-stream"})
    if "too large" in BROKEN[name][1]:
        assert_problem(answer, 413, "too-many-pixels")
    else:
        assert_problem(answer, 400, "unreadable-photo")


@pytest.mark.parametrize("name", list(GOOD)[::4])
def test_what_is_a_photo_gives_the_mask_that_it_gives_offline(client, offline, name):
    answer = client.post("/v1/segment?output=mask", files={"photo": ("photo", GOOD[name])})
    np.testing.assert_array_equal(np.array(opened(answer.content)), offline.predict(GOOD[name]).mask)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"output": "pdf"}, "output"),
        ({"output": "cutout"}, "label"),
        ({"output": "cutout", "label": "shirt"}, "shirt"),
        ({"output": "cutout", "label": "13"}, "13"),
        ({"output": "cutout", "label": "²"}, "²"),
        ({"tight": "perhaps"}, "tight"),
        ({"include": "photo"}, "include"),
        ({"include": "mask", "output": "overlay"}, "include"),
    ],
)
def test_a_wrong_parameter_is_named(client, photo, parameters, words):
    answer = client.post("/v1/segment", params=parameters, content=photo, headers=JPEG)
    assert words in assert_problem(answer, 422, "wrong-parameter")["detail"]


def test_an_answer_that_nobody_accepts_is_not_made(client, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Accept": "text/html"})
    assert_problem(answer, 406, "not-acceptable")


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_what_is_not_sent_as_a_photo_is_refused(client, photo, media_type):
    answer = client.post("/v1/segment", content=photo, headers={"Content-Type": media_type})
    assert media_type in assert_problem(answer, 415, "unsupported-type")["detail"]


def test_packed_bodies_are_refused(client, photo):
    answer = client.post("/v1/segment", content=photo, headers=JPEG | {"Content-Encoding": "gzip"})
    assert_problem(answer, 415, "unsupported-type")


def test_a_form_without_the_photo_or_with_two_is_refused(client, photo):
    answer = client.post("/v1/segment", files={"picture": ("a.jpg", photo)})
    assert "photo" in assert_problem(answer, 422, "wrong-parameter")["detail"]
    answer = client.post("/v1/segment", files=[("photo", ("a.jpg", photo)), ("photo", ("b.jpg", photo))])
    assert_problem(answer, 422, "wrong-parameter")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="photo"\r\n\r\nbreaks o'),
        ("multipart/form-data; boundary=x", b"--x\r\nA: " + b"a" * 9_000 + b"\r\n\r\n--x--\r\n"),
    ],
)
def test_a_broken_form_is_refused(client, content_type, body):
    answer = client.post("/v1/segment", content=body, headers={"Content-Type": content_type})
    assert_problem(answer, 400, "broken-request")


@pytest.mark.parametrize("known_length", [True, False])
@pytest.mark.parametrize("form", [True, False])
def test_too_many_bytes_are_refused(server, known_length, form):
    """From the head where it tells the length, else as soon as they have come."""
    content = b"\xff" * 1_100_000
    body, headers = content, JPEG
    if form:
        request = httpx.Request("POST", "http://any", files={"photo": ("a.jpg", content)})
        body, headers = request.read(), {"Content-Type": request.headers["content-type"]}
    pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    with server.client() as client:
        answer = client.post("/v1/segment", content=body if known_length else pieces, headers=headers)
    assert "1,000,000" in assert_problem(answer, 413, "too-many-bytes")["detail"]


def test_too_many_pixels_are_refused_from_the_header(client):
    content = encode_png(np.zeros((1001, 1000, 3), np.uint8))
    assert_problem(client.post("/v1/segment", content=content, headers=JPEG), 413, "too-many-pixels")


def test_sizes_mixed_at_random_give_the_masks_that_they_give_offline(client, offline):
    rng = np.random.default_rng(7)
    for height, width in rng.integers(1, 200, (24, 2)):
        content = encode_png(photo_of(height, width))
        answer = client.post("/v1/segment?output=mask", content=content, headers={"Content-Type": "image/png"})
        np.testing.assert_array_equal(np.array(opened(answer.content)), offline.predict(content).mask)
