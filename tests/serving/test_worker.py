"""A worker without a server: messages in on standard input, answers out on standard output."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clothseg.encoding import encode_jpeg, encode_png
from clothseg.errors import MissingModelError, unpack_error
from clothseg.labels import GROUPS, ClassList
from clothseg.serving import messages
from clothseg.serving.messages import Message, SegmentRequest
from clothseg.serving.worker import NotShownError, render
from tests.conftest import HANG_SECONDS, unpacked


def run(model, questions):
    """Return the exit code and all messages of a worker that is sent these."""
    stream = io.BytesIO()
    for question in questions:
        messages.write(stream, question)
    command = [sys.executable, "-P", "-m", "clothseg.serving.worker", json.dumps({"model": str(model)})]
    ended = subprocess.run(command, input=stream.getvalue(), stdout=subprocess.PIPE, timeout=HANG_SECONDS)
    answers = io.BytesIO(ended.stdout)
    return ended.returncode, list(iter(lambda: messages.read(answers), None))


def question(photo, **options):
    return Message({"segment": vars(SegmentRequest(**{"max_pixels": 10_000} | options))}, photo)


def test_a_worker_answers_every_message_and_ends_with_its_input(model_path, offline, photo):
    expected = offline.predict(photo)
    shown = expected.labels[0].name
    missing = next(name for name in GROUPS.names[1:] if name not in {label.name for label in expected.labels})
    long = encode_png(np.zeros((1, 64_001, 3), np.uint8))
    code, (first, *answers) = run(
        model_path,
        [
            Message({"sample": True}),
            question(photo, file="a.jpg", include=("mask",)),
            question(photo, output="mask"),
            question(photo, output="overlay"),
            question(photo, output="cutout", label=shown, tight=True),
            question(photo, output="cutout", label=missing),
            question(photo, max_pixels=60 * 90 - 1),
            question(b"no photo"),
            question(long, output="overlay", max_pixels=100_000),
        ],
    )
    assert code == 0
    ready = first.header["ready"]
    assert (ready["sha256"], ready["name"], ready["image_size"]) == (offline.model["sha256"], "small.onnx", 64)
    assert [one.header for one in answers[::2]] == [{"started": True}] * 9
    sample, results, mask, overlay, cutout, *problems = answers[1::2]
    assert sample.header == {"media_type": "image/jpeg"}
    assert Image.open(io.BytesIO(sample.body)).format == "JPEG"
    values = json.loads(results.body)
    assert values.pop("mask").startswith("data:image/png;base64,")
    assert values == json.loads(json.dumps(expected.to_coco())) | {"file": "a.jpg"}
    for answer, media_type in ((results, "application/json"), (mask, "image/png"), (overlay, "image/jpeg")):
        assert answer.header["media_type"] == media_type
        assert answer.header["model"] == offline.model["sha256"]
        assert answer.header["seconds"].keys() == {"decode", "predict", "encode"}
    assert unpacked(mask.body) == unpacked(encode_png(expected.mask, palette=GROUPS.palette))
    assert overlay.body == encode_jpeg(expected.overlay(legend=True))
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(cutout.body))), expected.cutout(shown, tight=True))
    assert [(one.header["problem"], one.body) for one in problems] == [
        ("not-in-photo", b""),
        ("too-many-pixels", b""),
        ("unreadable-photo", b""),
        ("unreadable-photo", b""),
    ]
    assert missing in problems[0].header["detail"]
    assert "64,000 on a side" in problems[3].header["detail"]


def test_a_worker_without_a_model_says_why(tmp_path):
    code, (answer,) = run(tmp_path / "none.onnx", [])
    failed = unpack_error(answer.header["failed"])
    assert (code, type(failed)) == (4, MissingModelError)
    assert "none.onnx" in str(failed)


@given(
    header=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.booleans()),
    body=st.binary(),
    lost=st.integers(0, 5),
)
def test_messages_are_read_as_they_were_written(header, body, lost):
    stream = io.BytesIO()
    messages.write(stream, Message(header, body))
    whole = stream.getvalue()
    assert messages.read(io.BytesIO(whole)) == Message(header, body)
    if lost:
        assert messages.read(io.BytesIO(whole[:-lost])) is None


def test_a_photo_without_clothes_has_none_to_cut_out(offline, photo):
    empty = replace(offline.predict(photo), mask=np.zeros(offline.predict(photo).size, np.uint8))
    hair = replace(GROUPS.classes[1], name="Hair", supercategories=(), categories=())
    bare = replace(empty, mask=np.ones_like(empty.mask), classes=ClassList((GROUPS.classes[0], hair)))
    for segmentation, shown in ((empty, "nothing"), (bare, "Hair")):
        with pytest.raises(NotShownError, match=rf"No clothes to cut out\. The photo shows: {shown}"):
            list(render(segmentation, SegmentRequest(output="cutout", max_pixels=1)))
    assert list(render(empty, SegmentRequest(output="cutouts", max_pixels=1))) == []
