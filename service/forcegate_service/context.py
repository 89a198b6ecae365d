"""The outermost layer around every request: its id, its count, and the last resort."""

from __future__ import annotations

import logging
import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forcegate_service.problems import problem_response, server_fault

__all__ = ["REQUEST_ID", "RequestContext"]

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """ASGI middleware: names each request in its response, counts it, and outlives its errors."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection event."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        status: int | None = None

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        except Exception:
            logger.exception("request %s failed", request_id)
            if status is None:
                await problem_response(server_fault())(scope, receive, send_named)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            scope["state"]["gateway"].metrics.request(route, status or 499)


def _request_id(scope: Scope) -> str:
    """The caller's own id if it is harmless, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _ACCEPTED_ID.fullmatch(given) else uuid.uuid4().hex
