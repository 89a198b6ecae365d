"""What a client asks of a server, step by step, whatever carries the steps out.

A call is a generator: it yields what is to be done, takes the answer or the error, and returns what
the caller gets. Requests, retries, halved batches and all checks stand here once; a client with an
event loop and one without differ in how they send and wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from ase import Atoms

from forcegate_client.errors import ForcegateError, ServerUnreachable, WrongAnswer
from forcegate_client.http.answers import Answer, read_json
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
from forcegate_client.http.splitting import in_parts
from forcegate_client.http.verification import blaming, check_answer, new_request_id
from forcegate_client.messages import OnError, PredictRequest, PredictResponse
from forcegate_client.retry import Attempts, RetryPolicy, Transient
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import encode_request

__all__ = ["Calls", "Distrust", "Flow", "Pause", "Send", "Step", "run", "run_async"]

T = TypeVar("T")


@dataclass(frozen=True)
class Send:
    """One request; its result is an ``Answer``, or an error if none came."""

    target: Target
    request_id: str
    body: bytes | None


@dataclass(frozen=True)
class Pause:
    """Wait before the next attempt."""

    seconds: float


@dataclass(frozen=True)
class Distrust:
    """Ask nobody again on connections that have given a wrong answer."""


Step = Send | Pause | Distrust
Flow = Generator[Step, Any, T]


@dataclass
class Calls:
    """Everything that is asked of the server at ``connection``."""

    connection: Connection
    timeouts: Timeouts
    policy: RetryPolicy
    clock: Callable[[], float]
    jitter: Callable[[], float]
    # Whether the server has ever answered: before that, a silent one is likely a wrong URL.
    answered: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._predict_target = predict_target(self.connection, self.timeouts)

    def predict(
        self,
        structures: StructureBatch | Atoms | Sequence[Atoms],
        model: str,
        version: str | None,
        properties: Sequence[str],
        on_error: OnError,
        ids: Sequence[str] | None,
    ) -> Flow[PredictResponse]:
        """As ``Client.predict``."""
        question = asked(structures, model, version, properties, on_error, ids)
        return question.answered((yield from in_parts(question.request, self._predict_once)))

    def models(self) -> Flow[list[dict[str, Any]]]:
        """One entry for each model."""
        return models_in((yield from self._get("/v1/models")))

    def model(self, name: str, version: str | None) -> Flow[dict[str, Any]]:
        """The card of a model."""
        path = f"/v1/models/{quote(name, safe='')}"
        return card_in((yield from self._get(path, version=version)), name, version)

    def ready(self) -> Flow[bool]:
        """Whether the server would answer a prediction now; asks once."""
        try:
            yield from self._once(page(self.connection, "/health/ready"))
        except (Transient, ForcegateError):
            return False
        return True

    def send(self, path: str, body: bytes) -> Flow[None]:
        """Post a JSON document once, whatever comes of it."""
        yield from self._once(self._json_to(path), body)

    def post(self, path: str, body: bytes) -> Flow[dict[str, Any]]:
        """Post a JSON document, with retries; the one that answers it."""
        return read_json((yield from self._with_retries(self._json_to(path), body)))

    def _predict_once(self, request: PredictRequest) -> Flow[PredictResponse]:
        body = encode_request(request)
        try:
            with blaming(request):
                answer = yield from self._with_retries(self._predict_target, body)
            return prediction_in(answer, self._predict_target, request)
        except WrongAnswer:
            yield Distrust()
            raise

    def _json_to(self, path: str) -> Target:
        headers = {**self.connection.headers(), "Content-Type": "application/json"}
        return Target("POST", self.connection.endpoint(path), headers)

    def _get(self, path: str, **query: str | None) -> Flow[Answer]:
        return self._with_retries(page(self.connection, path, **query))

    def _with_retries(self, target: Target, body: bytes | None = None) -> Flow[Answer]:
        attempts = Attempts(self.policy, self.clock, self.jitter)
        while True:
            try:
                answer = yield from self._once(target, body)
            except Transient as failure:
                failed = failure
            else:
                attempts.succeeded()
                return answer
            yield Pause(attempts.pause_s(failed, self.answered))

    def _once(self, target: Target, body: bytes | None = None) -> Flow[Answer]:
        """One attempt.

        Raises:
            Transient: if another attempt may succeed.
            ForcegateError: if not.
        """
        request_id = new_request_id()
        answer: Answer = yield Send(target, request_id, body)
        try:
            check_answer(answer, request_id, body, target.url)
        except Transient as failure:
            # A proxy may speak for a server that is away; only the server itself counts as one.
            self.answered |= not isinstance(failure.error, ServerUnreachable)
            raise
        except WrongAnswer:
            yield Distrust()
            raise
        self.answered = True
        return answer


def run(flow: Flow[T], perform: Callable[[Step], Any]) -> T:
    """What ``flow`` returns, each of its steps done by ``perform``."""
    try:
        step = next(flow)
        while True:
            try:
                result = perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]


async def run_async(flow: Flow[T], perform: Callable[[Step], Awaitable[Any]]) -> T:
    """As ``run``, on an event loop."""
    try:
        step = next(flow)
        while True:
            try:
                result = await perform(step)
            except BaseException as error:
                step = flow.throw(error)
            else:
                step = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
