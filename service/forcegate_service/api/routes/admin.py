"""``POST /v1/admin/reload``: for operators."""

from __future__ import annotations

from fastapi import APIRouter, Request

from forcegate_service.api.head import admit
from forcegate_service.api.openapi import FORBIDDEN, NOT_READY, UNAUTHORIZED
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.models.reloading import Reloaded

__all__ = ["router"]

router = APIRouter(tags=["operations"], prefix="/v1/admin")


@router.post(
    "/reload",
    summary="Look at the model repository again",
    responses=UNAUTHORIZED | FORBIDDEN | NOT_READY,
)
async def reload(request: Request, gateway: GatewayDependency) -> Reloaded:
    """Serve new versions, let go of those that are gone, read changed cards and keys."""
    admit(request.scope, "admin")
    keys_refused = request.state.access.reload()
    changes = await gateway.reload()
    return changes.model_copy(update={"keys_refused": keys_refused})
