"""The application: routes, keys, errors and limits put together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

import clothseg
from clothseg.serving.errors import Problem
from clothseg.serving.headers import Envelope
from clothseg.serving.information_routes import InformationRoutes
from clothseg.serving.keys import Keys
from clothseg.serving.limits import Limits
from clothseg.serving.metrics import Metrics
from clothseg.serving.page_route import add_page
from clothseg.serving.pool import Pool
from clothseg.serving.routes import SegmentRoute
from clothseg.serving.schemas import ProblemDetails

_KINDS = {401: "key-missing", 404: "not-found", 405: "wrong-method"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask."""

    keys: Keys
    cors_origins: Sequence[str] = ()
    """Origins of other pages whose scripts may use the API; "*" lets in all of them."""


def build_app(pool: Pool, *, limits: Limits, access: Access, metrics: Metrics) -> FastAPI:
    """Return the application.

    Args:
        pool: started and ended with the application.
        limits: what is refused.
        access: who may ask.
        metrics: what is counted, shared with the pool.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool.start()
        yield
        await pool.close()

    # FastAPI's own /docs loads its scripts from a CDN; /openapi.json is there for any tool.
    app = FastAPI(
        title="clothseg",
        summary="Finds the clothes in a photo.",
        version=clothseg.__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )

    async def check_key(request: Request) -> None:
        access.keys.check(request.headers)

    schemes: list[Any] = (
        [HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)] if access.keys else []
    )
    private = APIRouter(dependencies=[*(Security(scheme) for scheme in schemes), Depends(check_key)])
    public = APIRouter()
    SegmentRoute(pool, limits, metrics).add_to(private)
    InformationRoutes(pool, metrics).add_to(public, private)
    app.include_router(private)
    app.include_router(public)
    add_page(app)
    _add_errors(app)
    _add_layers(app, access, metrics)
    _describe(app)
    return app


def _add_layers(app: FastAPI, access: Access, metrics: Metrics) -> None:
    if access.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(access.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            expose_headers=["X-Clothseg-Model", "Server-Timing", "Retry-After"],
        )
    app.add_middleware(Envelope, metrics=metrics)


def _add_errors(app: FastAPI) -> None:
    """Answer every error as a problem."""

    async def as_problem(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            return error.response()
        if isinstance(error, RequestValidationError):
            return Problem("wrong-parameter", _in_words(error)).response()
        assert isinstance(error, HTTPException)
        kind = _KINDS.get(error.status_code, "broken-request")
        detail = f"{request.method} {request.url.path[:200]} does not exist here; see /openapi.json"
        return Problem(kind, detail, headers=error.headers).response()

    async def as_fault(request: Request, error: Exception) -> Response:
        return Problem("fault", "This is a fault of clothseg; its log has the details. Please report it").response()

    async def nobody(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # never sent: the client has gone

    app.add_exception_handler(Problem, as_problem)
    app.add_exception_handler(RequestValidationError, as_problem)
    app.add_exception_handler(HTTPException, as_problem)
    app.add_exception_handler(ClientDisconnect, nobody)
    app.add_exception_handler(Exception, as_fault)


def _in_words(error: RequestValidationError) -> str:
    return "; ".join(
        f"{one['loc'][-1]} is {str(one.get('input'))[:100]!r}: {one['msg'].lower()}" for one in error.errors()
    )


def _describe(app: FastAPI) -> None:
    """Let the OpenAPI know what an error looks like; FastAPI itself knows only of the models it returns."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                routes=app.routes,
                license_info=app.license_info,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
