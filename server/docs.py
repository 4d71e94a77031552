"""The documentation page; it loads nothing but this server's own OpenAPI document: no network is needed."""

from functools import cache
from importlib import resources

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter(include_in_schema=False)


@cache
def _page() -> str:
    return resources.files("nearfield.server").joinpath("docs.html").read_text(encoding="utf-8")


@router.get("/docs")
async def documentation() -> HTMLResponse:
    """Every operation with its parameters, bodies and answers."""
    return HTMLResponse(_page())
