"""What every answer bears and every request is counted by: security headers and metrics, as one ASGI layer."""

from __future__ import annotations

import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clothseg.serving.metrics import Metrics

_CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

_PATHS = ("/", "/v1/segment", "/v1/model", "/v1/sample", "/healthz", "/readyz", "/metrics", "/openapi.json")
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
_GONE = 499  # nginx's code for a client that did not wait for its answer


class Envelope:
    """Wraps the application: times and counts each request, and puts the security headers on its answer.

    Args:
        app: what is wrapped.
        metrics: told of each request.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = _GONE
        is_head = scope["method"] == "HEAD"  # monitors ask so; the answer is that to GET without its body

        async def send_on(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        start = time.perf_counter()
        try:
            await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_on)
        finally:
            path = _label(scope["path"])
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(path, method, str(code)).inc()
            self._metrics.request_seconds.labels(path).observe(time.perf_counter() - start)


def _label(path: str) -> str:
    """Return one of few names for any path: a metric for every address that someone tries would fill the memory."""
    if path.startswith("/page/"):
        return "/page/"
    return path if path in _PATHS else "other"
