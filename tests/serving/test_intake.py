"""Bodies taken apart: however they are cut into pieces, what comes out is what went in."""

import contextlib
import doctest
import io

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clothseg.serving import choices, intake, keys, messages
from clothseg.serving.intake import Lease, Memory, safe_name
from clothseg.serving.limits import Limits
from clothseg.serving.messages import Message
from clothseg.serving.metrics import Metrics
from clothseg.serving.multipart import FormReader, boundary_of
from clothseg.serving.problem import Problem

NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\/%'), min_size=1, max_size=20)


@pytest.mark.parametrize("module", [choices, intake, keys], ids=lambda module: module.__name__)
def test_examples_are_true(module):
    assert doctest.testmod(module) == (0, 1)


def feed(form, body, pieces):
    for start in range(0, len(body), pieces):
        form.feed(body[start : start + pieces])
    form.finish()


@given(
    photo=st.binary(max_size=300) | st.sampled_from([b"\r\n--", b"\r\n--boundary", b"\r\n--boundary--\r\n"[:-3], b""]),
    file=NAMES,
    pieces=st.integers(1, 40),
    others=st.dictionaries(st.sampled_from(["a", "b", "photos"]), st.binary(max_size=30)),
)
def test_a_form_gives_back_its_photo(photo, file, pieces, others):
    request = httpx.Request(
        "POST",
        "http://any",
        data={name: value.hex() for name, value in others.items()},
        files={"photo": (file, photo)},
        headers={"Content-Type": "multipart/form-data; boundary=a-boundary-that-does-not-occur"},
    )
    form = FormReader(boundary_of(request.headers["content-type"]), "photo")
    feed(form, request.read(), pieces)
    assert (bytes(form.content), form.file) == (photo, file)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_what_is_no_form_is_a_problem(body, pieces):
    with pytest.raises(Problem):
        feed(FormReader(b"boundary", "photo"), body, pieces)


def test_uploads_and_bytes_are_bounded_and_given_back():
    memory = Memory(Limits(queue=1, max_bytes=100), Metrics())
    with contextlib.ExitStack() as held:
        leases = [held.enter_context(Lease(memory)) for _ in range(4)]
        with pytest.raises(Problem, match="on their way") as caught, Lease(memory):
            pass
        assert caught.value.headers["Retry-After"]
        leases[0].take(150)
        with pytest.raises(Problem, match="large photos"):
            leases[1].take(51)
        leases[1].take(50)
    with Lease(memory) as lease:
        lease.take(200)


@given(st.text())
def test_a_safe_name_names_no_other_place(name):
    safe = safe_name(name)
    assert not set(safe) & set("/\\\0\n\r")
    assert safe not in (".", "..")
    assert len(safe) <= 255
    assert safe_name(safe) == safe


@given(
    header=st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.booleans()),
    body=st.binary(),
    lost=st.integers(0, 5),
)
def test_messages_come_out_as_they_went_in(header, body, lost):
    stream = io.BytesIO()
    messages.write(stream, Message(header, body))
    whole = stream.getvalue()
    assert messages.read(io.BytesIO(whole)) == Message(header, body)
    if lost:
        assert messages.read(io.BytesIO(whole[:-lost])) is None
