"""``POST /v1/predict``."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from forcegate_client.errors import DeadlineExceeded, ForcegateError
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience
from forcegate_service.api.head import admit, headers_of, read_head, tenant_of
from forcegate_service.api.openapi import PREDICT_REQUEST, PREDICT_RESPONSES
from forcegate_service.api.problems import client_gone, problem_response, stopped
from forcegate_service.predict.forms import Form
from forcegate_service.predict.gateway import Gateway

__all__ = ["PATH", "PlainPredictions", "router"]

router = APIRouter(tags=["predictions"])

PATH = "/v1/predict"


@router.post(
    PATH,
    summary="Energies, forces, stresses and uncertainties of structures",
    openapi_extra=PREDICT_REQUEST,
    responses=PREDICT_RESPONSES,
    response_class=Response,
)
async def predict(request: Request) -> Response:
    """Evaluate structures; JSON and msgpack (docs/wire-format.md) in and out, XYZ in."""
    content, form = await _answer(request.scope, request.receive)
    return Response(content, media_type=form)


class PlainPredictions:
    """ASGI middleware that answers predictions without the framework's way to the same handler.

    For a step of molecular dynamics that way costs as much as the model.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        # Counted and logged as the route that it stands for.
        scope["route"] = router.routes[0]
        try:
            content, form = await _answer(scope, receive)
        except ForcegateError as error:
            await problem_response(error)(scope, receive, send)
        except ClientDisconnect:
            await client_gone()(scope, receive, send)
        except asyncio.CancelledError:
            # The server stops and waits no longer; its callers can go on with the next one.
            await problem_response(stopped())(scope, receive, send)
        else:
            head = [
                (b"content-type", form.encode("ascii")),
                (b"content-length", str(len(content)).encode("ascii")),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await send({"type": "http.response.body", "body": content})


async def _answer(scope: Scope, receive: Receive) -> tuple[bytes, Form]:
    """The body of the answer and its form."""
    headers = headers_of(scope)
    state = scope["state"]
    gateway: Gateway = state["gateway"]
    # Before anything is read: who may not ask must not cost anything.
    caller = admit(scope, "predict")
    head = read_head(headers, gateway.settings)
    gateway.require_ready()
    tenant = tenant_of(caller, scope.get("client"))
    gateway.require_room(head.form, declared_length(headers, head.limit), tenant)
    try:
        with gateway.bodies.holding() as take:
            async with Patience(receive, head.timeout_s) as patience:
                body = await read_body(receive, head.limit, take)
                patience.body_read()
                query = scope["query_string"]
                content = await gateway.predict(body, head.form, head.answer, tenant, query)
    except ClientDisconnect:
        gateway.metrics.requests.cancelled("disconnect")
        raise
    except DeadlineExceeded:
        gateway.metrics.requests.cancelled("deadline")
        raise
    return content, head.answer
