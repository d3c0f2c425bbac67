"""The HTTP operations: segment a photo; describe the model; give a sample photo, the health and the metrics."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from clothseg.labels import ClassList
from clothseg.serving.batch import Files, HoldingResponse, files_of, in_order, ndjson, zip_of, zipped
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import Message, SegmentRequest, model_card
from clothseg.serving.metrics import Metrics
from clothseg.serving.parameters import Options, choose_output
from clothseg.serving.pool import Pool
from clothseg.serving.schemas import (
    BATCH_BODY,
    BATCH_RESPONSE,
    PHOTO_BODY,
    SEGMENT_RESPONSE,
    ModelCard,
    State,
    content,
    problems,
)
from clothseg.serving.uploads import MAX_BATCH, Upload, UploadBudget, read_photos

T = TypeVar("T")


class Routes:
    """Answers the requests of the API."""

    def __init__(self, pool: Pool, limits: Limits, metrics: Metrics) -> None:
        self._pool = pool
        self._limits = limits
        self._metrics = metrics
        self._budget = UploadBudget(limits, metrics)
        self._sample: bytes | None = None

    def add_to(self, public: APIRouter, private: APIRouter) -> None:
        """Add the operations: `public` needs no API key, `private` needs one if the server has keys."""
        photos = partial(private.add_api_route, methods=["POST"], response_class=Response)
        photos(
            "/v1/segment",
            self.segment,
            summary="Segment a photo",
            responses={200: SEGMENT_RESPONSE, **problems(400, 404, 406, 408, 413, 415, 422, 503)},
            openapi_extra=PHOTO_BODY,
        )
        photos(
            "/v1/batch",
            self.batch,
            summary="Segment several photos",
            responses={200: BATCH_RESPONSE, **problems(400, 406, 408, 413, 415, 422, 503)},
            openapi_extra=BATCH_BODY,
        )
        private.add_api_route("/v1/model", self.model, response_model=ModelCard, responses=problems(503))
        private.add_api_route(
            "/v1/sample", self.sample, response_class=Response, responses=content("image/jpeg") | problems(503)
        )
        private.add_api_route("/metrics", self.metrics, response_class=Response, responses=content("text/plain"))
        public.add_api_route("/healthz", self.health, response_model=State)
        public.add_api_route("/readyz", self.readiness, response_model=State, responses=problems(503))

    # The docstrings of the operations, and the descriptions of their parameters, are part of the OpenAPI.

    async def segment(self, request: Request, options: Annotated[Options, Query()]) -> Response:
        """Answer with the classes of a photo's pixels: as JSON, index PNG, overlay or cut-outs.

        The photo is the body itself, or the field `photo` or `file` of a form. It is held in memory only, and forgotten
        with the answer.
        """
        wanted = self._wanted(request, options)
        with self._budget.upload() as reserve:
            (upload,) = await read_photos(request, self._limits, reserve)
            reply, seconds = await while_connected(request, self._segmented(wanted, upload))
        headers = {
            "Vary": "Accept",
            "Cache-Control": "no-store",
            "X-Clothseg-Model": reply.header["model"][:12],
            "Server-Timing": ", ".join(f"{stage};dur={1000 * value:.1f}" for stage, value in seconds.items()),
        }
        if wanted.label:
            headers["X-Clothseg-Class"] = quote(wanted.label, safe=" ,")
        media_type = reply.header["media_type"]
        body = zip_of(files_of(reply)) if media_type == "application/zip" else reply.body
        return Response(body, media_type=media_type, headers=headers)

    async def batch(self, request: Request, options: Annotated[Options, Query()]) -> Response:
        """Segment several photos of a form: answer with lines of JSON, or one ZIP, as the photos get ready.

        A photo that cannot be segmented does not stop the others: its line, or a line of `problems.ndjson` in the ZIP,
        says why.
        """
        wanted = self._wanted(request, options)
        with contextlib.ExitStack() as stack:
            reserve = stack.enter_context(self._budget.upload())
            uploads = await read_photos(request, self._limits, reserve, max_photos=MAX_BATCH)
            work = [(one.file, partial(self._files, wanted, one)) for one in uploads]
            answers = in_order(work, at_once=len(self._pool.ready) + 1)
            is_json = wanted.output == "json"
            content = ndjson(answers) if is_json else zipped(answers)
            return HoldingResponse(content, "application/x-ndjson" if is_json else "application/zip", stack.pop_all())

    def _wanted(self, request: Request, options: Options) -> SegmentRequest:
        """Return what is to be made of the photos, before they are read."""
        output = choose_output(options.output, request.headers.get("accept", ""))
        self._pool.check_capacity()
        assert self._pool.model_info is not None
        return options.request(output, ClassList.from_dicts(self._pool.model_info["classes"]), self._limits)

    async def _segmented(self, wanted: SegmentRequest, upload: Upload) -> tuple[Message, dict[str, float]]:
        """Return a worker's reply and the seconds of each stage, and count both.

        Raises:
            Problem: the photo cannot be segmented, or no worker is free.
        """
        message = Message({"segment": vars(replace(wanted, file=upload.file))}, upload.content)
        reply, job = await self._pool.submit(message)
        if "problem" in reply.header:
            raise Problem(reply.header["problem"], reply.header["detail"])
        seconds = {"queue": job.started - job.submitted, **reply.header["seconds"]}
        self._metrics.photos.labels(wanted.output).inc()
        for stage, value in seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(value)
        return reply, seconds

    async def _files(self, wanted: SegmentRequest, upload: Upload) -> Files:
        return files_of((await self._segmented(wanted, upload))[0])

    async def model(self) -> JSONResponse:
        """Describe the model: classes, network, licence, training data, scores."""
        if self._pool.model_info is None:
            raise Problem("starting", "No worker has loaded the model yet. Ask again soon", retry_after=2)
        return JSONResponse(model_card(self._pool.model_info))

    async def sample(self, request: Request) -> Response:
        """Return a photo drawn by clothseg's own code, to try things with."""
        if self._sample is None:
            reply, _ = await while_connected(request, self._pool.submit(Message({"sample": True})))
            self._sample = reply.body
        return Response(self._sample, media_type="image/jpeg", headers={"Cache-Control": "max-age=86400"})

    async def metrics(self) -> Response:
        """Return what was counted, for Prometheus."""
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self) -> JSONResponse:
        """Say that the server lives."""
        return JSONResponse({"status": "alive"})

    async def readiness(self) -> JSONResponse:
        """Say that a worker is ready, or answer 503."""
        if not self._pool.ready:
            raise Problem("starting", "No worker is ready. Ask again soon", retry_after=2)
        return JSONResponse({"status": "ready", "workers": len(self._pool.ready)})


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, but cancel it when the client disconnects; the request's body must be read already.

    Raises:
        ClientDisconnect: the client has disconnected.
    """
    tasks = working, disconnected = asyncio.create_task(work), asyncio.create_task(_disconnect(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(working, disconnected, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
