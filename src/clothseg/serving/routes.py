"""The HTTP operations: segment a photo; describe the model; give a sample photo, the health and the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from clothseg.errors import SettingError, one_line
from clothseg.labels import ClassList
from clothseg.prediction.cutouts import PLAIN, CutoutFormat, CutoutStyle, Edges, color_of
from clothseg.prediction.outputs import CLOTHES
from clothseg.serving import metrics as metrics_module
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import MEDIA_TYPES, Include, Message, Output, SegmentRequest
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Job, Pool
from clothseg.serving.schemas import PHOTO_BODY, SEGMENT_RESPONSE, ModelCard, State, content, problems
from clothseg.serving.uploads import UploadBudget, read_photo

T = TypeVar("T")

_OUTPUT_BY_MEDIA_TYPE = {one: output for output, one in MEDIA_TYPES.items() if output != "cutout"}
"""What the Accept header may ask for; a cut-out also needs a class."""


class Routes:
    """Answers the requests of the API.

    Args:
        pool: segments photos and knows the model.
        limits: what is refused.
        metrics: where photos and stages are counted.
    """

    def __init__(self, pool: Pool, limits: Limits, metrics: Metrics) -> None:
        self._pool = pool
        self._limits = limits
        self._metrics = metrics
        self._budget = UploadBudget(limits, metrics)
        self._sample: bytes | None = None

    def add_to(self, public: APIRouter, private: APIRouter) -> None:
        """Add the operations: `public` needs no API key, `private` needs one if the server has keys."""
        key_errors = problems(401, 403)
        private.add_api_route(
            "/v1/segment",
            self.segment,
            methods=["POST"],
            summary="Segment a photo",
            operation_id="segment",
            response_class=Response,
            responses={200: dict(SEGMENT_RESPONSE), **problems(400, 401, 403, 404, 406, 408, 413, 415, 422, 503)},
            openapi_extra=dict(PHOTO_BODY),
        )
        private.add_api_route(
            "/v1/model",
            self.model,
            response_model=ModelCard,
            responses={**key_errors, **problems(503)},
            operation_id="model",
        )
        private.add_api_route(
            "/v1/sample",
            self.sample,
            response_class=Response,
            responses={**content("image/jpeg"), **key_errors, **problems(503)},
            operation_id="sample",
        )
        private.add_api_route(
            "/metrics",
            self.metrics,
            response_class=Response,
            responses={**content("text/plain"), **key_errors},
            operation_id="metrics",
        )
        public.add_api_route("/healthz", self.health, response_model=State, operation_id="health")
        public.add_api_route(
            "/readyz", self.readiness, response_model=State, responses=problems(503), operation_id="readiness"
        )

    # The docstrings of the operations, and the descriptions of their parameters, are part of the OpenAPI.

    async def segment(
        self,
        request: Request,
        output: Annotated[
            Output | None, Query(description="Form of the answer; without it, the Accept header says.")
        ] = None,
        label: Annotated[
            str | None,
            Query(
                description="For a cut-out: the class, by id or by any name of it, such as dress or trousers; "
                "without it, all clothes together."
            ),
        ] = None,
        tight: Annotated[bool, Query(description="For cut-outs: crop to the garment.")] = False,
        style: Annotated[CutoutStyle, Depends(style_of)] = PLAIN,
        include: Annotated[
            list[Include], Query(description="For JSON: put the mask or the outlines into it, too; repeatable.")
        ] = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        """Answer with the classes of a photo's pixels: as JSON, index PNG, overlay or cut-out.

        The photo is the body itself, or the field `photo` of a form. It is held in memory only, and forgotten with
        the answer.
        """
        chosen = choose_output(output, request.headers.get("accept", ""))
        self._pool.check_capacity()
        assert self._pool.model_info is not None
        classes = ClassList.from_dicts(self._pool.model_info["classes"])
        name = choose_class(label, classes) if chosen == "cutout" else ""
        if include and chosen != "json":
            raise Problem("wrong-parameter", f"include={include[0]} goes with JSON only, not with output={chosen}")
        if style.canvas and np.prod(style.canvas_size) > self._limits.max_pixels:
            raise Problem(
                "wrong-parameter", f"canvas is {style.canvas}. Allowed: at most {self._limits.max_pixels:,} pixels"
            )
        with self._budget.upload() as reserve:
            upload = await read_photo(request, self._limits, reserve)
            wanted = SegmentRequest(
                output=chosen,
                label=name,
                tight=tight,
                style=vars(style),
                include=include,
                file=upload.file,
                max_pixels=self._limits.max_pixels,
            )
            message = Message({"segment": vars(wanted)}, upload.content)
            del upload
            reply, job = await while_connected(request, self._pool.submit(message))
        if "problem" in reply.header:
            raise Problem(reply.header["problem"], reply.header["detail"])
        return self._response(wanted, reply, job)

    def _response(self, wanted: SegmentRequest, reply: Message, job: Job) -> Response:
        seconds = {"queue": job.started - job.submitted, **reply.header["seconds"]}
        self._metrics.photos.labels(wanted.output).inc()
        for stage, value in seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(value)
        headers = {
            "Vary": "Accept",
            "Cache-Control": "no-store",
            "X-Clothseg-Model": reply.header["model"][:12],
            "Server-Timing": ", ".join(f"{stage};dur={1000 * value:.1f}" for stage, value in seconds.items()),
        }
        if wanted.label:
            headers["X-Clothseg-Class"] = quote(wanted.label, safe=" ,")
        return Response(reply.body, media_type=reply.header["media_type"], headers=headers)

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
        return Response(self._metrics.text(), headers={"Content-Type": metrics_module.MEDIA_TYPE})

    async def health(self) -> JSONResponse:
        """Say that the server lives."""
        return JSONResponse({"status": "alive"})

    async def readiness(self) -> JSONResponse:
        """Say that a worker is ready, or answer 503."""
        if not self._pool.ready:
            raise Problem("starting", "No worker is ready. Ask again soon", retry_after=2)
        return JSONResponse({"status": "ready", "workers": len(self._pool.ready)})


def model_card(model_info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's description of a model, from a worker's."""
    same = ("name", "sha256", "version", "runtime", "architecture", "encoder_name", "decoder_width", "image_size")
    classes = ClassList.from_dicts(model_info["classes"])
    aliases: dict[int, list[str]] = {}
    for alias, class_id in classes.aliases.items():
        aliases.setdefault(class_id, []).append(alias)
    return {
        **{key: model_info[key] for key in (*same, "licence", "training_data", "scores")},
        "classes": [
            {
                "id": number,
                "name": one.name,
                "display_name": one.display_name,
                "aliases": aliases.get(number, []),
                "color": one.color,
            }
            for number, one in enumerate(classes.classes)
        ],
        "known_classes": model_info["training_data"].get("known_classes"),
    }


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


def choose_output(parameter: Output | None, accept: str) -> Output:
    """Return the form of the response.

    Args:
        parameter: value of the parameter `output`; it overrides the header.
        accept: the Accept header; empty means anything.

    Raises:
        Problem: the header allows none of the forms.

    >>> choose_output(None, "image/png;q=0.5, image/jpeg"), choose_output(None, "*/*"), choose_output("cutout", "")
    ('overlay', 'json', 'cutout')
    """
    if parameter is not None:
        return parameter
    ranges = [_media_range(part) for part in accept.split(",") if part.strip()]
    qualities = {media_type: _quality(media_type, ranges) for media_type in _OUTPUT_BY_MEDIA_TYPE}
    best = max(qualities, key=lambda media_type: qualities[media_type])
    if qualities[best] <= 0:
        raise Problem(
            "not-acceptable",
            f"The Accept header is {accept[:100]!r}. Allowed: {', '.join(qualities)}, or the parameter output",
        )
    return _OUTPUT_BY_MEDIA_TYPE[best]


def _media_range(part: str) -> tuple[str, float]:
    media_type, *parameters = (one.strip().lower() for one in part.split(";"))
    quality = next((one.partition("=")[2] for one in parameters if one.startswith("q=")), "1")
    try:
        value = float(quality)
    except ValueError:
        return media_type, 0.0
    return media_type, value if 0 <= value <= 1 else 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    """Return the quality value of a media type, 0 to 1; the most specific range counts.

    Source: RFC 9110, section 12.5.1.
    """
    if not ranges:
        return 1.0
    for wanted in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        for name, quality in ranges:
            if name == wanted:
                return quality
    return 0.0


def style_of(
    edges: Annotated[Edges, Query(description="Edges of cut-outs: estimated coverage, or whole pixels.")] = "soft",
    background: Annotated[
        str, Query(description="Behind cut-outs: transparent, blur, or a colour as in white or #ffffff.")
    ] = "transparent",
    canvas: Annotated[str, Query(description="Scale cut-outs to fit and centre them, as in 2000x2000.")] = "",
    margin: Annotated[str, Query(description="Space around the garment on a canvas, in per cent.")] = "5%",
    cutout_format: Annotated[CutoutFormat, Query(alias="format", description="File format of cut-outs.")] = "png",
) -> CutoutStyle:
    """Return how cut-outs are made; over HTTP a background is no picture of the server's disk.

    Raises:
        Problem: a value is not allowed.
    """
    if background not in ("transparent", "blur") and not color_of(background):
        allowed = "transparent, blur, #rrggbb or the name of a colour; pictures only on the command line and in Python"
        raise Problem("wrong-parameter", f"background is {background[:100]!r}. Allowed: {allowed}")
    try:
        return CutoutStyle(edges, background, canvas, margin, cutout_format)
    except SettingError as error:
        raise Problem("wrong-parameter", one_line(error)) from error


def choose_class(label: str | None, classes: ClassList) -> str:
    """Return the name of the class to cut out; empty for all clothes together.

    Args:
        label: a name of it, see `ClassList.id_of`, or its id; none or "clothes" means all.
        classes: the model's.

    Raises:
        Problem: no class of the model covers it.
    """
    if not label or (label == CLOTHES and CLOTHES not in classes.names):
        return ""
    if label.isdecimal() and label.isascii() and len(label) < 4 and int(label) < len(classes):
        return classes.names[int(label)]
    try:
        return classes.names[classes.id_of(label)]
    except SettingError as error:
        raise Problem("wrong-parameter", f"label: {one_line(error)}") from error
