"""The outermost layer around every request: its id, its count, its line, and the last resort."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterable
from itertools import count

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from forcegate_client.errors import ForcegateError
from forcegate_service.api.access.caller import Access, Caller
from forcegate_service.api.access.keys import redacted
from forcegate_service.api.hosts import Hosts
from forcegate_service.api.logs import current_request_id
from forcegate_service.api.problems import problem_response, server_fault
from forcegate_service.predict.gateway import Gateway
from forcegate_service.watch.metrics.requests import RequestRecord, current_record

__all__ = ["REQUEST_DIGEST", "REQUEST_ID", "RequestContext"]

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-ID"
_RAW_REQUEST_ID = REQUEST_ID.lower().encode("ascii")
REQUEST_DIGEST = "X-Request-Digest"
_RAW_REQUEST_DIGEST = REQUEST_DIGEST.lower().encode("ascii")
_UNMATCHED = "unmatched"
_LONGEST_PATH = 200
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

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self.app = app
        self._hosts = hosts

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
            refusal = scope.get("refusal") or self._look(scope)
            if refusal is None:
                await self.app(scope, receive, send_named)
            else:
                await problem_response(refusal)(scope, receive, send_named)
        except Exception:
            logger.exception("request %s failed", current_request_id.get())
            if status is None:
                await problem_response(server_fault())(scope, receive, send_named)
        finally:
            route = getattr(scope.get("route"), "path", _UNMATCHED)
            state = scope["state"]
            _account(
                state["gateway"],
                scope,
                route,
                status or 499,
                time.perf_counter() - started,
                state.get("caller"),
            )
            current_record.reset(record_token)
            current_request_id.reset(token)

    def _look(self, scope: Scope) -> ForcegateError | None:
        try:
            self._hosts.check(scope["headers"], scope["scheme"], scope["http_version"])
        except ForcegateError as error:
            return error
        return None


def _account(
    gateway: Gateway,
    scope: Scope,
    route: str,
    status: int,
    duration_s: float,
    caller: Caller | None,
) -> None:
    """Count a request and write its line: no headers, and of the URL the route's template only, or
    the beginning of a path that leads nowhere.
    """
    record = current_record.get()
    gateway.metrics.requests.answered(route, status, duration_s, record)
    if caller is not None and caller.structures_per_hour is not None and status < 400:
        access: Access = scope["state"]["access"]
        structures = 0 if record is None else record.structures or 0
        access.quotas.charge(caller.id, caller.structures_per_hour, structures)
    level = _level(route, status, gateway.settings.access_log)
    if not logger.isEnabledFor(level):
        return
    client: tuple[str, int] | None = scope.get("client")
    fields: dict[str, object] = {
        "method": scope["method"],
        "route": route,
        "status": status,
        "duration_s": round(duration_s, 6),
        "caller": None if caller is None else caller.id,
        "client": None if client is None else client[0],
        "problem": None if record is None else record.problem,
        # Of a body that was read whole: by it a caller's answer is found, or an answer's question.
        "digest": None if record is None or record.digest is None else record.digest.decode(),
    }
    told = route
    if route == _UNMATCHED:
        # Without keys, bounded and in ASCII: anybody can ask for anything.
        fields["path"] = path = ascii(redacted(scope["path"])[:_LONGEST_PATH])
        told = f"{route} {path}"
    logger.log(
        level,
        "%s %s %d%s in %.1f ms, caller %s at %s, request %s",
        fields["method"],
        told,
        status,
        f" {fields['problem']}" if fields["problem"] else "",
        1e3 * duration_s,
        fields["caller"] or "unknown",
        fields["client"] or "an unknown address",
        current_request_id.get(),
        extra={"fields": fields},
    )


def _level(route: str, status: int, access_log: bool) -> int:
    """What went well is worth a line to whoever wants one: dynamics asks a thousand times a second.

    Health checks come once a second, and are told apart from requests that were let down: what they
    complain of is in the log already.
    """
    if status < 400 or route.startswith("/health/"):
        return logging.INFO if access_log else logging.DEBUG
    return logging.INFO if status < 500 else logging.WARNING


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The caller's own id if it is harmless, else a new one."""
    for name, value in headers:
        if name == _RAW_REQUEST_ID:
            return value if _ACCEPTED_ID.fullmatch(value) else _new_id()
    return _new_id()


def _new_id() -> bytes:
    return b"%s%016x" % (_PREFIX, next(_numbers))
