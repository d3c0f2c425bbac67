"""The page: static files beside this module, served from the same address as the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

PAGE_FOLDER = Path(__file__).parent / "page"

_NO_PAGE = "clothseg serves its API here; see /openapi.json. The page is not part of this installation.\n"


def add_page(app: FastAPI, folder: Path = PAGE_FOLDER) -> None:
    """Serve the page at / and its files at /page/."""

    async def index() -> Response:
        path = folder / "index.html"
        return (
            FileResponse(path, headers={"Cache-Control": "no-cache"}) if path.is_file() else PlainTextResponse(_NO_PAGE)
        )

    app.add_api_route("/", index, include_in_schema=False)
    if folder.is_dir():
        app.mount("/page", _FreshFiles(directory=folder))


class _FreshFiles(StaticFiles):
    """Files that a browser asks for again each time, so that after an upgrade it does not mix old modules with new."""

    def file_response(self, *args: Any, **options: Any) -> Response:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response
