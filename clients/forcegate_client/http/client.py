"""A synchronous client of one forcegate server: predictions over msgpack, models, readiness."""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

import httpx
from ase import Atoms

from forcegate_client.http.answers import error_of_transport
from forcegate_client.http.calls import Calls
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.steps import Close, Flow, Open, Pause, Read, Send, Step, each, run
from forcegate_client.http.streaming import HttpStream
from forcegate_client.http.transport import Transport, open_transport
from forcegate_client.messages import OnError, PredictResponse
from forcegate_client.retry import RetryPolicy
from forcegate_client.runs import Record, RunRequest
from forcegate_client.structures import StructureBatch

__all__ = ["Client"]

T = TypeVar("T")


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
        policy = retry or RetryPolicy()
        self._calls = Calls(self.connection, self.timeouts, policy, clock, jitter or random.random)
        self._sleep = sleep
        self._given = transport
        # One for each process: after a fork, parent and child would read their answers from the
        # same sockets.
        self._transports: dict[int, Transport] = {}

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
        return self._run(self._calls.predict(structures, model, version, properties, on_error, ids))

    def models(self) -> list[dict[str, Any]]:
        """What the server offers: one entry for each model."""
        return self._run(self._calls.models())

    def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one."""
        return self._run(self._calls.model(name, version))

    def stream(self, request: RunRequest) -> Generator[Record]:
        """The records of a run on the server: its header, frames and ends, and a summary.

        What is lost with a connection or a server is asked for again from the last frames, and
        comes to the last bit as it would have come; ``retry`` says for how long the server is
        waited for, counted from the last frame. Structures are counted as in ``request``. Whoever
        reads slowly slows the run down; closing the generator ends it.

        Raises:
            WrongAnswer: if what comes does not belong to ``request``.
            DigestChanged: if other weights go on than have begun.
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        return each(self._calls.stream(request), self._perform)

    def knows(self, path: str) -> bool:
        """Whether the server has a route ``path`` that something is posted to."""
        return self._run(self._calls.knows(path))

    def ready(self) -> bool:
        """Whether the server would answer a prediction now; asks once, without retries."""
        return self._run(self._calls.ready())

    def send_report(self, path: str, body: bytes) -> None:
        """Post a JSON document that nothing depends on; one attempt, whatever comes of it.

        Raises:
            Transient: if another attempt may succeed.
            ForcegateError: if not.
        """
        self._run(self._calls.send(path, body))

    def post(self, path: str, body: bytes) -> dict[str, Any]:
        """Post a JSON document, retried as all requests are, and return the one that answers it.

        Raises:
            ForcegateError: the class that the server raised, or ``ServerUnreachable``.
        """
        return self._run(self._calls.post(path, body))

    def twin(self, timeouts: Timeouts) -> Client:
        """A client of the same server with other limits and with connections of its own."""
        other = copy.copy(self)
        other.timeouts = timeouts
        other._calls = copy.copy(self._calls)
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

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._perform)

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Send):
            transport = self._transport()
            try:
                return transport.send(step.target, step.request_id, step.body)
            except httpx.TransportError as error:
                raise error_of_transport(error, step.target.url, transport.proxy) from error
        if isinstance(step, Open):
            return HttpStream(step, self.timeouts, self._given)
        if isinstance(step, Read):
            return step.stream.read()
        if isinstance(step, Close):
            step.stream.close()
        elif isinstance(step, Pause):
            self._sleep(step.seconds)
        elif self.owns_transport:
            self.close()
        return None

    def _transport(self) -> Transport:
        process = os.getpid()
        transport = self._transports.get(process)
        if transport is None:
            for other in self._transports.keys() - {process}:
                inherited = self._transports.pop(other, None)
                if inherited is not None:
                    inherited.abandon()
            fresh = open_transport(
                self.connection.url, self.timeouts, self._calls.clock, self._given
            )
            # Atomic: threads that arrive together agree on one.
            transport = self._transports.setdefault(process, fresh)
        return transport
