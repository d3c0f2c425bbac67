"""Request bodies: whatever pieces they arrive in, the photo comes out as it went in, within the limits."""

import asyncio
import contextlib
import doctest

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from clothseg.serving import limits, parameters, uploads
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.uploads import FormReader, UploadBudget, read_photos, safe_name

NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters='"\\/%'), min_size=1, max_size=20)


def test_docstring_examples():
    assert [doctest.testmod(module) for module in (parameters, uploads, limits)] == [(0, 1)] * 3


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
def test_a_form_returns_its_photo(photo, file, pieces, others):
    request = httpx.Request(
        "POST",
        "http://any",
        data={name: value.hex() for name, value in others.items()},
        files={"photo": (file, photo)},
        headers={"Content-Type": "multipart/form-data; boundary=a-boundary-that-does-not-occur"},
    )
    form = FormReader(request.headers["content-type"])
    feed(form, request.read(), pieces)
    assert [(bytes(one.content), one.file) for one in form.photos] == [(photo, safe_name(file))]


@given(st.binary(max_size=400), st.integers(1, 50))
def test_other_bytes_are_no_form(body, pieces):
    with pytest.raises(Problem):
        feed(FormReader("multipart/form-data; boundary=boundary"), body, pieces)


def test_uploads_and_bytes_are_limited_and_released():
    budget = UploadBudget(Limits(queue=1, max_bytes=100), Metrics())
    with contextlib.ExitStack() as held:
        reserve, other, *_ = [held.enter_context(budget.upload()) for _ in range(4)]
        with pytest.raises(Problem, match="being uploaded") as caught, budget.upload():
            pass
        assert caught.value.headers["Retry-After"]
        reserve(150)
        with pytest.raises(Problem, match="large photos"):
            other(51)
        other(50)
    with budget.upload() as reserve:
        reserve(200)


def read(chunks, content_type="", *, length=None, end="complete", **limits):
    """Read a photo from a body that arrives in these chunks.

    Args:
        length: what the head says of it.
        end: what follows: "complete", "disconnect", or "silence".
    """
    allowed = Limits(**limits)
    headers = {"content-type": content_type, "content-length": "" if length is None else str(length)}
    scope = {"type": "http", "headers": [(key.encode(), value.encode()) for key, value in headers.items() if value]}
    left = list(chunks)

    async def receive():
        if left:
            return {"type": "http.request", "body": left.pop(0), "more_body": True}
        if end == "silence":
            await asyncio.Event().wait()
        return {"type": "http.disconnect" if end == "disconnect" else "http.request"}

    async def in_loop():
        with UploadBudget(allowed, Metrics()).upload() as reserve:
            (photo,) = await read_photos(Request(scope, receive), allowed, reserve)
            return photo

    return asyncio.run(in_loop())


def form_of(photo):
    """Return the content type and the body of a form."""
    request = httpx.Request("POST", "http://any", files={"photo": ("a.jpg", photo)})
    return request.headers["content-type"], request.read()


def test_a_photo_may_have_the_largest_size_and_no_byte_more():
    photo = bytes(100)
    for content_type in ("", "image/jpeg", "Image/X-Any; a=b", "application/octet-stream"):
        upload = read([photo[:40], photo[40:]], content_type, length=100, max_bytes=100)
        assert (upload.content, upload.file) == (photo, "")
    content_type, body = form_of(photo)
    upload = read([body], content_type, length=len(body), max_bytes=100)
    assert (upload.content, upload.file) == (photo, "a.jpg")
    content_type, body = form_of(photo + b"1")
    for chunks, kind, length, end in (
        ([photo, b"1"], "image/png", None, "complete"),
        ([body], content_type, len(body), "complete"),
        ([], "image/png", 101, "silence"),  # refused from the head: reading would wait
        ([], content_type, 70_000, "silence"),
    ):
        with pytest.raises(Problem, match="At most 100 bytes") as caught:
            read(chunks, kind, length=length, end=end, max_bytes=100)
        assert caught.value.kind == "too-many-bytes"


def test_an_upload_that_does_not_end_is_given_up():
    with pytest.raises(Problem, match="1 bytes came in 0 s") as caught:
        read([b"1"], "image/png", end="silence", upload_grace=0.05)
    assert (caught.value.kind, caught.value.headers["Connection"]) == ("slow-upload", "close")
    with pytest.raises(ClientDisconnect):
        read([b"1"], "image/png", end="disconnect")


@given(st.text())
def test_a_safe_name_leaves_no_folder(name):
    safe = safe_name(name)
    assert not set(safe) & set("/\\\0\n\r")
    assert safe not in (".", "..")
    assert len(safe) <= 255
    assert safe_name(safe) == safe
