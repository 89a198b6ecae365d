"""``POST /v1/shadow/results``: for ``forcegate-train shadow``."""

from __future__ import annotations

from fastapi import APIRouter, Request

from forcegate_client.errors import UnsupportedMediaType
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience
from forcegate_service.api.head import admit, request_form
from forcegate_service.api.openapi import SHADOW_REQUEST, SHADOW_RESPONSES
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.predict.forms import JSON
from forcegate_service.predict.gateway import Gateway
from forcegate_service.watch.shadow.results import ShadowReceipt, read_results
from forcegate_service.watch.shadow.shadow import Shadow

__all__ = ["router"]

router = APIRouter(tags=["operations"], prefix="/v1/shadow")

# A hundred times what a worker sends at once.
_MOST_BYTES = 1_000_000
_LONGEST_S = 30.0


@router.post(
    "/results",
    summary="How far a student is from its teacher",
    openapi_extra=SHADOW_REQUEST,
    responses=SHADOW_RESPONSES,
)
async def results(request: Request, gateway: GatewayDependency) -> ShadowReceipt:
    """Take the results of structures that this gateway put aside, each once; others change nothing.

    Without keys only this machine may report; otherwise it takes the scope ``shadow``.
    """
    admit(request.scope, "shadow")
    reported = read_results(await _body(request, gateway))
    shadows = [observer for observer in gateway.observers if isinstance(observer, Shadow)]
    if not shadows:
        return ShadowReceipt(refused=len(reported.results) + len(reported.skipped))
    return shadows[0].accept(reported)


async def _body(request: Request, gateway: Gateway) -> bytes:
    form = request_form(request.headers)
    if form != JSON:
        raise UnsupportedMediaType(
            f"Content-Type {form!r}", expected=JSON, action="send the results as JSON"
        )
    declared_length(request.headers, _MOST_BYTES)
    with gateway.bodies.holding() as take:
        async with Patience(request.receive, _LONGEST_S):
            return await read_body(request.receive, _MOST_BYTES, take)
