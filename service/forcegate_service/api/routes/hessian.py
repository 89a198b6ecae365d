"""``POST /v1/hessian``."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from forcegate_client.errors import (
    DeadlineExceeded,
    ForcegateError,
    NotAcceptable,
    UnsupportedMediaType,
)
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience
from forcegate_service.api.head import Head, admit, headers_of, read_head, tenant_of
from forcegate_service.api.openapi import HESSIAN_REQUEST, HESSIAN_RESPONSES
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.predict.forms import JSON, Form
from forcegate_service.predict.hessian import HessianQuestion

__all__ = ["router"]

router = APIRouter(tags=["predictions"])

_COLUMNS: Form = "application/msgpack"


@router.post(
    "/v1/hessian",
    summary="Second derivatives of the energy of one structure",
    openapi_extra=HESSIAN_REQUEST,
    responses=HESSIAN_RESPONSES,
    response_class=Response,
)
async def hessian(request: Request, gateway: GatewayDependency) -> Response:
    """Move each coordinate back and forth, evaluate all of that as one request for predictions."""
    headers = headers_of(request.scope)
    caller = admit(request.scope, "predict")
    head = read_head(headers, gateway.settings)
    _require_json(head)
    gateway.require_ready()
    tenant = tenant_of(caller, request.scope.get("client"))
    declared_length(headers, head.limit)
    try:
        with gateway.bodies.holding() as take:
            async with Patience(request.receive, head.timeout_s) as patience:
                body = await read_body(request.receive, head.limit, take)
                patience.body_read()
                # Reading and encoding are large where molecules are.
                question = await asyncio.to_thread(
                    HessianQuestion.read, body, gateway.settings, gateway.models
                )
                asked = await asyncio.to_thread(question.encoded)
                try:
                    found = await gateway.predict(asked, _COLUMNS, _COLUMNS, tenant)
                except ForcegateError as error:
                    raise question.blamed(error) from None
                content = await asyncio.to_thread(question.answer, found)
    except DeadlineExceeded:
        gateway.metrics.requests.cancelled("deadline")
        raise
    return Response(content, media_type=JSON)


def _require_json(head: Head) -> None:
    if head.form != JSON:
        raise UnsupportedMediaType(
            f"a question for a Hessian as {head.form}",
            expected=JSON,
            action=f"set the header Content-Type: {JSON}",
        )
    if head.answer != JSON:
        raise NotAcceptable(
            f"an Accept that prefers {head.answer}",
            expected=JSON,
            action="accept it, or leave the header out",
        )
