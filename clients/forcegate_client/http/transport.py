"""How requests travel: over connections of our own, or through httpx where a proxy has a say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from forcegate_client.errors import ServerUnreachable
from forcegate_client.http.answers import Answer
from forcegate_client.http.connection import Timeouts, is_loopback
from forcegate_client.http.direct import KEEPALIVE_EXPIRY_S, DirectTransport
from forcegate_client.http.http1 import Target, join_body

__all__ = [
    "HttpxTransport",
    "Transport",
    "environment_for",
    "open_async",
    "open_transport",
    "proxy_of",
]


class Transport(Protocol):
    """Sends requests to one server, for one process; may be shared by threads.

    ``proxy`` is the one that they go through, for messages.
    """

    @property
    def proxy(self) -> str | None:
        """Its URL, without a password; ``None`` without one."""

    def send(self, target: Target, request_id: str, body: bytes | None = None) -> Answer:
        """One request, without retries; redirects are answers.

        Raises:
            httpx.TransportError: if there is no complete answer.
            ServerUnreachable: if the answer is too large.
        """

    def close(self) -> None:
        """Close all connections."""

    def abandon(self) -> None:
        """Let go of connections that were inherited by ``fork``, without ending them."""


def open_transport(
    url: httpx.URL,
    timeouts: Timeouts,
    clock: Callable[[], float],
    given: httpx.BaseTransport | None = None,
) -> Transport:
    """The cheapest way to ``url``; ``given`` is used if there is one.

    Raises:
        ServerUnreachable: if the environment names a proxy that cannot be used.
    """
    if given is not None:
        return HttpxTransport(httpx.Client(transport=given), timeouts, clock)
    proxy = proxy_of(url)
    if proxy is None:
        return DirectTransport(url, timeouts, clock)
    with _usable(proxy):
        session = httpx.Client(limits=httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY_S))
    return HttpxTransport(session, timeouts, clock, proxy)


def open_async(
    url: httpx.URL, connections: int, given: httpx.AsyncBaseTransport | None
) -> tuple[httpx.AsyncClient, str | None]:
    """A session of httpx for ``url``, and the proxy that it may use, for messages.

    Raises:
        ServerUnreachable: if the environment names a proxy that cannot be used.
    """
    proxy = None if given is not None else proxy_of(url)
    limits = httpx.Limits(max_connections=connections, keepalive_expiry=KEEPALIVE_EXPIRY_S)
    with _usable(proxy):
        return httpx.AsyncClient(transport=given, limits=limits, **environment_for(url)), proxy


def environment_for(url: httpx.URL) -> dict[str, Any]:
    """Arguments of a session of httpx: no proxy is asked for but one that stands before ``url``.

    Certificates are those of the environment in any case.
    """
    return {"trust_env": proxy_of(url) is not None, "verify": httpx.create_ssl_context()}


def proxy_of(url: httpx.URL) -> str | None:
    """The proxy that may stand before ``url``, as the standard library reads the environment.

    None ever stands before this machine itself. httpx, which is asked where one may, has the last
    word: it knows more forms of ``NO_PROXY``. A password in the proxy's URL is not shown.
    """
    if is_loopback(url):
        return None
    proxies = getproxies()
    configured = proxies.get(url.scheme) or proxies.get("all")
    if not configured or proxy_bypass(url.netloc.decode("ascii")):
        return None
    # A name and password stand before the last @.
    scheme, separator, rest = configured.rpartition("://")
    return scheme + separator + rest.rpartition("@")[2]


@contextmanager
def _usable(proxy: str | None) -> Iterator[None]:
    try:
        yield
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        if proxy is None:
            raise
        raise ServerUnreachable(
            f"the proxy {proxy}, which the environment names ({error})",
            expected="a proxy of http or https",
            action="correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name this server in NO_PROXY",
            code="proxy_unusable",
        ) from error


class HttpxTransport:
    """Knows proxies, and the transports that tests hand in."""

    def __init__(
        self,
        session: httpx.Client,
        timeouts: Timeouts,
        clock: Callable[[], float],
        proxy: str | None = None,
    ) -> None:
        self.proxy = proxy
        self._session = session
        self._timeouts = timeouts
        self._clock = clock

    def send(self, target: Target, request_id: str, body: bytes | None = None) -> Answer:
        """One request and its answer.

        Raises:
            httpx.TransportError: if there is no complete answer.
            ServerUnreachable: if the answer is too large.
        """
        deadline = self._clock() + self._timeouts.total_s
        request = target.request(request_id, body, self._timeouts)
        response = self._session.send(request, stream=True)

        def in_time() -> Iterator[bytes]:
            for chunk in response.iter_bytes():
                yield chunk
                if self._clock() > deadline:
                    raise httpx.ReadTimeout(self._timeouts.exceeded)

        try:
            content = join_body(in_time(), target.url)
        finally:
            response.close()
        return Answer(response.status_code, response.headers, content, self.proxy)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def abandon(self) -> None:
        """Leave them alone: httpx takes locks that another thread may have held at the fork."""
