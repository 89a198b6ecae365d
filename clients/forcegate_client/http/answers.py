"""What an HTTP answer, or its absence, means: a result, an error, or something that may pass."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from forcegate_client.errors import (
    ForcegateError,
    ServerUnreachable,
    asked_wait_s,
    error_from_problem,
)
from forcegate_client.http.connection import shown
from forcegate_client.retry import Transient

__all__ = ["Answer", "check_status", "error_of_transport", "read_json", "through"]

TRANSIENT_STATUSES = frozenset({429, 502, 503, 504})
# Statuses with one meaning, whoever sends them: a proxy's page becomes the same class.
_CLEAR_STATUSES = frozenset({401, 403, 413, 429})


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer; ``proxy`` is the one that it may have come through or from."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    proxy: str | None = None

    @property
    def content_type(self) -> str:
        """The media type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_status(answer: Answer) -> None:
    """Return if the answer is a success.

    Raises:
        Transient: for 429, 502, 503 and 504, from a forcegate server or a proxy before it.
        ForcegateError: the class that the server raised, for every other failure.
    """
    if 200 <= answer.status < 300:
        return
    error = _error(answer)
    if answer.status not in TRANSIENT_STATUSES:
        raise error
    if error.retry_after_s is None:
        error.retry_after_s = _retry_after_s(answer.headers.get("retry-after"))
    raise Transient(error)


def error_of_transport(
    error: httpx.TransportError, url: httpx.URL, proxy: str | None
) -> ForcegateError | Transient:
    """What to raise for a connection that failed: ``Transient`` unless repeating cannot help."""
    action = "check the URL, the network and the server's log"
    if isinstance(error, httpx.ConnectError):
        port = url.port or {"http": 80, "https": 443}.get(url.scheme)
        action = f"start one there (forcegate-serve --port {port}), or check the URL"
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and url.scheme == "http":
        action = "check the server's log; a server with a certificate wants https:// in the URL"
    if proxy is not None:
        action = "check the proxy and the URL, or name the server in NO_PROXY"
    found = ServerUnreachable(
        f"no answer from {shown(url)}{through(proxy)} ({type(error).__name__}: {error})",
        expected="a running forcegate server",
        action=action,
    )
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            found.action = "set SSL_CERT_FILE to the certificate authority of this server"
            return found
        if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
            found.action = "use http:// in the URL: what listens there has no certificate"
            return found
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return found
    return Transient(found)


def through(proxy: str | None) -> str:
    """What to add to what was received, where a proxy may have caused it."""
    return "" if proxy is None else f" through the proxy {proxy}, which the environment names"


def read_json(answer: Answer) -> dict[str, Any]:
    """The JSON object in a successful answer.

    Raises:
        ServerUnreachable: if it holds anything else.
    """
    document = _json_object(answer)
    if document is None:
        raise _stranger(answer)
    return document


def _error(answer: Answer) -> ForcegateError:
    problem = _json_object(answer)
    if problem is not None:
        return error_from_problem(problem, answer.status)
    if answer.status in _CLEAR_STATUSES:
        return error_from_problem(
            {"received": f"{_describe(answer)} before the server"}, answer.status
        )
    return _stranger(answer)


def _stranger(answer: Answer) -> ServerUnreachable:
    action = "check that the URL is that of a forcegate server, path prefix included"
    if 300 <= answer.status < 400:
        action = f"use the URL that it points to: {answer.headers.get('location', 'not given')}"
    return ServerUnreachable(_describe(answer), expected="a forcegate server", action=action)


def _describe(answer: Answer) -> str:
    kind = answer.content_type or "no content type"
    return f"HTTP {answer.status} ({kind}){through(answer.proxy)} from something"


def _json_object(answer: Answer) -> dict[str, Any] | None:
    if not answer.content_type.endswith("json"):
        return None
    try:
        document = json.loads(answer.content)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _retry_after_s(header: str | None) -> float | None:
    """Seconds in a Retry-After header: a number or an HTTP date."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return asked_wait_s(float(text[:30]))
    try:
        when = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return asked_wait_s((when - datetime.now(UTC)).total_seconds()) if when.tzinfo else None
