"""POST /v1/segment: a photo in, what was asked for of it out."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from clothseg.serving.choices import choose_class, choose_output
from clothseg.serving.errors import Problem
from clothseg.serving.limits import Limits
from clothseg.serving.messages import Message
from clothseg.serving.metrics import Metrics
from clothseg.serving.pool import Job, Pool
from clothseg.serving.schemas import PHOTO_BODY, SEGMENT_ANSWER, problems
from clothseg.serving.uploads import Lease, Memory, read_photo
from clothseg.serving.wish import Output, Wish

T = TypeVar("T")

_ERRORS = (400, 401, 403, 404, 406, 408, 413, 415, 422, 503)


class SegmentRoute:
    """Answers requests for segmentations.

    Args:
        pool: does the work.
        limits: what is refused.
        metrics: told of each photo.
    """

    def __init__(self, pool: Pool, limits: Limits, metrics: Metrics) -> None:
        self._pool = pool
        self._limits = limits
        self._metrics = metrics
        self._memory = Memory(limits, metrics)

    def add_to(self, router: APIRouter) -> None:
        """Put the operation under its path."""
        router.add_api_route(
            "/v1/segment",
            self.segment,
            methods=["POST"],
            summary="Segment a photo",
            operation_id="segment",
            response_class=Response,
            responses={200: dict(SEGMENT_ANSWER), **problems(*_ERRORS)},
            openapi_extra=dict(PHOTO_BODY),
        )

    async def segment(
        self,
        request: Request,
        output: Annotated[
            Output | None, Query(description="Form of the answer; without it, the Accept header says.")
        ] = None,
        label: Annotated[str | None, Query(description="For a cut-out: the class, by name or id.")] = None,
        tight: Annotated[bool, Query(description="For a cut-out: crop to the garment.")] = False,
        include: Annotated[Literal["mask"] | None, Query(description="For JSON: put the mask into it, too.")] = None,
    ) -> Response:
        """Answer with the classes of a photo's pixels: as JSON, index PNG, overlay or cut-out.

        The photo is the body itself, or the field `photo` of a form. It is held in memory only, and forgotten with
        the answer.
        """
        form = choose_output(output, request.headers.get("accept", ""))
        self._pool.check_room()
        assert self._pool.introduction is not None
        name = choose_class(label, self._pool.introduction["classes"]) if form == "cutout" else ""
        if include and form != "json":
            raise Problem("wrong-parameter", f"include={include} goes with JSON only, not with output={form}")
        with Lease(self._memory) as lease:
            upload = await read_photo(request, self._limits, lease)
            wish = Wish(
                output=form,
                label=name,
                tight=tight,
                include_mask=include == "mask",
                file=upload.file,
                max_pixels=self._limits.max_pixels,
            )
            question = Message({"wish": vars(wish)}, upload.content)
            del upload
            answer, job = await while_connected(request, lambda: self._pool.work(question))
        if "problem" in answer.header:
            raise Problem(answer.header["problem"], answer.header["detail"])
        return self._response(form, answer, job)

    def _response(self, form: Output, answer: Message, job: Job) -> Response:
        seconds = {"queue": job.begun - job.taken, **answer.header["seconds"]}
        self._metrics.photos.labels(form).inc()
        for stage, value in seconds.items():
            self._metrics.stage_seconds.labels(stage).observe(value)
        headers = {
            "Vary": "Accept",
            "Cache-Control": "no-store",
            "X-Clothseg-Model": answer.header["model"][:12],
            "Server-Timing": ", ".join(f"{stage};dur={1000 * value:.1f}" for stage, value in seconds.items()),
        }
        return Response(answer.body, media_type=answer.header["media_type"], headers=headers)


async def while_connected(request: Request, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Return what `work` returns, but cancel it as soon as the client has gone; its body must be read already.

    Raises:
        ClientDisconnect: the client has gone; nobody is left to be answered.
    """
    async with _task(work()) as working, _task(_gone(request)) as gone:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def _task(coroutine: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Run a coroutine as a task that ends with the block."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Problem):
            await task
