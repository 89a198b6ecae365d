"""The outermost layer around every request: its id, its count, its line, and the last resort."""

from __future__ import annotations

import logging
import os
import re
import time
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forcegate_service.logs import current_request_id
from forcegate_service.problems import problem_response, server_fault

__all__ = ["REQUEST_ID", "RequestContext"]

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_RAW_REQUEST_ID = REQUEST_ID.lower().encode("ascii")
# Not a key, which somebody might send in the wrong place: ids are logged.
# Ids must not repeat, not even among replicas; nobody gains anything by guessing one.
_PREFIX = os.urandom(8).hex().encode("ascii")
_numbers = count()
_ACCEPTED_ID = re.compile(rb"(?!.*fg_)[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """ASGI middleware: names each request in its response, counts it, and outlives its errors.

    It is passed by every prediction, so it works on the raw headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        status: int | None = None

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_RAW_REQUEST_ID, request_id)]
            await send(message)

        token = current_request_id.set(request_id.decode("ascii"))
        try:
            await self.app(scope, receive, send_named)
        except Exception:
            logger.exception("request %s failed", current_request_id.get())
            if status is None:
                await problem_response(server_fault())(scope, receive, send_named)
        finally:
            _account(scope, status or 499, time.perf_counter() - started)
            current_request_id.reset(token)


def _account(scope: Scope, status: int, duration_s: float) -> None:
    """Count a request and write its line: no headers, and of the URL the route's template only.

    What went well is worth a line to those who debug: dynamics asks a thousand times a second.
    """
    route = getattr(scope.get("route"), "path", "unmatched")
    state = scope["state"]
    state["gateway"].metrics.request(route, status)
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    caller = state.get("caller")
    fields = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "duration_s": round(duration_s, 6),
        "caller": None if caller is None else caller.id,
    }
    logger.log(
        level,
        "%s %s %d in %.1f ms, caller %s, request %s",
        fields["method"],
        route,
        status,
        1e3 * duration_s,
        fields["caller"] or "not asked",
        current_request_id.get(),
        extra={"fields": fields},
    )


def _request_id(scope: Scope) -> bytes:
    """The caller's own id if it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == _RAW_REQUEST_ID:
            return value if _ACCEPTED_ID.fullmatch(value) else _new_id()
    return _new_id()


def _new_id() -> bytes:
    return b"%s%016x" % (_PREFIX, next(_numbers))
