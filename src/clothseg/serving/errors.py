"""HTTP errors as RFC 9457 problem details: a kind for programs, a sentence for people, and a status code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus

MEDIA_TYPE = "application/problem+json"

KINDS: Mapping[str, tuple[HTTPStatus, str]] = {
    "unreadable-photo": (HTTPStatus.BAD_REQUEST, "The photo cannot be read"),
    "broken-request": (HTTPStatus.BAD_REQUEST, "The request cannot be read"),
    "key-missing": (HTTPStatus.UNAUTHORIZED, "An API key is needed"),
    "key-wrong": (HTTPStatus.FORBIDDEN, "The API key is not known"),
    "not-found": (HTTPStatus.NOT_FOUND, "There is nothing here"),
    "not-in-photo": (HTTPStatus.NOT_FOUND, "The photo does not show this class"),
    "wrong-method": (HTTPStatus.METHOD_NOT_ALLOWED, "This method does not work here"),
    "not-acceptable": (HTTPStatus.NOT_ACCEPTABLE, "No form of the answer is accepted"),
    "slow-upload": (HTTPStatus.REQUEST_TIMEOUT, "The upload was too slow"),
    "too-many-bytes": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The photo has too many bytes"),
    "too-many-pixels": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The photo has too many pixels"),
    "unsupported-type": (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "This is not how a photo is sent"),
    "wrong-parameter": (HTTPStatus.UNPROCESSABLE_ENTITY, "A parameter or field is wrong"),
    "busy": (HTTPStatus.SERVICE_UNAVAILABLE, "The server is busy"),
    "starting": (HTTPStatus.SERVICE_UNAVAILABLE, "The server is starting"),
    "fault": (HTTPStatus.INTERNAL_SERVER_ERROR, "The server has a fault"),
    "not-done": (HTTPStatus.SERVICE_UNAVAILABLE, "The photo could not be worked on"),
}
"""Kind → (status, title). Kinds and titles are part of the API: they never change."""


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A request that is answered with an error.

    Args:
        kind: a key of `KINDS`.
        detail: what happened, the value, and what to do.
        retry_after: seconds after which the client may try again.
        headers: more headers of the response.
    """

    def __init__(
        self, kind: str, detail: str, *, retry_after: float | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = {"Cache-Control": "no-store"} | dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    def to_dict(self) -> dict[str, str | int]:
        """Return the problem as the API's JSON has it."""
        status, title = KINDS[self.kind]
        return {
            "type": f"urn:clothseg:problem:{self.kind}",
            "title": title,
            "status": int(status),
            "detail": self.detail,
        }
