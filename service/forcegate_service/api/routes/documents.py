"""``/openapi.json`` and ``/docs``: what this server offers, for programs and for people.

The page loads nothing from elsewhere: Swagger UI comes with a Python package, and the policy lets
nothing else in, because the key that somebody types into this origin would be within its reach.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from forcegate_client.errors import ModelNotFound
from forcegate_service.api.head import admit
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.api.routes.page_files import INDEX, document_files, file_response

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        # Swagger UI draws its arrows as data.
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)


@router.get("/openapi.json")
async def openapi(request: Request, gateway: GatewayDependency) -> JSONResponse:
    """The OpenAPI document."""
    if not gateway.settings.public_docs:
        admit(request.scope, "key")
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request, gateway: GatewayDependency) -> Response:
    """A page that shows it and sends requests."""
    if not gateway.settings.public_docs:
        admit(request.scope, "key")
    return file_response(request, document_files()[INDEX], _POLICY)


@router.get("/docs/{name}")
async def part(request: Request, name: str) -> Response:
    """What the page consists of; it tells nothing of this server."""
    found = document_files().get(name)
    if found is None or name == INDEX:
        raise ModelNotFound(
            "a file that the page does not have",
            expected="one that GET /docs refers to",
            action="load the page again; it may be that of another version",
            code="route_not_found",
        )
    return file_response(request, found, _POLICY)
