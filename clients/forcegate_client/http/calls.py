"""What a client asks of a server, step by step: requests, retries, halved batches, all checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from ase import Atoms

from forcegate_client.errors import (
    ForcegateError,
    MethodNotAllowed,
    ModelNotFound,
    ServerUnreachable,
    WrongAnswer,
)
from forcegate_client.http.answers import Answer, read_json
from forcegate_client.http.connection import Connection, Timeouts
from forcegate_client.http.course import Course
from forcegate_client.http.exchange import (
    asked,
    card_in,
    cut_off,
    models_in,
    page,
    predict_target,
    prediction_in,
    readable,
    require_type,
    runs_target,
)
from forcegate_client.http.http1 import Body, Target
from forcegate_client.http.splitting import in_parts
from forcegate_client.http.steps import (
    Close,
    Distrust,
    Emit,
    Flow,
    Open,
    Pause,
    Read,
    Send,
    Stream,
)
from forcegate_client.http.verification import blaming, check_answer, new_request_id
from forcegate_client.messages import OnError, PredictRequest, PredictResponse
from forcegate_client.retry import Attempts, RetryPolicy, Transient
from forcegate_client.runs import RunRequest, RunSummary
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import encode_request
from forcegate_client.wire.run_records import RECORDS, RecordReader
from forcegate_client.wire.run_request import encode_run

__all__ = ["Calls"]


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

    def knows(self, path: str) -> Flow[bool]:
        """Whether the server has a route that something is posted to."""
        try:
            yield from self._get(path)
        except MethodNotAllowed:
            return True
        except ModelNotFound:
            return False
        return False

    def stream(self, request: RunRequest) -> Flow[None]:
        """As ``Client.stream``."""
        course = Course(request)
        attempts = self._attempts()
        while not course.done:
            frames = course.frames
            try:
                yield from self._follow(course, attempts)
            except Transient as failure:
                if course.frames > frames:
                    attempts = self._attempts()
                yield Pause(attempts.pause_s(failure, self.answered))
            except WrongAnswer:
                yield Distrust()
                raise

    def _follow(self, course: Course, attempts: Attempts) -> Flow[None]:
        """One attempt; emits records up to the summary.

        Raises:
            Transient: if another attempt may go on from there.
            ForcegateError: if not.
        """
        request = course.ask()
        target, body = runs_target(self.connection, request.task), encode_run(request)
        request_id = new_request_id()
        stream: Stream = yield Open(target, request_id, body)
        try:
            answer = stream.head
            if not 200 <= answer.status < 300:
                content = Body(target.url)
                while piece := (yield Read(stream)):
                    content.add(piece)
                answer = replace(answer, content=content.whole())
            try:
                self._check(answer, request_id, body, target)
            except ForcegateError as error:
                course.blame(error)
                raise
            require_type(answer, RECORDS, target)
            attempts.succeeded()
            reader, summary = RecordReader(RECORDS), None
            while not isinstance(summary, RunSummary):
                piece = yield Read(stream)
                if not piece:
                    raise cut_off(target)
                with readable():
                    records = list(reader.feed(piece))
                for record in records:
                    summary = record
                    shown = course.take(record)
                    if shown is not None:
                        yield Emit(shown)
        finally:
            yield Close(stream)

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
        attempts = self._attempts()
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
            self._check(answer, request_id, body, target)
        except WrongAnswer:
            yield Distrust()
            raise
        return answer

    def _attempts(self) -> Attempts:
        return Attempts(self.policy, self.clock, self.jitter)

    def _check(self, answer: Answer, request_id: str, body: bytes | None, target: Target) -> None:
        """As ``check_answer``; notes whether it is the server that has answered."""
        try:
            check_answer(answer, request_id, body, target.url)
        except Transient as failure:
            # A proxy may speak for a server that is away; only the server itself counts as one.
            self.answered |= not isinstance(failure.error, ServerUnreachable)
            raise
        self.answered = True
