"""One process, one worker: uvicorn with a shutdown that is ours."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from forcegate_client.errors import ForcegateError
from forcegate_client.writing.atomic import write_atomically
from forcegate_service.api.access.caller import Access
from forcegate_service.api.access.keyfile import KeyFileError
from forcegate_service.api.app import create_app
from forcegate_service.api.certificate import reload_certificate
from forcegate_service.api.http.connection import connection_class
from forcegate_service.api.http.connections import raise_file_limit
from forcegate_service.dynamics.sessions import Sessions
from forcegate_service.predict.gateway import Gateway
from forcegate_service.settings import Settings

__all__ = ["serve"]

logger = logging.getLogger(__name__)

# Slow MD loops send a request a minute; a shorter life would cut their connection each time.
_KEEP_ALIVE_S = 120
# To give everything back, once running requests have had their time.
_CLOSING_S = 8.0
# New objects between two looks for garbage; Python's own is 700.
_GARBAGE_THRESHOLD = 50_000
# How long the event loop may keep the interpreter while a thread that asks a runtime, or prepares a
# large request, waits for it; Python's own is 25 times as long, as long as a batch takes.
_SWITCH_INTERVAL_S = 0.0002


class _CannotStartError(Exception):
    """What whoever starts the server has to put right; the message says what."""


class _Server(uvicorn.Server):
    """Ends and reads again as signals say."""

    def __init__(self, config: uvicorn.Config, settings: Settings) -> None:
        super().__init__(config)
        self._settings = settings
        self._last_s = settings.drain_timeout_s + _CLOSING_S

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and leave it at that; look at the certificate, the keys
        and the models again on SIGHUP.

        Uvicorn raises captured signals again once it has shut down, which would turn every orderly
        stop into a death by signal.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        logger.info("%s: finishing what is queued", number.name)
        # A thread, because it may be the loop that hangs.
        watch = threading.Timer(self._last_s, _end_at_last, [self.lifespan.state])
        watch.daemon = True
        watch.start()
        runs: Sessions | None = self.lifespan.state.get("runs")
        if runs is not None:
            runs.drain()
        self.handle_exit(number, None)

    def _hang_up(self) -> None:
        if self.config.ssl is not None:
            reload_certificate(self.config.ssl, self._settings)
        # Kept, or the task might be collected before it is done.
        self._reloading = asyncio.create_task(_reload(self.lifespan.state))


def _end_at_last(state: Mapping[str, Any]) -> None:
    logger.error("something hangs and does not let the server end; it ends now, unfinished")
    gateway: Gateway | None = state.get("gateway")
    if gateway is not None:
        gateway.kill()
    logging.shutdown()
    os._exit(1)


async def _reload(state: Mapping[str, Any]) -> None:
    """Read keys and models again; what goes wrong is logged and changes nothing."""
    access: Access = state["access"]
    gateway: Gateway = state["gateway"]
    access.reload()
    try:
        changes = await gateway.reload()
    except ForcegateError as error:
        logger.error("SIGHUP: all stays as it was: %s", error)
    else:
        logger.info("SIGHUP: %s", changes.model_dump_json(exclude_defaults=True))


def serve(settings: Settings) -> int:
    """Serve until a signal comes; the result is the exit code of the process."""
    failures: list[Exception] = []

    def on_ready() -> None:
        # What is loaded stays: nothing is gained by looking through it for garbage again and again
        # while a large body is read, which makes objects by the hundred thousand.
        gc.freeze()
        gc.set_threshold(_GARBAGE_THRESHOLD)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        host, port = listener.getsockname()[:2]
        if settings.port_file is not None:
            try:
                write_atomically(settings.port_file, f"{port}\n".encode())
            except OSError as error:
                # Whoever waits for it would wait for ever.
                logger.error("the port file %s: %s", settings.port_file, error.strerror)
                on_failure(error)
                return
        shown = f"[{host}]" if ":" in host else host
        scheme = "https" if config.is_ssl else "http"
        # Printed for scripts, which wait for this line.
        print(f"forcegate is listening on {scheme}://{shown}:{port}", flush=True)

    def on_failure(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    try:
        config = _configure(
            create_app(settings, on_ready=on_ready, on_failure=on_failure), settings
        )
        listener = _listen(settings)
    except (KeyFileError, _CannotStartError) as error:
        logger.error("%s", error)
        return 1
    raise_file_limit(settings.max_connections)
    server = _Server(config, settings)
    with listener:
        server.run(sockets=[listener])
    logger.info("stopped")
    return 1 if failures else 0


def _configure(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=connection_class(settings.connection_age_s),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        # The application knows which proxies are to be believed.
        proxy_headers=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_timeout_s,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    try:
        config.load()
    except OSError as error:
        raise _CannotStartError(
            f"certificate {settings.tls_certificate} with key {settings.tls_key}: "
            f"{error.strerror or error}; expected two PEM files that belong together, the key "
            "without a password; set FORCEGATE_TLS_CERTIFICATE and FORCEGATE_TLS_KEY to such files"
        ) from error
    return config


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _CannotStartError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror}; "
            "choose another --host or --port (0 takes a free one)"
        ) from error
    return listener
