"""An asynchronous client of one forcegate server, for programs that run on an event loop."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx
from ase import Atoms

from forcegate_client.http.answers import Answer, error_of_transport
from forcegate_client.http.calls import Calls
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.http1 import Body
from forcegate_client.http.steps import Close, Open, Pause, Read, Send, Step, each_async, run_async
from forcegate_client.http.streaming import AsyncHttpStream
from forcegate_client.http.transport import open_async
from forcegate_client.messages import OnError, PredictResponse
from forcegate_client.retry import RetryPolicy
from forcegate_client.runs import Record, RunRequest
from forcegate_client.structures import StructureBatch

__all__ = ["AsyncClient"]


@dataclass(frozen=True)
class _Session:
    """Connections of one event loop. ``places`` are requests that may be under way at a time."""

    loop: asyncio.AbstractEventLoop
    http: httpx.AsyncClient
    places: asyncio.Semaphore
    proxy: str | None


class AsyncClient:
    """``Client`` for an event loop: the same methods, arguments, errors and retries.

    Any number of tasks may share one. At most ``connections`` of their requests are under way at a
    time; the others wait for their turn, and no limit of ``timeouts`` runs meanwhile. A task that
    is cancelled ends its request, and the server stops working for it. Everything travels through
    httpx. ``transport``, ``sleep``, ``clock`` and ``jitter`` are seams for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        allow_plain_http: bool | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        connections: int = 64,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self.connection = Connection.resolve(url, api_key, allow_plain_http=allow_plain_http)
        self.timeouts = timeouts or Timeouts()
        policy = retry or RetryPolicy()
        self._calls = Calls(self.connection, self.timeouts, policy, clock, jitter or random.random)
        self._sleep = sleep
        self._connections = connections
        self._given = transport
        self._session: _Session | None = None

    def __repr__(self) -> str:
        return f"AsyncClient({str(self.connection)!r})"

    async def predict(
        self,
        structures: StructureBatch | Atoms | Sequence[Atoms],
        model: str = "painn_base",
        version: str | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        on_error: OnError = "raise",
        ids: Sequence[str] | None = None,
    ) -> PredictResponse:
        """As ``Client.predict``.

        Raises:
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        flow = self._calls.predict(structures, model, version, properties, on_error, ids)
        return await run_async(flow, self._perform)

    async def models(self) -> list[dict[str, Any]]:
        """What the server offers: one entry for each model."""
        return await run_async(self._calls.models(), self._perform)

    async def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one."""
        return await run_async(self._calls.model(name, version), self._perform)

    def stream(self, request: RunRequest) -> AsyncGenerator[Record]:
        """As ``Client.stream``. A run is a request that is under way until its end.

        Raises:
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        return each_async(self._calls.stream(request), self._perform)

    async def knows(self, path: str) -> bool:
        """Whether the server has a route ``path`` that something is posted to."""
        return await run_async(self._calls.knows(path), self._perform)

    async def ready(self) -> bool:
        """Whether the server would answer a prediction now; asks once, without retries."""
        return await run_async(self._calls.ready(), self._perform)

    async def close(self) -> None:
        """Close the connections; the client opens new ones if it is used again."""
        session, self._session = self._session, None
        # Those of a loop that has ended went with it.
        if session is not None and session.loop is asyncio.get_running_loop():
            await session.http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            return await self._send(step)
        if isinstance(step, Open):
            session = self._open()
            places = session.places
            return await AsyncHttpStream.open(
                *(step, self.timeouts, session.http, session.proxy),
                *(places.acquire, places.release),
            )
        if isinstance(step, Read):
            return await step.stream.read()
        if isinstance(step, Close):
            await step.stream.close()
        elif isinstance(step, Pause):
            await self._sleep(step.seconds)
        elif self._given is None:
            await self.close()
        return None

    async def _send(self, step: Send) -> Answer:
        session, url = self._open(), step.target.url
        async with session.places:
            try:
                async with asyncio.timeout(self.timeouts.total_s):
                    return await self._exchange(session, step)
            except TimeoutError as error:
                late = httpx.ReadTimeout(self.timeouts.exceeded)
                raise error_of_transport(late, url, session.proxy) from error
            except httpx.TransportError as error:
                raise error_of_transport(error, url, session.proxy) from error

    async def _exchange(self, session: _Session, step: Send) -> Answer:
        request = step.target.request(step.request_id, step.body, self.timeouts)
        response = await session.http.send(request, stream=True)
        content = Body(step.target.url)
        try:
            async for piece in response.aiter_bytes():
                content.add(piece)
        except httpx.DecodingError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, content.whole(), session.proxy)

    def _open(self) -> _Session:
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.loop is not loop:
            http, proxy = open_async(self.connection.url, self._connections, self._given)
            places = asyncio.Semaphore(self._connections)
            self._session = _Session(loop, http, places, proxy)
        return self._session
