"""A synchronous client of one forcegate server: predictions over msgpack, models, readiness."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import httpx
from ase import Atoms

from forcegate_client.errors import ForcegateError, ServerUnreachable, WrongAnswer
from forcegate_client.http.answers import Answer, error_of_transport, read_json
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.exchange import (
    asked,
    card_in,
    models_in,
    page,
    predict_target,
    prediction_in,
)
from forcegate_client.http.http1 import Target
from forcegate_client.http.splitting import predict_in_parts
from forcegate_client.http.transport import Transport, open_transport
from forcegate_client.http.verification import blaming, check_answer, new_request_id
from forcegate_client.messages import OnError, PredictRequest, PredictResponse
from forcegate_client.retry import RetryPolicy, Transient, Waiter
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import encode_request

__all__ = ["Client"]


class Client:
    """Talks to a forcegate server; one instance may be shared by threads and survives ``fork``.

    URL and key come from the arguments or ``FORCEGATE_URL`` and ``FORCEGATE_API_KEY``; proxies and
    certificates from the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, …). What
    may pass by itself is retried as ``retry`` says: connections that are refused or dropped, and
    the statuses 429, 502, 503 and 504, whoever sends them.
    ``transport``, ``sleep``, ``clock`` and ``jitter`` are seams for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        allow_plain_http: bool | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        self.connection = Connection.resolve(url, api_key, allow_plain_http=allow_plain_http)
        self.timeouts = timeouts or Timeouts()
        waiter = Waiter(retry or RetryPolicy(), sleep, clock)
        self._waiter = waiter if jitter is None else Waiter(waiter.policy, sleep, clock, jitter)
        self._given = transport
        self._answered = False
        # One for each process: after a fork, parent and child would read their answers from the
        # same sockets.
        self._transports: dict[int, Transport] = {}
        self._predict_target = predict_target(self.connection, self.timeouts)

    def __repr__(self) -> str:
        return f"Client({str(self.connection)!r})"

    def predict(
        self,
        structures: StructureBatch | Atoms | Sequence[Atoms],
        model: str = "painn_base",
        version: str | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        on_error: OnError = "raise",
        ids: Sequence[str] | None = None,
    ) -> PredictResponse:
        """Energies, forces, stresses and uncertainties of structures, in their order.

        ``properties`` may name ``energy``, ``forces``, ``stress`` and ``uncertainty``. A batch
        that the server finds too large is halved until it fits. With ``on_error="partial"``
        structures that cannot be computed become problem documents in
        ``response.predictions.problems``; shapes and units are those of ``Predictions``.

        Raises:
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        question = asked(structures, model, version, properties, on_error, ids)
        return question.answered(predict_in_parts(question.request, self._predict_once))

    def models(self) -> list[dict[str, Any]]:
        """What the server offers: one entry for each model."""
        return models_in(self._get("/v1/models"))

    def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one."""
        return card_in(
            self._get(f"/v1/models/{quote(name, safe='')}", version=version), name, version
        )

    def ready(self) -> bool:
        """Whether the server would answer a prediction now; asks once, without retries."""
        try:
            self._send(page(self.connection, "/health/ready"))
        except (Transient, ForcegateError):
            return False
        return True

    def send_report(self, path: str, body: bytes) -> None:
        """Post a JSON document that nothing depends on; one attempt, whatever comes of it.

        Raises:
            Transient: if another attempt may succeed.
            ForcegateError: if not.
        """
        self._send(self._json_to(path), body)

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """Post a JSON document, retried as all requests are, and return the one that answers it.

        Raises:
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        return read_json(self._with_retries(self._json_to(path), body))

    def twin(self, timeouts: Timeouts) -> Client:
        """A client of the same server with other limits and with connections of its own."""
        other = copy.copy(self)
        other.timeouts = timeouts
        return other

    @property
    def owns_transport(self) -> bool:
        """Whether ``close`` ends nothing that somebody else may be using."""
        return self._given is None

    def close(self) -> None:
        """Close the connections; the client opens new ones if it is used again."""
        transport = self._transports.pop(os.getpid(), None)
        if transport is not None:
            transport.close()

    def __getstate__(self) -> dict[str, Any]:
        # Copies and other processes make connections of their own.
        return self.__dict__ | {"_transports": {}}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict_once(self, request: PredictRequest) -> PredictResponse:
        body = encode_request(request)
        try:
            with blaming(request):
                answer = self._with_retries(self._predict_target, body)
            return prediction_in(answer, self._predict_target, request)
        except WrongAnswer:
            self._distrust()
            raise

    def _json_to(self, path: str) -> Target:
        headers = {**self.connection.headers(), "Content-Type": "application/json"}
        return Target("POST", self.connection.endpoint(path), headers)

    def _get(self, path: str, **query: str | None) -> Answer:
        return self._with_retries(page(self.connection, path, **query))

    def _with_retries(self, target: Target, body: bytes | None = None) -> Answer:
        return self._waiter.call(lambda: self._send(target, body), lambda: self._answered)

    def _send(self, target: Target, body: bytes | None = None) -> Answer:
        """One attempt.

        Raises:
            Transient: if another attempt may succeed.
            ForcegateError: if not.
        """
        request_id = new_request_id()
        transport = self._transport()
        try:
            answer = transport.send(target, request_id, body)
        except httpx.TransportError as error:
            raise error_of_transport(error, target.url, transport.proxy) from error
        try:
            check_answer(answer, request_id, body, target.url)
        except Transient as failure:
            # A proxy may speak for a server that is away; only the server itself counts as one.
            self._answered |= not isinstance(failure.error, ServerUnreachable)
            raise
        except WrongAnswer:
            self._distrust()
            raise
        self._answered = True
        return answer

    def _distrust(self) -> None:
        """Ask nobody again on connections that have given a wrong answer."""
        if self.owns_transport:
            self.close()

    def _transport(self) -> Transport:
        process = os.getpid()
        transport = self._transports.get(process)
        if transport is None:
            for other in self._transports.keys() - {process}:
                inherited = self._transports.pop(other, None)
                if inherited is not None:
                    inherited.abandon()
            fresh = open_transport(
                self.connection.url, self.timeouts, self._waiter.clock, self._given
            )
            # Atomic: threads that arrive together agree on one.
            transport = self._transports.setdefault(process, fresh)
        return transport
