"""One process, one worker: uvicorn with a shutdown that is ours."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn

from forcegate_service.app import create_app
from forcegate_service.settings import Settings

__all__ = ["serve"]

logger = logging.getLogger(__name__)

# Slow MD loops send a request a minute; a shorter life would cut their connection each time.
_KEEP_ALIVE_S = 120


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, and leave it at that.

        Uvicorn raises captured signals again once it has shut down, which would turn every orderly
        stop into a death by signal.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self, number: signal.Signals) -> None:
        logger.info("%s: finishing what is queued", number.name)
        self.handle_exit(number, None)


def serve(settings: Settings) -> int:
    """Serve until a signal comes; the result is the exit code of the process."""
    failures: list[Exception] = []
    try:
        listener = _listen(settings)
    except OSError as error:
        logger.error(
            "cannot listen on %s port %d: %s; choose another --host or --port (0 takes a free one)",
            settings.host,
            settings.port,
            error.strerror,
        )
        return 1

    def on_ready() -> None:
        host, port = listener.getsockname()[:2]
        if settings.port_file is not None:
            settings.port_file.write_text(f"{port}\n", encoding="utf-8")
        shown = f"[{host}]" if ":" in host else host
        # Printed for scripts, which wait for this line.
        print(f"forcegate is listening on http://{shown}:{port}", flush=True)

    def on_failure(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    config = uvicorn.Config(
        create_app(settings, on_ready=on_ready, on_failure=on_failure),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.drain_timeout_s,
    )
    server = _Server(config)
    with listener:
        server.run(sockets=[listener])
    logger.info("stopped")
    return 1 if failures else 0


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError:
        listener.close()
        raise
    return listener
