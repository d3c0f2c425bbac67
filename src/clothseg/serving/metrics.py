"""What the server counts for Prometheus, and the middleware that measures requests and sets headers."""

from __future__ import annotations

import time
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Upper bounds in seconds: from a small photo on a fast core to a large one that has waited.
_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_HEADERS = {
    "Cache-Control": "no-cache",  # a browser asks again each time, and mixes no old and new modules after an upgrade
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_PATHS = (
    "/",
    "/docs",
    "/v1/segment",
    "/v1/batch",
    "/v1/model",
    "/v1/sample",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
_CLIENT_CLOSED_REQUEST = 499  # nginx's code for a client that disconnected before its response


class Metrics:
    """The metrics of one server, in their own registry, so that two servers in one process are counted separately."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        histogram = partial(Histogram, buckets=_BUCKETS, registry=registry)
        self.requests = counter("clothseg_requests", "Requests answered.", ["path", "method", "code"])
        request_words = "Seconds from the head of a request to the end of its answer."
        self.request_seconds = histogram("clothseg_request_seconds", request_words, ["path"])
        self.photos = counter("clothseg_photos", "Photos segmented, by form of the answer.", ["output"])
        stage_words = "Seconds a photo spent in the queue, in decoding, in the network and in encoding."
        self.stage_seconds = histogram("clothseg_stage_seconds", stage_words, ["stage"])
        self.queue_depth = gauge("clothseg_queue_depth", "Photos that wait for a worker.")
        self.in_flight = gauge("clothseg_in_flight", "Photos that a worker has at present.")
        self.held_bytes = gauge("clothseg_held_bytes", "Bytes of photos in the server's memory.")
        self.workers_ready = gauge("clothseg_workers_ready", "Workers that have their model.")
        restart_words = "Workers that ended, or were ended, and were replaced."
        self.worker_restarts = counter("clothseg_worker_restarts", restart_words)
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """Return all metrics as Prometheus text."""
        return generate_latest(self._registry)


class RequestMiddleware:
    """Times and counts each request, answers HEAD as GET without a body, and adds headers that an answer lacks."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code = _CLIENT_CLOSED_REQUEST
        is_head = scope["method"] == "HEAD"

        async def send_with_headers(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        start = time.perf_counter()
        try:
            await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_with_headers)
        finally:
            path = _path_label(scope["path"])
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(path, method, str(code)).inc()
            self._metrics.request_seconds.labels(path).observe(time.perf_counter() - start)


def _path_label(path: str) -> str:
    """Return one of a few labels: a time series for each address that someone tries would fill the memory."""
    if path.startswith("/page/"):
        return "/page/"
    return path if path in _PATHS else "other"
