"""What the server tells of itself: the model, a sample photo, its health, its metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from clothseg.serving import metrics as metrics_module
from clothseg.serving.errors import Problem
from clothseg.serving.messages import Message
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Pool
from clothseg.serving.routes import while_connected
from clothseg.serving.schemas import ModelCard, State, content, problems


class InformationRoutes:
    """Answers questions about the server.

    Args:
        pool: knows the model.
        metrics: what was counted.
    """

    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._sample: bytes | None = None

    def add_to(self, public: APIRouter, private: APIRouter) -> None:
        """Put the operations under their paths: those that anyone may ask, and those that need a key where keys are."""
        keyed = problems(401, 403)
        private.add_api_route(
            "/v1/model",
            self.model,
            response_model=ModelCard,
            responses={**keyed, **problems(503)},
            operation_id="model",
        )
        private.add_api_route(
            "/v1/sample",
            self.sample,
            response_class=Response,
            responses={**content("image/jpeg"), **keyed, **problems(503)},
            operation_id="sample",
        )
        private.add_api_route(
            "/metrics",
            self.metrics,
            response_class=Response,
            responses={**content("text/plain"), **keyed},
            operation_id="metrics",
        )
        public.add_api_route("/healthz", self.health, response_model=State, operation_id="health")
        public.add_api_route(
            "/readyz", self.readiness, response_model=State, responses=problems(503), operation_id="readiness"
        )

    async def model(self) -> JSONResponse:
        """Describe the model: classes, network, licence, training data, scores."""
        if self._pool.introduction is None:
            raise Problem("starting", "No worker has loaded the model yet. Ask again soon", retry_after=2)
        return JSONResponse(model_card(self._pool.introduction))

    async def sample(self, request: Request) -> Response:
        """Return a photo drawn by clothseg's own code, to try things with."""
        if self._sample is None:
            answer, _ = await while_connected(request, lambda: self._pool.work(Message({"sample": True})))
            self._sample = answer.body
        return Response(self._sample, media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})

    async def metrics(self) -> Response:
        """Return what was counted, for Prometheus."""
        return Response(self._metrics.text(), headers={"Content-Type": metrics_module.MEDIA_TYPE})

    async def health(self) -> JSONResponse:
        """Say that the server lives."""
        return JSONResponse({"status": "alive"})

    async def readiness(self) -> JSONResponse:
        """Say that a worker is ready, or answer 503."""
        if not self._pool.ready:
            raise Problem("starting", "No worker is ready. Ask again soon", retry_after=2)
        return JSONResponse({"status": "ready", "workers": len(self._pool.ready)})


def model_card(introduction: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the API tells of a model, from what a worker says of it."""
    same = (
        *("name", "sha256", "version", "runtime", "architecture", "encoder_name", "decoder_width", "image_size"),
        "licence",
    )
    return {
        **{key: introduction[key] for key in same},
        "training_data": introduction["training_data"],
        "scores": introduction["scores"],
        "classes": [
            {"id": number, "name": one["name"], "color": one["color"]}
            for number, one in enumerate(introduction["classes"])
        ],
        "known_classes": introduction["training_data"].get("known_classes"),
    }
