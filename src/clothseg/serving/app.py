"""The FastAPI application: routes, API keys, errors, middleware and the page put together."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

import clothseg
from clothseg.errors import nearest
from clothseg.serving.errors import MEDIA_TYPE, Problem
from clothseg.serving.limits import Keys, Limits
from clothseg.serving.metrics import Metrics, RequestMiddleware
from clothseg.serving.parameters import Options
from clothseg.serving.pool import Pool
from clothseg.serving.routes import Routes
from clothseg.serving.schemas import ProblemDetails, problems

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


def build_app(pool: Pool, *, limits: Limits, metrics: Metrics, keys: Keys, cors_origins: Sequence[str] = ()) -> FastAPI:
    """Return the application, which starts and closes the pool.

    `cors_origins` are other sites whose scripts may use the API; "*" allows all.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool.start()
        yield
        await pool.close()

    app = FastAPI(
        title="clothseg",
        summary="Finds the clothes in a photo.",
        description=_EXAMPLES,
        version=clothseg.__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        exception_handlers=dict.fromkeys(_ERRORS, _on_error),
        docs_url=None,  # FastAPI's own loads its scripts from a CDN; ours come from a package
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )

    async def check_key(request: Request) -> None:
        keys.check(request.headers)

    schemes: list[Any] = (
        [HTTPBearer(auto_error=False), APIKeyHeader(name="X-API-Key", auto_error=False)] if keys else []
    )
    private = APIRouter(
        dependencies=[*(Security(scheme) for scheme in schemes), Depends(check_key)], responses=problems(401, 403)
    )
    public = APIRouter()
    Routes(pool, limits, metrics).add_to(public, private)
    app.include_router(private)
    app.include_router(public)
    _add_page(app)
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


def _add_page(app: FastAPI) -> None:
    """Serve the page at / and its files at /page/, and the reference of the API at /docs."""

    def add(path: str, name: str) -> None:
        async def html() -> Response:
            return FileResponse(PAGE_FOLDER / name)

        app.add_api_route(path, html, include_in_schema=False)

    add("/", "index.html")
    app.mount("/page", StaticFiles(directory=PAGE_FOLDER))
    if importlib.util.find_spec("fastapi_offline"):
        add("/docs", "docs.html")
        app.mount("/swagger-ui", StaticFiles(packages=[("fastapi_offline", "static")]))


_ERRORS = (Problem, RequestValidationError, HTTPException, ClientDisconnect, Exception)


async def _on_error(request: Request, error: Exception) -> Response:
    """Answer with problem details."""
    match error:
        case Problem():
            problem = error
        case RequestValidationError():
            problem = Problem("wrong-parameter", _in_words(error))
        case HTTPException():
            kind = _KIND_BY_STATUS.get(error.status_code, "broken-request")
            detail = f"{request.method} {request.url.path[:200]} does not exist here; see /openapi.json"
            problem = Problem(kind, detail, headers=error.headers)
        case ClientDisconnect():
            return Response(status_code=499)  # never sent
        case _:
            problem = Problem("fault", "This is a fault of clothseg; its log has the details. Please report it")
    values = problem.to_dict()
    return JSONResponse(values, int(values["status"]), headers=problem.headers, media_type=MEDIA_TYPE)


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
        schema = FastAPI.openapi(app)
        schema["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
