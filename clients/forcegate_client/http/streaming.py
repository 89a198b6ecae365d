"""Answers that are read as they come, over connections of httpx.

A stream lasts minutes or days and asks once, so what a request costs is no matter here. Nobody
reads ahead: what the reader does not take waits in the connection, and the server with it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import httpx

from forcegate_client.http.answers import Answer, error_of_transport
from forcegate_client.http.connection import Timeouts
from forcegate_client.http.steps import Open
from forcegate_client.http.transport import environment_for, proxy_of

__all__ = ["AsyncHttpStream", "HttpStream"]


class HttpStream:
    """An answer from a connection of its own."""

    def __init__(
        self, step: Open, timeouts: Timeouts, given: httpx.BaseTransport | None = None
    ) -> None:
        """Send the request, and wait for the head of its answer.

        Raises:
            Transient, ForcegateError: if there is none.
        """
        self._url = step.target.url
        self._proxy = None if given is not None else proxy_of(self._url)
        self._owns_session = given is None
        self._session = httpx.Client(
            **({"transport": given} if given is not None else environment_for(self._url))
        )
        request = step.target.request(step.request_id, step.body, timeouts)
        try:
            with _telling(self._url, self._proxy):
                self._response = self._session.send(request, stream=True)
        except BaseException:
            self._let_go()
            raise
        self._pieces: Iterator[bytes] = self._response.iter_bytes()
        self.head = _head(self._response, self._proxy)

    def read(self) -> bytes:
        """What came next; nothing at the end.

        Raises:
            Transient: if the connection ended before the answer did.
        """
        with _telling(self._url, self._proxy):
            return next(filter(None, self._pieces), b"")

    def close(self) -> None:
        """End the connection."""
        self._response.close()
        self._let_go()

    def _let_go(self) -> None:
        # A transport that was given is its owner's.
        if self._owns_session:
            self._session.close()


class AsyncHttpStream:
    """The same on an event loop, over a session's connections; ``release`` is called at its end."""

    def __init__(
        self, response: httpx.Response, proxy: str | None, release: Callable[[], None]
    ) -> None:
        self._response = response
        self._proxy = proxy
        self._release = release
        self._pieces: AsyncIterator[bytes] = response.aiter_bytes()
        self.head = _head(response, proxy)

    @classmethod
    async def open(
        cls,
        step: Open,
        timeouts: Timeouts,
        session: httpx.AsyncClient,
        proxy: str | None,
        acquire: Callable[[], Awaitable[object]],
        release: Callable[[], None],
    ) -> AsyncHttpStream:
        """Send the request once ``acquire`` allows it, and wait for the head of its answer.

        Raises:
            Transient, ForcegateError: if there is none.
        """
        await acquire()
        try:
            request = step.target.request(step.request_id, step.body, timeouts)
            with _telling(step.target.url, proxy):
                response = await session.send(request, stream=True)
        except BaseException:
            release()
            raise
        return cls(response, proxy, release)

    async def read(self) -> bytes:
        """What came next; nothing at the end.

        Raises:
            Transient: if the connection ended before the answer did.
        """
        with _telling(self._response.url, self._proxy):
            async for piece in self._pieces:
                if piece:
                    return piece
        return b""

    async def close(self) -> None:
        """End the connection."""
        try:
            await self._response.aclose()
        finally:
            self._release()


def _head(response: httpx.Response, proxy: str | None) -> Answer:
    return Answer(response.status_code, response.headers, b"", proxy)


@contextmanager
def _telling(url: httpx.URL, proxy: str | None) -> Iterator[None]:
    """Failures of the connection come out in our words."""
    try:
        yield
    except httpx.TransportError as error:
        raise error_of_transport(error, url, proxy) from error
    except httpx.DecodingError as error:
        raise error_of_transport(httpx.RemoteProtocolError(str(error)), url, proxy) from error
