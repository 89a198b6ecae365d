"""``/openapi.json`` and ``/docs``: what this server offers, for programs and for people."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse

from forcegate_service.api.admit import admit
from forcegate_service.dependencies import GatewayDependency

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request, gateway: GatewayDependency) -> JSONResponse:
    """The OpenAPI document."""
    if not gateway.settings.public_docs:
        admit(request.scope, "key")
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request, gateway: GatewayDependency) -> HTMLResponse:
    """A page that shows it and sends requests."""
    if not gateway.settings.public_docs:
        admit(request.scope, "key")
    # Relative, so that it is found behind a proxy's prefix too.
    return get_swagger_ui_html(openapi_url="openapi.json", title=request.app.title)
