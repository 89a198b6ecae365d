"""The two things that a worker asks its gateway: a version's card, and to take results."""

from __future__ import annotations

from typing import Any, Protocol

import httpx

from forcegate_client.answers import Answer, check_status, error_of_transport, read_json
from forcegate_client.connection import Connection, Timeouts
from forcegate_client.retry import RetryPolicy, Waiter
from forcegate_client.transport import environment_for, proxy_of
from forcegate_service.monitoring.shadow_results import ShadowReceipt, ShadowResults

__all__ = ["Gateway", "HttpGateway"]


class Gateway(Protocol):
    """Who put the structures aside."""

    def card(self, model: str, version: str) -> dict[str, Any]:
        """The card of a version.

        Raises:
            ForcegateError: ``ModelNotFound`` if it is not served, or what keeps the answer away.
        """

    def report(self, results: ShadowResults) -> ShadowReceipt:
        """Hand in results.

        Raises:
            ForcegateError: if they were not taken.
        """


class HttpGateway:
    """A gateway at a URL; the key comes from ``FORCEGATE_API_KEY``. ``transport`` is for tests."""

    def __init__(
        self,
        url: str,
        *,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection.resolve(url)
        self._waiter = Waiter(retry or RetryPolicy())
        self._answered = False
        timeout = httpx.Timeout(Timeouts().read_s, connect=Timeouts().connect_s)
        self._session = httpx.Client(
            headers=self._connection.headers(),
            timeout=timeout,
            transport=transport,
            **environment_for(self._connection.url),
        )

    def card(self, model: str, version: str) -> dict[str, Any]:
        """The card of a version, as ``Gateway`` has it."""
        url = self._connection.endpoint(f"/v1/models/{model}").copy_with(
            params={"version": version}
        )
        return read_json(self._send("GET", url))

    def report(self, results: ShadowResults) -> ShadowReceipt:
        """Hand in results, as ``Gateway`` has it.

        If an answer is lost on its way, the second attempt is refused: nothing counts twice.
        """
        url = self._connection.endpoint("/v1/shadow/results")
        answer = self._send("POST", url, results.model_dump_json().encode())
        return ShadowReceipt.model_validate(read_json(answer))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _send(self, method: str, url: httpx.URL, body: bytes | None = None) -> Answer:
        def attempt() -> Answer:
            try:
                response = self._session.request(
                    method, url, content=body, headers={"Content-Type": "application/json"}
                )
            except httpx.TransportError as error:
                raise error_of_transport(error, url, proxy_of(url)) from error
            answer = Answer(response.status_code, response.headers, response.content)
            check_status(answer)
            self._answered = True
            return answer

        return self._waiter.call(attempt, lambda: self._answered)
