"""The application factory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from forcegate_client.errors import ForcegateError
from forcegate_service.api.access.caller import Access
from forcegate_service.api.deadline import TIMEOUT_HEADER
from forcegate_service.api.hosts import Hosts
from forcegate_service.api.http.connections import Connections
from forcegate_service.api.openapi import describe_bodies
from forcegate_service.api.problems import install_handlers
from forcegate_service.api.request_log import REQUEST_DIGEST, REQUEST_ID, RequestContext
from forcegate_service.api.routes import (
    admin,
    documents,
    health,
    hessian,
    model_reports,
    models,
    page,
    predict,
    reports,
    runs,
    shadow,
    structures,
)
from forcegate_service.api.routes.dependencies import State
from forcegate_service.contract.runtime import RuntimeLoader
from forcegate_service.dynamics.sessions import Sessions
from forcegate_service.predict.gateway import Gateway
from forcegate_service.reading.files import FileReader
from forcegate_service.runtimes.choose import Runtimes, open_runtimes
from forcegate_service.settings import Settings
from forcegate_service.watch.assembly import make_observers
from forcegate_service.watch.md_runs.reports import MDReports
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.metrics.runs import RunMetrics

__all__ = ["create_app"]

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    *,
    load_runtime: RuntimeLoader | None = None,
    access: Access | None = None,
    metrics_registry: CollectorRegistry | None = None,
    on_ready: Callable[[], None] = lambda: None,
    on_failure: Callable[[Exception], None] = lambda error: None,
) -> FastAPI:
    """The gateway as an ASGI application.

    It answers at once and loads its models meanwhile; then it calls ``on_ready``, or
    ``on_failure`` with the reason if nothing can be served.

    Raises:
        KeyFileError: if the settings name a file of keys that cannot be used.
    """
    # Read here and not in the lifespan, so that a bad file is told in one line and ends the start.
    access = access or Access.from_settings(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[State]:
        registry = metrics_registry or CollectorRegistry()
        metrics = Metrics(registry)
        if load_runtime is None:
            runtimes = open_runtimes(settings, metrics.models)
        else:
            runtimes = Runtimes(load_runtime)
        observers = make_observers(settings, registry)
        gateway = Gateway(settings, runtimes, metrics, observers)
        gateway.loading = loading = asyncio.create_task(_load(gateway, on_ready, on_failure))
        reports = MDReports(registry)
        sessions = Sessions(gateway, RunMetrics(registry), reports)
        try:
            yield {
                "gateway": gateway,
                "access": access,
                "md_reports": reports,
                "runs": sessions,
                "connections": Connections(settings, metrics.connections),
                "file_reader": FileReader(),
            }
        finally:
            sessions.drain()
            loading.cancel()
            with suppress(asyncio.CancelledError):
                await loading
            await gateway.close()

    app = _Application(
        settings=settings,
        title="forcegate",
        version=version("forcegate"),
        summary="Energies and forces from distilled PaiNN students",
        lifespan=lifespan,
        # Routes of our own, because they ask for a key.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for handler in (
        predict,
        hessian,
        runs,
        structures,
        models,
        model_reports,
        reports,
        shadow,
        admin,
        health,
        documents,
        page,
    ):
        app.include_router(handler.router)
    install_handlers(app)
    describe_bodies(app)
    return app


class _Application(FastAPI):
    """Requests pass our own layers before the framework's, which predictions thus never meet."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        inside = predict.PlainPredictions(super().__call__)
        self._layers: ASGIApp = RequestContext(inside, Hosts.from_settings(settings))
        if settings.asking_origins:
            # Outermost, because a browser has to be let read what is refused, too.
            self._layers = CORSMiddleware(
                self._layers,
                allow_origins=settings.asking_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type", REQUEST_ID, TIMEOUT_HEADER),
                expose_headers=(REQUEST_ID, REQUEST_DIGEST, "Retry-After"),
            )
        if settings.proxy_networks:
            self._layers = ProxyHeadersMiddleware(self._layers, settings.proxy_networks)  # type: ignore[arg-type, assignment]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] == "http":
            await self._layers(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _load(
    gateway: Gateway, on_ready: Callable[[], None], on_failure: Callable[[Exception], None]
) -> None:
    try:
        await gateway.load_models()
    except ForcegateError as error:
        logger.error("nothing can be served: %s", error)
        on_failure(error)
    except Exception as error:
        logger.exception("loading the models failed")
        on_failure(error)
    else:
        on_ready()
