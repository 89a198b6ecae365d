"""The outermost layer around every request: its id, its count, its line, and the last resort."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forcegate_service.access.caller import Caller
from forcegate_service.logs import current_request_id
from forcegate_service.metrics import Metrics
from forcegate_service.problems import problem_response, server_fault
from forcegate_service.request_record import RequestRecord, current_record

__all__ = ["REQUEST_DIGEST", "REQUEST_ID", "RequestContext"]

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_RAW_REQUEST_ID = REQUEST_ID.lower().encode("ascii")
REQUEST_DIGEST = "X-Request-Digest"
_RAW_REQUEST_DIGEST = REQUEST_DIGEST.lower().encode("ascii")
# Not a key, which somebody might send in the wrong place: ids are logged.
# Ids must not repeat, not even among replicas; nobody gains anything by guessing one.
_PREFIX = os.urandom(8).hex().encode("ascii")
_numbers = count()
_ACCEPTED_ID = re.compile(rb"(?!.*fg_)[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """ASGI middleware: names each request and its body in the response, counts it, and outlives
    its errors.

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
        name = _request_id(scope["headers"])
        record = RequestRecord()
        status: int | None = None

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (_RAW_REQUEST_ID, name)]
                if record.digest is not None:
                    headers.append((_RAW_REQUEST_DIGEST, record.digest))
                message["headers"] = headers
            await send(message)

        token = current_request_id.set(name.decode("ascii"))
        record_token = current_record.set(record)
        try:
            if "refusal" in scope:
                # The connection found no request that it could hand on.
                await problem_response(scope["refusal"])(scope, receive, send_named)
            else:
                await self.app(scope, receive, send_named)
        except Exception:
            logger.exception("request %s failed", current_request_id.get())
            if status is None:
                await problem_response(server_fault())(scope, receive, send_named)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            state = scope["state"]
            _account(
                state["gateway"].metrics,
                scope["method"],
                route,
                status or 499,
                time.perf_counter() - started,
                state.get("caller"),
            )
            current_record.reset(record_token)
            current_request_id.reset(token)


def _account(
    metrics: Metrics,
    method: str,
    route: str,
    status: int,
    duration_s: float,
    caller: Caller | None,
) -> None:
    """Count a request and write its line: no headers, and of the URL the route's template only.

    What went well is worth a line to those who debug: dynamics asks a thousand times a second.
    """
    metrics.requests.answered(route, status, duration_s, current_record.get())
    level = logging.DEBUG if status < 400 else logging.INFO if status < 500 else logging.WARNING
    if not logger.isEnabledFor(level):
        return
    fields = {
        "method": method,
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


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The caller's own id if it is harmless, else a new one."""
    for name, value in headers:
        if name == _RAW_REQUEST_ID:
            return value if _ACCEPTED_ID.fullmatch(value) else _new_id()
    return _new_id()


def _new_id() -> bytes:
    return b"%s%016x" % (_PREFIX, next(_numbers))
