"""``/health/live``, ``/health/ready`` and ``/metrics``."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from forcegate_service.api.head import admit
from forcegate_service.api.openapi import NOT_READY, UNAUTHORIZED
from forcegate_service.api.routes.dependencies import GatewayDependency

__all__ = ["router"]

router = APIRouter(tags=["operations"])


@router.get("/health/live", summary="Is the process alive?")
async def live() -> dict[str, str]:
    """200 as long as the event loop turns."""
    return {"status": "live"}


@router.get("/health/ready", summary="Can it serve?", responses=NOT_READY)
async def ready(gateway: GatewayDependency) -> dict[str, str]:
    """200 once models are loaded and warmed up and while they can be evaluated, 503 otherwise."""
    gateway.require_available()
    return {"status": "ready"}


@router.get(
    "/metrics", summary="Prometheus metrics", response_class=Response, responses=UNAUTHORIZED
)
async def metrics(request: Request, gateway: GatewayDependency) -> Response:
    """All ``forcegate_*`` metrics."""
    if not gateway.settings.public_metrics:
        admit(request.scope, "key")
    # What was answered last is counted in the turn of the loop after it.
    await asyncio.sleep(0)
    # The type is given as a header because Response would add a second charset to it.
    return Response(gateway.metrics.exposition(), headers={"content-type": CONTENT_TYPE_LATEST})
