"""An asynchronous client of one forcegate server, for programs that run on an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx
from ase import Atoms

from forcegate_client.errors import ForcegateError, ServerUnreachable, WrongAnswer
from forcegate_client.http.answers import Answer, error_of_transport
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.exchange import (
    asked,
    card_in,
    models_in,
    page,
    predict_target,
    prediction_in,
)
from forcegate_client.http.http1 import Body, Target
from forcegate_client.http.splitting import predict_in_parts_async
from forcegate_client.http.transport import open_async
from forcegate_client.http.verification import blaming, check_answer, new_request_id
from forcegate_client.messages import OnError, PredictRequest, PredictResponse
from forcegate_client.retry import AsyncWaiter, RetryPolicy, Transient
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import encode_request

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
        waiter = AsyncWaiter(retry or RetryPolicy(), sleep, clock)
        self._waiter = (
            waiter if jitter is None else AsyncWaiter(waiter.policy, sleep, clock, jitter)
        )
        self._connections = connections
        self._given = transport
        self._answered = False
        self._session: _Session | None = None
        self._predict_target = predict_target(self.connection, self.timeouts)

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
        question = asked(structures, model, version, properties, on_error, ids)
        return question.answered(await predict_in_parts_async(question.request, self._predict_once))

    async def models(self) -> list[dict[str, Any]]:
        """What the server offers: one entry for each model."""
        return models_in(await self._get("/v1/models"))

    async def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one."""
        path = f"/v1/models/{quote(name, safe='')}"
        return card_in(await self._get(path, version=version), name, version)

    async def ready(self) -> bool:
        """Whether the server would answer a prediction now; asks once, without retries."""
        try:
            await self._send(page(self.connection, "/health/ready"))
        except (Transient, ForcegateError):
            return False
        return True

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

    async def _predict_once(self, request: PredictRequest) -> PredictResponse:
        body = encode_request(request)
        try:
            with blaming(request):
                answer = await self._with_retries(self._predict_target, body)
            return prediction_in(answer, self._predict_target, request)
        except WrongAnswer:
            await self._distrust()
            raise

    async def _get(self, path: str, **query: str | None) -> Answer:
        return await self._with_retries(page(self.connection, path, **query))

    async def _with_retries(self, target: Target, body: bytes | None = None) -> Answer:
        return await self._waiter.call(lambda: self._send(target, body), lambda: self._answered)

    async def _send(self, target: Target, body: bytes | None = None) -> Answer:
        """One attempt.

        Raises:
            Transient: if another attempt may succeed.
            ForcegateError: if not.
        """
        session = self._open()
        request_id = new_request_id()
        async with session.places:
            try:
                async with asyncio.timeout(self.timeouts.total_s):
                    answer = await self._exchange(session, target, request_id, body)
            except TimeoutError as error:
                late = httpx.ReadTimeout(self.timeouts.exceeded)
                raise error_of_transport(late, target.url, session.proxy) from error
            except httpx.TransportError as error:
                raise error_of_transport(error, target.url, session.proxy) from error
        try:
            check_answer(answer, request_id, body, target.url)
        except Transient as failure:
            # A proxy may speak for a server that is away; only the server itself counts as one.
            self._answered |= not isinstance(failure.error, ServerUnreachable)
            raise
        except WrongAnswer:
            await self._distrust()
            raise
        self._answered = True
        return answer

    async def _distrust(self) -> None:
        """Ask nobody again on connections that have given a wrong answer."""
        if self._given is None:
            await self.close()

    async def _exchange(
        self, session: _Session, target: Target, request_id: str, body: bytes | None
    ) -> Answer:
        request = target.request(request_id, body, self.timeouts)
        response = await session.http.send(request, stream=True)
        content = Body(target.url)
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
