"""The two things that a worker asks its gateway: a version's card, and to take results."""

from __future__ import annotations

from typing import Any, Protocol

from forcegate_client.http.client import Client
from forcegate_client.retry import RetryPolicy
from forcegate_service.watch.shadow.results import ShadowReceipt, ShadowResults

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
    """A gateway at a URL; the key comes from ``FORCEGATE_API_KEY``."""

    def __init__(self, url: str, *, retry: RetryPolicy | None = None) -> None:
        self._client = Client(url, retry=retry)

    def card(self, model: str, version: str) -> dict[str, Any]:
        """The card of a version, as ``Gateway`` has it."""
        return self._client.model(model, version)

    def report(self, results: ShadowResults) -> ShadowReceipt:
        """Hand in results, as ``Gateway`` has it.

        If an answer is lost on its way, the second attempt is refused: nothing counts twice.
        """
        answer = self._client.post("/v1/shadow/results", results.model_dump_json().encode())
        return ShadowReceipt.model_validate(answer)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
