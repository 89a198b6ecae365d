"""``GET /``: the gateway for people, in a browser and without anything from elsewhere.

The page holds nothing that a key protects. What it shows it asks of the routes that everybody
uses, with the key that whoever looks at it has typed in, so it is served to all.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from forcegate_client.errors import ModelNotFound
from forcegate_service.page_files import INDEX, PageFile, page_files

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
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, but asked about each time: page and gateway are of one version.
    "Cache-Control": "no-cache",
}


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    return _answer(request, page_files()[INDEX])


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
    return _answer(request, found)


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """For browsers that show ``/docs``, which names no icon; they go by the content type."""
    return _answer(request, page_files()["icon.svg"])


def _answer(request: Request, file: PageFile) -> Response:
    headers = _HEADERS | {"ETag": file.etag}
    if _knows(request.headers.get("if-none-match", ""), file.etag):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers | {"Content-Type": file.content_type})


def _knows(sent: str, etag: str) -> bool:
    """Whether ``If-None-Match`` names ``etag``, which proxies that compress call weak."""
    names = (name.strip().removeprefix("W/") for name in sent.split(","))
    return any(name in (etag, "*") for name in names)
