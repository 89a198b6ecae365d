"""``POST /v1/predict``."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from forcegate_service.body import read_body
from forcegate_service.dependencies import GatewayDependency
from forcegate_service.negotiation import JSON, answer_form, request_form
from forcegate_service.openapi import PREDICT_REQUEST, PREDICT_RESPONSES

__all__ = ["router"]

router = APIRouter(tags=["predictions"])


@router.post(
    "/v1/predict",
    summary="Energies, forces, stresses and uncertainties of structures",
    openapi_extra=PREDICT_REQUEST,
    responses=PREDICT_RESPONSES,
    response_class=Response,
)
async def predict(request: Request, gateway: GatewayDependency) -> Response:
    """Evaluate structures; JSON and msgpack (docs/wire-format.md) in and out."""
    form = request_form(request.headers)
    answer = answer_form(request.headers, form)
    gateway.require_ready()
    settings = gateway.settings
    limit = settings.max_json_bytes if form == JSON else settings.max_body_bytes
    body = await read_body(request, limit)
    return Response(await gateway.predict(body, form, answer), media_type=answer)
