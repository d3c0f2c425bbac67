"""What the server counts, in the text form that Prometheus reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST

# Upper bounds in seconds: from a small photo on a fast core to a large one that has waited.
_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """One registry of its own, so that two servers in a process do not count into each other."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        registry = self._registry
        self.requests = Counter(
            "clothseg_requests", "Requests answered.", ["path", "method", "code"], registry=registry
        )
        self.request_seconds = Histogram(
            "clothseg_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ["path"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.photos = Counter(
            "clothseg_photos", "Photos segmented, by form of the answer.", ["output"], registry=registry
        )
        self.stage_seconds = Histogram(
            "clothseg_stage_seconds",
            "Seconds a photo spent in the queue, in decoding, in the network and in encoding.",
            ["stage"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self.queue_depth = Gauge("clothseg_queue_depth", "Photos that wait for a worker.", registry=registry)
        self.in_flight = Gauge("clothseg_in_flight", "Photos that a worker has at present.", registry=registry)
        self.held_bytes = Gauge("clothseg_held_bytes", "Bytes of photos in the server's memory.", registry=registry)
        self.workers_ready = Gauge("clothseg_workers_ready", "Workers that have their model.", registry=registry)
        self.worker_restarts = Counter(
            "clothseg_worker_restarts", "Workers that ended, or were ended, and were replaced.", registry=registry
        )
        ProcessCollector(registry=registry)

    def text(self) -> bytes:
        """Return all of it as Prometheus text."""
        return generate_latest(self._registry)
