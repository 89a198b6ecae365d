"""``POST /v1/md/reports``: how a run of molecular dynamics goes."""

from __future__ import annotations

from typing import cast

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from forcegate_client.errors import ForcegateError, PayloadTooLarge, UnsupportedMediaType
from forcegate_service.api.access.caller import ANONYMOUS, Caller
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience
from forcegate_service.api.head import admit, request_form
from forcegate_service.api.openapi import REPORT_REQUEST, REPORT_RESPONSES
from forcegate_service.api.routes.dependencies import GatewayDependency
from forcegate_service.predict.forms import JSON
from forcegate_service.predict.gateway import Gateway
from forcegate_service.watch.md_runs.reports import MDReports

__all__ = ["MAX_BYTES", "router"]

router = APIRouter(tags=["molecular dynamics"], prefix="/v1/md")

# A report has some 500 bytes.
MAX_BYTES = 4096
_BODY_WITHIN_S = 10.0


@router.post(
    "/reports",
    summary="Report the energy drift and temperature of a run",
    status_code=204,
    openapi_extra=REPORT_REQUEST,
    responses=REPORT_RESPONSES,
    response_class=Response,
)
async def report(request: Request, gateway: GatewayDependency) -> Response:
    """Take one report; one that was seen before is answered alike and changes nothing."""
    caller = admit(request.scope, "report")
    gateway.require_ready()
    reports = cast(MDReports, request.state.md_reports)
    try:
        body = await _read(request, gateway)
    except ForcegateError:
        reports.refused()
        raise
    reports.take(
        body,
        _name_of(caller, request),
        lambda model, version: gateway.models.find(model, version).card,
    )
    return Response(status_code=204)


async def _read(request: Request, gateway: Gateway) -> bytes:
    _require_json(request.headers)
    try:
        declared_length(request.headers, MAX_BYTES)
        with gateway.bodies.holding() as take:
            async with Patience(request.receive, _BODY_WITHIN_S) as patience:
                body = await read_body(request.receive, MAX_BYTES, take)
                patience.body_read()
                return body
    except PayloadTooLarge as error:
        raise PayloadTooLarge(
            error.received,
            expected=f"a report of at most {MAX_BYTES} bytes",
            action="see /docs for the fields of a report",
            code=error.code,
        ) from None


def _require_json(headers: Headers) -> None:
    form = request_form(headers)
    if form != JSON:
        raise UnsupportedMediaType(
            f"a report as {form}",
            expected=JSON,
            action=f"set the header Content-Type: {JSON}",
        )


def _name_of(caller: Caller, request: Request) -> str:
    """Whose reports are limited together; without keys, those from one address."""
    if caller.id != ANONYMOUS.id or request.client is None:
        return caller.id
    return f"{caller.id} {request.client.host}"
