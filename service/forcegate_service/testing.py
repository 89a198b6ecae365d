"""Gateways for tests: in process over ASGI, or on a port in a thread; no model needs training."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from forcegate_service.api.app import create_app
from forcegate_service.api.http.connection import connection_class
from forcegate_service.contract.runtime import RuntimeLoader
from forcegate_service.predict.gateway import Gateway
from forcegate_service.settings import Settings

__all__ = ["gateway_client", "in_process", "running_gateway"]

_START_TIMEOUT_S = 60.0


@asynccontextmanager
async def gateway_client(
    settings: Settings,
    load_runtime: RuntimeLoader | None = None,
    metrics_registry: CollectorRegistry | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway in this process whose models are loaded."""
    app = create_app(settings, load_runtime=load_runtime, metrics_registry=metrics_registry)
    async with in_process(app) as (client, gateway):
        assert gateway.loading is not None
        await gateway.loading
        yield client


@asynccontextmanager
async def in_process(app: FastAPI) -> AsyncIterator[tuple[httpx.AsyncClient, Gateway]]:
    """A client of ``app``, and its gateway, which may still be loading its models."""
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        transport = httpx.ASGITransport(_with_state(app, state))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client, state["gateway"]


@contextmanager
def running_gateway(settings: Settings, load_runtime: RuntimeLoader | None = None) -> Iterator[str]:
    """The URL of a gateway that listens on a free port, in a thread of this process.

    Raises:
        TimeoutError: if its models are not loaded after a minute.
    """
    ready = threading.Event()
    app = create_app(settings, load_runtime=load_runtime, on_ready=ready.set)
    config = uvicorn.Config(
        app,
        port=0,
        http=connection_class(settings.connection_age_s),
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="forcegate-test-server", daemon=True)
    thread.start()
    try:
        # Models of toys may be loaded before the server listens.
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not (ready.wait(0.01) and server.started):
            if time.monotonic() > deadline:
                raise TimeoutError("the gateway did not become ready")
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def _with_state(app: ASGIApp, state: Mapping[str, object]) -> ASGIApp:
    """What a server does with the lifespan's state and httpx's transport does not."""

    async def stateful(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": dict(state)}, receive, send)

    return stateful
