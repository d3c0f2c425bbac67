"""The FastAPI application: routes, API keys, errors, middleware and the page put together."""

from __future__ import annotations

import contextlib
import importlib.util
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, PlainTextResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

import clothseg
from clothseg.errors import nearest
from clothseg.serving.errors import KINDS, MEDIA_TYPE, Problem
from clothseg.serving.limits import Keys, Limits
from clothseg.serving.metrics import Metrics, RequestMiddleware
from clothseg.serving.parameters import Options
from clothseg.serving.pool import Pool
from clothseg.serving.routes import Routes
from clothseg.serving.schemas import ProblemDetails

PAGE_FOLDER = Path(__file__).parent / "page"

_EXAMPLES = """
```bash
curl -F photo=@photo.jpg "http://127.0.0.1:8000/v1/segment"
curl -F photo=@photo.jpg "http://127.0.0.1:8000/v1/segment?output=cutout&label=dress&background=white" -o dress.png
curl -F photo=@a.jpg -F photo=@b.jpg "http://127.0.0.1:8000/v1/batch?output=mask" -o masks.zip
```

```python
import json
from pathlib import Path
from urllib.request import Request, urlopen

photo = Path("photo.jpg").read_bytes()
with urlopen(Request("http://127.0.0.1:8000/v1/segment", photo, {"Content-Type": "image/jpeg"})) as answer:
    print([segment["label"] for segment in json.load(answer)["segments"]])
```

```javascript
const form = new FormData();
form.append("photo", file);  // a File, as an <input type="file"> has it
const answer = await fetch("http://127.0.0.1:8000/v1/segment?output=cutout", { method: "POST", body: form });
image.src = URL.createObjectURL(await answer.blob());
```

A server with keys also wants the header `Authorization: Bearer KEY`. Errors are `application/problem+json` (RFC 9457).
"""
"""Examples at the head of the reference, in Markdown."""

_KIND_BY_STATUS = {401: "key-missing", 404: "not-found", 405: "wrong-method"}
_NO_PAGE = "clothseg serves its API here; see /openapi.json. The page is not part of this installation.\n"


def build_app(pool: Pool, *, limits: Limits, metrics: Metrics, keys: Keys, cors_origins: Sequence[str] = ()) -> FastAPI:
    """Return the application.

    Args:
        pool: started and closed with the application.
        limits: what is refused.
        metrics: shared with the pool.
        keys: accepted API keys.
        cors_origins: of other sites whose scripts may use the API; "*" allows all.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool.start()
        yield
        await pool.close()

    # FastAPI's own /docs loads its scripts from a CDN; ours come from a package.
    app = FastAPI(
        title="clothseg",
        summary="Finds the clothes in a photo.",
        description=_EXAMPLES,
        version=clothseg.__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )

    async def check_key(request: Request) -> None:
        keys.check(request.headers)

    schemes: list[Any] = (
        [HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)] if keys else []
    )
    private = APIRouter(dependencies=[*(Security(scheme) for scheme in schemes), Depends(check_key)])
    public = APIRouter()
    Routes(pool, limits, metrics).add_to(public, private)
    app.include_router(private)
    app.include_router(public)
    add_page(app)
    _add_error_handlers(app)
    if cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "X-API-Key", "Content-Type"],
            expose_headers=["X-Clothseg-Model", "X-Clothseg-Class", "Server-Timing", "Retry-After"],
        )
    app.add_middleware(RequestMiddleware, metrics=metrics)
    _describe_errors(app)
    return app


def add_page(app: FastAPI, folder: Path = PAGE_FOLDER) -> None:
    """Serve the page at / and its files at /page/, and the reference of the API at /docs."""

    async def index() -> Response:
        path = folder / "index.html"
        return (
            FileResponse(path, headers={"Cache-Control": "no-cache"}) if path.is_file() else PlainTextResponse(_NO_PAGE)
        )

    app.add_api_route("/", index, include_in_schema=False)
    if folder.is_dir():
        app.mount("/page", _RevalidatedFiles(directory=folder))
    if folder.is_dir() and importlib.util.find_spec("fastapi_offline"):

        async def docs() -> Response:
            return FileResponse(folder / "docs.html", headers={"Cache-Control": "no-cache"})

        app.add_api_route("/docs", docs, include_in_schema=False)
        app.mount("/swagger-ui", StaticFiles(packages=[("fastapi_offline", "static")]))


class _RevalidatedFiles(StaticFiles):
    """Files that a browser requests again each time, so that it does not mix old and new modules after an upgrade."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error with problem details."""

    async def on_problem(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            return _response(error)
        if isinstance(error, RequestValidationError):
            return _response(Problem("wrong-parameter", _in_words(error)))
        assert isinstance(error, HTTPException)
        kind = _KIND_BY_STATUS.get(error.status_code, "broken-request")
        detail = f"{request.method} {request.url.path[:200]} does not exist here; see /openapi.json"
        return _response(Problem(kind, detail, headers=error.headers))

    async def on_fault(request: Request, error: Exception) -> Response:
        return _response(Problem("fault", "This is a fault of clothseg; its log has the details. Please report it"))

    async def on_disconnect(request: Request, error: Exception) -> Response:
        return Response(status_code=499)  # never sent

    app.add_exception_handler(Problem, on_problem)
    app.add_exception_handler(RequestValidationError, on_problem)
    app.add_exception_handler(HTTPException, on_problem)
    app.add_exception_handler(ClientDisconnect, on_disconnect)
    app.add_exception_handler(Exception, on_fault)


def _response(problem: Problem) -> Response:
    status = int(KINDS[problem.kind][0])
    return Response(json.dumps(problem.to_dict()), status, headers=problem.headers, media_type=MEDIA_TYPE)


def _in_words(error: RequestValidationError) -> str:
    found = []
    for one in error.errors():
        name = str(one["loc"][:2][-1])  # what follows is the place in a list
        if one["type"] == "extra_forbidden":
            found.append(f"no parameter is called {name[:100]!r}; nearest: {nearest(name, Options.model_fields, 3)}")
        else:
            found.append(f"{name} is {str(one.get('input'))[:100]!r}: {one['msg'].lower()}")
    return "; ".join(found)


def _describe_errors(app: FastAPI) -> None:
    """Add the schema of an error to the OpenAPI; FastAPI itself adds only the models that operations return."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                license_info=app.license_info,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            schemas["ProblemDetails"] = ProblemDetails.model_json_schema()
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
