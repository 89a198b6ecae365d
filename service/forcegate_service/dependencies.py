"""What handlers are given."""

from __future__ import annotations

from typing import Annotated, TypedDict, cast

from fastapi import Depends, Request

from forcegate_service.gateway import Gateway

__all__ = ["GatewayDependency", "State"]


class State(TypedDict):
    """What the lifespan yields."""

    gateway: Gateway


async def _gateway(request: Request) -> Gateway:
    # Asynchronous, or FastAPI would fetch it in a worker thread.
    return cast(Gateway, request.state.gateway)


GatewayDependency = Annotated[Gateway, Depends(_gateway)]
