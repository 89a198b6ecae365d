"""What handlers are given."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from forcegate_service.api.access.caller import Access, Caller
from forcegate_service.api.head import admit
from forcegate_service.api.http.connections import Connections
from forcegate_service.dynamics.sessions import Sessions
from forcegate_service.predict.gateway import Gateway
from forcegate_service.reading.files import FileReader
from forcegate_service.watch.md_runs.reports import MDReports

__all__ = ["GatewayDependency", "State", "caller"]


class State(TypedDict):
    """What the lifespan yields."""

    gateway: Gateway
    access: Access
    md_reports: MDReports
    connections: Connections
    runs: Sessions
    file_reader: FileReader


async def _gateway(request: Request) -> Gateway:
    # Asynchronous, or FastAPI would fetch it in a worker thread.
    return cast(Gateway, request.state.gateway)


async def caller(request: Request) -> Caller:
    """``admit`` as a dependency of a whole router, for whoever may ask at all."""
    return admit(request.scope, "nothing")


GatewayDependency = Annotated[Gateway, Depends(_gateway)]
