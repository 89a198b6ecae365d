"""``POST /v1/dynamics`` and ``POST /v1/relax``: a run goes in, a stream of records comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import cast

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from forcegate_client.errors import NotAcceptable, UnsupportedMediaType
from forcegate_client.runs import RUN_PATHS, Task
from forcegate_client.wire.run_records import JSON_LINES, RECORDS, StreamForm
from forcegate_service.api.body import declared_length, read_body
from forcegate_service.api.deadline import Patience, requested_timeout
from forcegate_service.api.head import (
    RawHeaders,
    admit,
    answer_form,
    headers_of,
    request_form,
    tenant_of,
)
from forcegate_service.api.openapi import DYNAMICS_REQUEST, RELAX_REQUEST, RUN_RESPONSES
from forcegate_service.dynamics.session import Session
from forcegate_service.dynamics.sessions import Sessions
from forcegate_service.predict.forms import JSON, MSGPACK, XYZ, Form
from forcegate_service.predict.gateway import Gateway
from forcegate_service.watch.metrics.requests import note_structures

__all__ = ["router"]

router = APIRouter(tags=["runs"])

# Its own deadline ends a stream, with words; this one only watches whether anybody reads it.
_NEVER_S = 1e9


@router.post(
    RUN_PATHS["dynamics"],
    summary="Molecular dynamics of structures, as a stream of frames",
    openapi_extra=DYNAMICS_REQUEST,
    responses=RUN_RESPONSES,
    response_class=Response,
)
async def dynamics(request: Request) -> Response:
    """Move structures by NVE or Langevin dynamics (docs/runs.md)."""
    return await _answer(request, "dynamics")


@router.post(
    RUN_PATHS["relax"],
    summary="Relaxation of structures to their minima, as a stream of frames",
    openapi_extra=RELAX_REQUEST,
    responses=RUN_RESPONSES,
    response_class=Response,
)
async def relax(request: Request) -> Response:
    """Relax structures by FIRE or L-BFGS (docs/runs.md)."""
    return await _answer(request, "relax")


async def _answer(request: Request, task: Task) -> Response:
    scope, headers = request.scope, headers_of(request.scope)
    gateway: Gateway = request.state.gateway
    sessions: Sessions = request.state.runs
    settings = gateway.settings
    caller = admit(scope, "predict")
    form, stream_form = _forms(headers)
    limit = settings.max_json_bytes if form == JSON else settings.max_body_bytes
    timeout_s = requested_timeout(headers, settings.run_timeout_s)
    gateway.require_ready()
    declared_length(headers, limit)
    tenant = tenant_of(caller, scope.get("client"))
    with ExitStack() as stack:
        # To its first record a run has the time of any request.
        opening_s = requested_timeout(headers, settings.request_timeout_s)
        async with Patience(request.receive, opening_s) as patience:
            with gateway.bodies.holding() as take:
                body = await read_body(request.receive, limit, take)
                patience.body_read()
                session = await sessions.open(stack, task, body, form, stream_form, tenant)
        return _Stream(session, stream_form, timeout_s, stack.pop_all())


class _Stream(Response):
    """Sends the records of a session as they come, while somebody reads them."""

    def __init__(
        self, session: Session, form: StreamForm, timeout_s: float, stack: ExitStack
    ) -> None:
        super().__init__(media_type=form)
        del self.headers["content-length"]
        # Proxies that collect answers would hold frames back.
        self.headers["x-accel-buffering"] = "no"
        self._session, self._timeout_s, self._stack = session, timeout_s, stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        gateway = cast(Gateway, scope["state"]["gateway"])
        with self._stack, _counted(self._session):
            try:
                async with Patience(receive, _NEVER_S) as patience:
                    patience.body_read()
                    await self._send(send)
            except ClientDisconnect:
                gateway.metrics.requests.cancelled("disconnect")
            except asyncio.CancelledError:
                # The server stops and waits no longer.
                self._session.stop("draining")
                raise

    async def _send(self, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        async with aclosing(self._session.stream(self._timeout_s)) as pieces:
            async for body in pieces:
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def _counted(session: Session) -> Iterator[None]:
    """Each step computes a structure: so many count against the quota of a key."""
    try:
        yield
    finally:
        note_structures(max(1, session.steps))


def _forms(headers: RawHeaders) -> tuple[Form, StreamForm]:
    """The forms of the request and of its stream.

    Raises:
        UnsupportedMediaType, NotAcceptable: if they cannot be met.
    """
    form = request_form(headers)
    if form == XYZ:
        raise UnsupportedMediaType(
            f"Content-Type {XYZ!r}",
            expected=f"{JSON} or {MSGPACK}",
            action="send the structures in one of these; docs/runs.md shows examples",
        )
    accept = headers.get("accept", "*/*") or "*/*"
    streams: tuple[StreamForm, ...] = (RECORDS, JSON_LINES)
    for stream in streams:
        if stream in accept:
            return form, stream
    try:
        answer = answer_form(headers, form)
    except NotAcceptable as error:
        error.expected = f"{RECORDS} or {JSON_LINES}"
        raise
    return form, JSON_LINES if answer == JSON else RECORDS
