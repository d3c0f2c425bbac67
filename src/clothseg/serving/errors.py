"""Errors as RFC 9457 problems: what went wrong, in JSON, with the status that says whose turn it is."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"

# Kind → (status, title). A kind is for programs, a title for people, and neither ever changes.
_KINDS: Mapping[str, tuple[HTTPStatus, str]] = {
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


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An answer that is not what was asked for.

    Args:
        kind: one of the kinds above.
        detail: what happened, the value, and what to do.
        retry_after: seconds after which it is worth asking again.
        headers: more headers of the answer.
    """

    def __init__(
        self, kind: str, detail: str, *, retry_after: float | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    @property
    def status(self) -> int:
        """The HTTP status of this kind."""
        return int(_KINDS[self.kind][0])

    def response(self) -> Response:
        """Return the problem as an answer."""
        content = {
            "type": f"urn:clothseg:problem:{self.kind}",
            "title": _KINDS[self.kind][1],
            "status": self.status,
            "detail": self.detail,
        }
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(json.dumps(content), self.status, headers=headers, media_type=MEDIA_TYPE)
