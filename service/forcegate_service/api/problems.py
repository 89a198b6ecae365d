"""Every error leaves as an RFC 9457 problem document."""

from __future__ import annotations

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from forcegate_client.errors import (
    DocumentedError,
    ForcegateError,
    MalformedBody,
    MalformedRequest,
    MethodNotAllowed,
    ModelNotFound,
    RuntimeUnavailable,
    ServerFault,
    Unauthorized,
    UnprocessableRequest,
)
from forcegate_service.watch.metrics.requests import note_problem

__all__ = [
    "PROBLEM_TYPE",
    "Problem",
    "client_gone",
    "install_handlers",
    "problem_response",
    "server_fault",
    "stopped",
]

PROBLEM_TYPE = "application/problem+json"


class Problem(BaseModel):
    """An error, for programs (``code``) and for people (the rest)."""

    type: str = Field(examples=["urn:forcegate:problem:element_unsupported"])
    title: str
    status: int
    code: str = Field(description="stable; docs/errors.md lists all codes")
    detail: str
    received: str
    expected: str | None = None
    action: str | None = None
    structure: int | None = Field(None, description="index of the structure to blame")
    retry_after_s: float | None = None


def problem_response(error: ForcegateError, headers: dict[str, str] | None = None) -> Response:
    """The HTTP response for ``error``."""
    headers = dict(headers or {})
    # What never crosses the wire on purpose is a defect of the server when it does.
    documented = error if isinstance(error, DocumentedError) else server_fault()
    note_problem(documented.code)
    if isinstance(documented, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(documented, MalformedRequest):
        # What follows it on this connection may be anything.
        headers["Connection"] = "close"
    if documented.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(documented.retry_after_s))
    return Response(
        to_json(documented.to_problem()),
        status_code=documented.status,
        headers=headers,
        media_type=PROBLEM_TYPE,
    )


def server_fault() -> ServerFault:
    """What a client hears of a defect: nothing about the inside."""
    return ServerFault(
        "a request that met a defect in the server",
        expected="an answer",
        action="report it with the X-Request-ID of this response; the log has the details",
    )


def stopped() -> RuntimeUnavailable:
    """What a client hears whose request is not done when the server has to stop."""
    return RuntimeUnavailable(
        "a request that was not done when the server had to stop",
        expected="an answer within the time that a server has for stopping",
        action="try again; another server, or the next one at this address, answers",
        code="stopping",
        retry_after_s=1.0,
    )


def client_gone() -> Response:
    """Nobody reads it; 499 is what proxies log for a client that closed the connection."""
    return Response(status_code=499)


def install_handlers(app: FastAPI) -> None:
    """Replace the framework's error responses with problem documents."""
    app.add_exception_handler(ForcegateError, _forcegate_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)


async def _forcegate_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ForcegateError)
    return problem_response(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    return problem_response(_from_status(error, request, headers), headers)


def _from_status(
    error: HTTPException, request: Request, headers: dict[str, str]
) -> DocumentedError:
    route: dict[str, Any] = {"action": "see /docs for the routes"}
    if error.status_code == 404:
        return ModelNotFound(
            f"{request.method} {request.url.path}",
            expected="a route of this server",
            code="route_not_found",
            **route,
        )
    if error.status_code == 405:
        return MethodNotAllowed(
            f"{request.method} {request.url.path}",
            expected=f"method {headers.get('Allow') or headers.get('allow')}",
            **route,
        )
    if error.status_code == 400:
        return MalformedBody(str(error.detail), **route)
    return server_fault()


async def _validation_error(request: Request, error: Exception) -> Response:
    # Raised for path and query parameters only: bodies are read by json_request and wire.
    assert isinstance(error, RequestValidationError)
    return problem_response(
        UnprocessableRequest(
            f"{request.method} {request.url.path}",
            expected="parameters as in /docs",
            action="correct the request",
        )
    )


async def _client_gone(request: Request, error: Exception) -> Response:
    return client_gone()
