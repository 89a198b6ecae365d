"""``GET /``: the gateway for people, in a browser and without anything from elsewhere.

The page holds nothing that a key protects. What it shows it asks of the routes that everybody
uses, with the key that whoever looks at it has typed in, so it is served to all.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from forcegate_client.errors import ModelNotFound
from forcegate_service.api.routes.page_files import INDEX, file_response, page_files

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

# Nothing but this server's own files runs or is asked, and no text ever becomes markup.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    return file_response(request, page_files()[INDEX], _POLICY)


@router.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    """What the page consists of."""
    found = page_files().get(name)
    if found is None:
        raise ModelNotFound(
            "a file that the page does not have",
            expected="one that GET / refers to",
            action="load the page again; it may be that of another version",
            code="route_not_found",
        )
    return file_response(request, found, _POLICY)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """For browsers that ask for it unasked; they go by the content type."""
    return file_response(request, page_files()["icon.svg"], _POLICY)
