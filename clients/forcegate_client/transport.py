"""How requests travel: over connections of our own, or through httpx where a proxy has a say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.request import getproxies, proxy_bypass

import httpx

from forcegate_client.answers import Answer
from forcegate_client.connection import Timeouts
from forcegate_client.direct import KEEPALIVE_EXPIRY_S, DirectTransport
from forcegate_client.http1 import Target, join_body

__all__ = ["HttpxTransport", "Transport", "has_proxy", "open_transport"]


class Transport(Protocol):
    """Sends requests to one server, for one process; may be shared by threads."""

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
    """The cheapest way to ``url``; ``given`` is used if there is one."""
    if given is None and not has_proxy(url):
        return DirectTransport(url, timeouts, clock)
    return HttpxTransport(timeouts, clock, given)


def has_proxy(url: httpx.URL) -> bool:
    """Whether a proxy may stand before ``url``, as the standard library reads the environment.

    httpx, which is asked where one may, has the last word: it knows more forms of ``NO_PROXY``.
    """
    proxies = getproxies()
    configured = proxies.get(url.scheme) or proxies.get("all")
    return bool(configured) and not proxy_bypass(url.netloc.decode("ascii"))


class HttpxTransport:
    """Knows proxies, and the transports that tests hand in."""

    def __init__(
        self,
        timeouts: Timeouts,
        clock: Callable[[], float],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._session = httpx.Client(
            transport=transport,
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_EXPIRY_S),
            trust_env=True,
        )
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
        return Answer(response.status_code, response.headers, content)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()

    def abandon(self) -> None:
        """Leave them alone: httpx takes locks that another thread may have held at the fork."""
