"""``POST /v1/predict``."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from forcegate_client.errors import DeadlineExceeded, ForcegateError
from forcegate_service.access.caller import Access
from forcegate_service.body import declared_length, read_body
from forcegate_service.gateway import Gateway
from forcegate_service.negotiation import JSON, answer_form, request_form
from forcegate_service.openapi import PREDICT_REQUEST, PREDICT_RESPONSES
from forcegate_service.patience import requested_timeout, while_connected, within
from forcegate_service.problems import client_gone, problem_response
from forcegate_service.scheduling.flow import Flow

__all__ = ["DirectPredictions", "router"]

router = APIRouter(tags=["predictions"])

_PATH = "/v1/predict"


@router.post(
    _PATH,
    summary="Energies, forces, stresses and uncertainties of structures",
    openapi_extra=PREDICT_REQUEST,
    responses=PREDICT_RESPONSES,
    response_class=Response,
)
async def predict(request: Request) -> Response:
    """Evaluate structures; JSON and msgpack (docs/wire-format.md) in and out."""
    return await _answer(request.scope, request.receive)


class DirectPredictions:
    """ASGI middleware that answers predictions without the framework's way to the same handler.

    For a step of molecular dynamics that way costs as much as the model.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http" or scope["path"] != _PATH or scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        # Counted and logged as the route that it stands for.
        scope["route"] = router.routes[0]
        try:
            response = await _answer(scope, receive)
        except ForcegateError as error:
            response = problem_response(error)
        except ClientDisconnect:
            response = client_gone()
        await response(scope, receive, send)


async def _answer(scope: Scope, receive: Receive) -> Response:
    headers, state = Headers(scope=scope), scope["state"]
    gateway: Gateway = state["gateway"]
    access: Access = state["access"]
    # Before anything is read: who may not ask must not cost anything.
    caller = state["caller"] = access.identify(headers)
    access.require(caller, "predict")
    form = request_form(headers)
    answer = answer_form(headers, form)
    settings = gateway.settings
    timeout_s = requested_timeout(headers, settings.request_timeout_s)
    gateway.require_ready()
    limit = settings.max_json_bytes if form == JSON else settings.max_body_bytes
    flow = _flow(caller.id, scope)
    gateway.require_room(form, declared_length(headers, limit), flow)
    try:
        async with within(timeout_s):
            body = await read_body(receive, limit)
            async with while_connected(receive):
                content = await gateway.predict(body, form, answer, flow)
    except ClientDisconnect:
        gateway.metrics.cancelled("disconnect")
        raise
    except DeadlineExceeded:
        gateway.metrics.cancelled("deadline")
        raise
    return Response(content, media_type=answer)


def _flow(caller: str, scope: Scope) -> Flow:
    host, port = scope.get("client") or ("", 0)
    return Flow(caller if caller != "anonymous" else f"{host}:{port}", f"{host}:{port}")
