"""What handlers are given, and what they ask first."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from forcegate_service.access.caller import Access, Caller
from forcegate_service.access.keys import Scope
from forcegate_service.gateway import Gateway
from forcegate_service.monitoring.md_reports import MDReports

__all__ = ["GatewayDependency", "State", "caller", "identify", "require", "require_key"]


class State(TypedDict):
    """What the lifespan yields."""

    gateway: Gateway
    access: Access
    md_reports: MDReports


def identify(request: Request) -> Caller:
    """Who is asking; nothing of the body is read for that.

    Raises:
        Unauthorized: if that is nobody who may ask.
    """
    access = cast(Access, request.state.access)
    # Kept for the line that the request leaves in the log.
    request.state.caller = found = access.identify(request.headers)
    return found


def require(request: Request, scope: Scope) -> Caller:
    """Who is asking, with the right to do what ``scope`` stands for.

    Raises:
        Unauthorized: as ``identify`` does.
        Forbidden: if the caller lacks the scope.
    """
    found = identify(request)
    cast(Access, request.state.access).require(found, scope)
    return found


def require_key(request: Request) -> Caller:
    """Who is asking, by a key of whatever scope if keys are in force.

    Raises:
        Unauthorized: as ``identify`` does, and of anonymous callers.
    """
    found = identify(request)
    cast(Access, request.state.access).require_key(found)
    return found


async def _gateway(request: Request) -> Gateway:
    # Asynchronous, or FastAPI would fetch it in a worker thread.
    return cast(Gateway, request.state.gateway)


async def caller(request: Request) -> Caller:
    """``identify`` as a dependency of a whole router."""
    return identify(request)


GatewayDependency = Annotated[Gateway, Depends(_gateway)]
