"""POST /v1/batch against the predictor that runs in this process."""

import asyncio
import io
import json
import zipfile

import numpy as np
import pytest

from clothseg.encoding import encode_jpeg
from clothseg.serving.batch import PROBLEMS_NAME, in_order
from clothseg.serving.errors import Problem
from clothseg.serving.uploads import MAX_BATCH
from tests.export.small_model import photo_of
from tests.serving.conftest import assert_problem
from tests.serving.test_routes import opened


@pytest.fixture
def photos():
    return {f"photo {size}.jpg": encode_jpeg(photo_of(60 + size, 50)) for size in range(4)}


def form_of(photos, field="photo"):
    return [(field, (name, content)) for name, content in photos.items()]


def test_results_of_several_photos_come_as_lines_in_order(client, offline, photos):
    sent = {**photos, "broken.jpg": b"no photo", "empty.jpg": b""}
    for field in ("photo", "file"):
        answer = client.post("/v1/batch", files=form_of(sent, field))
        assert answer.headers["content-type"] == "application/x-ndjson"
        *results, broken, empty = [json.loads(line) for line in answer.text.splitlines()]
        expected = [{**offline.predict(content).to_coco(), "file": name} for name, content in photos.items()]
        assert results == json.loads(json.dumps(expected))
        assert (broken["file"], empty["file"]) == ("broken.jpg", "empty.jpg")
        assert {one["problem"]["type"] for one in (broken, empty)} == {"urn:clothseg:problem:unreadable-photo"}
        assert "empty (0 bytes)" in empty["problem"]["detail"]
    outlines = client.post("/v1/batch?include=polygons", files=form_of(photos)).text.splitlines()
    assert all("polygons" in one for line in outlines for one in json.loads(line)["segments"])


def test_files_of_several_photos_come_as_one_zip(client, offline, photos):
    (name, content), *_ = photos.items()
    sent = [*form_of(photos), ("photo", (name, content)), ("photo", ("broken.jpg", b"no photo"))]
    stem = name.removesuffix(".jpg")
    cutouts = [f"{stem}{ending}" for ending, _ in offline.predict(content).cutout_files("frame")]
    for parameters, first in (
        ({"output": "mask"}, [f"{stem}_mask.png"]),
        ({"output": "overlay"}, [f"{stem}_overlay.jpg"]),
        ({"output": "cutout", "background": "white", "format": "jpeg"}, [f"{stem}_cutout-clothes.jpg"]),
        ({"output": "cutouts"}, cutouts),
    ):
        answer = client.post("/v1/batch", params=parameters, files=sent)
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            names = archive.namelist()
            assert names[: len(first)] == first
            assert [f"2/{one}" for one in first] == names[-len(first) - 1 : -1], "photos of one name stay apart"
            assert json.loads(archive.read(PROBLEMS_NAME))["file"] == "broken.jpg"
            if parameters["output"] == "mask":
                np.testing.assert_array_equal(np.array(opened(archive.read(first[0]))), offline.predict(content).mask)


def test_a_batch_has_limits_and_needs_a_photo(client, photos):
    (content, *_) = photos.values()
    many = [("photo", (f"{number}.jpg", content)) for number in range(MAX_BATCH + 1)]
    for files, words in ((many, f"Send 1 to {MAX_BATCH} photos"), ([("other", ("a", b"1"))], "0 fields")):
        assert words in assert_problem(client.post("/v1/batch", files=files), 422, "wrong-parameter")["detail"]
    two = client.post("/v1/segment", files=form_of(photos))
    assert "Send one photo" in assert_problem(two, 422, "wrong-parameter")["detail"]


def test_what_nobody_waits_for_is_cancelled():
    started, cancelled = [], []

    async def photo(number):
        started.append(number)
        if number == 0:
            raise Problem("unreadable-photo", "broken")
        try:
            await asyncio.sleep(0 if number == 1 else 60)
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return bytes([number])

    async def read_two():
        answers = in_order([(str(number), lambda number=number: photo(number)) for number in range(6)], at_once=3)
        first, second = await anext(answers), await anext(answers)
        await asyncio.sleep(0)
        await answers.aclose()
        return first, second

    (name, problem), second = asyncio.run(read_two())
    assert (name, problem.kind, second) == ("0", "unreadable-photo", ("1", b"\1"))
    assert started == [0, 1, 2, 3]
    assert cancelled == [2, 3]
