"""Ten thousand requests made from the gateway's own document: none of them meets a defect.

Schemathesis draws requests that fit the document and requests that do not. Each is sent as it was
drawn and in variants with other headers, methods, paths and bytes, to a gateway with keys in force.
Every answer has to be one that the document promises.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import hypothesis.core
import hypothesis.internal.conjecture.engine
import hypothesis.internal.entropy
import hypothesis.strategies._internal.collections
import hypothesis.strategies._internal.core
import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request
from forcegate_service.api.access.keyfile import create_key
from forcegate_service.api.deadline import TIMEOUT_HEADER
from forcegate_service.api.problems import PROBLEM_TYPE
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from support.raw_http import problem_of
from support.request_variants import ELEMENTS, JSON, WITH_BODY, WITHOUT_BODY, Ask, elsewhere

T = TypeVar("T")

PREDICT = "POST /v1/predict"
# How many requests are drawn for each operation of the document. Those without parameters are
# always drawn alike; their variants differ.
DRAWN = {
    PREDICT: 600,
    "POST /v1/hessian": 200,
    "POST /v1/dynamics": 40,
    "POST /v1/relax": 40,
    "GET /v1/models": 55,
    "GET /v1/models/{name}": 200,
    "GET /v1/models/{name}/report": 55,
    "GET /v1/models/{name}/report/{file}": 55,
    "POST /v1/admin/reload": 55,
    "POST /v1/shadow/results": 200,
    "POST /v1/md/reports": 100,
    # Each that is understood starts a process.
    "POST /v1/structures": 4,
    "GET /health/live": 55,
    "GET /health/ready": 55,
    "GET /metrics": 55,
}
RUNS = {"/v1/dynamics", "/v1/relax"}
# Each is sent as it was drawn and in so many variants.
VARIANTS = 9
# Guards against a gateway that hangs; nothing is timed.
PATIENCE_S = 120.0

ERRORS = Path(__file__).parents[2] / "docs" / "errors.md"
# What is said of a request that cannot be read.
UNREAD = {
    *("malformed_body", "field_missing", "field_unknown", "type_mismatch", "on_error_unknown"),
    "value_out_of_range",
}
# What the header of the caller's patience may lead to, well read or not.
IMPATIENCE = {"request_timeout_invalid", "deadline_exceeded"}


class Gateway:
    """A gateway on an event loop of its own, so that one that hangs does not hang the test.

    ``answered`` counts its answers by status.
    """

    def __init__(self, settings: Settings) -> None:
        self.answered: Counter[int] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._life = gateway_client(settings)
        self._client = self._wait(self._life.__aenter__())

    def answer(self, ask: Ask) -> httpx.Response:
        """What it says to ``ask``; fails if that takes for ever."""
        headers = [(name.encode(), value.encode("latin-1")) for name, value in ask.headers.items()]
        url = f"http://localhost{ask.target}"
        request = httpx.Request(ask.method, url, headers=headers, content=ask.body)
        response = self._wait(self._client.send(request))
        self.answered[response.status_code] += 1
        return response

    def close(self) -> None:
        """End it in good order."""
        self._wait(self._life.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(keys_file: Path) -> str:
    """Opens everything, so that requests get beyond the door."""
    return create_key(keys_file, "an operator", ["predict", "report", "shadow", "admin"])


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, keys_file: Path, key: str
) -> Iterator[Gateway]:
    repository = tmp_path_factory.mktemp("models")
    write_fake_model(repository)
    gateway = Gateway(
        Settings(
            model_repository=repository,
            runtime="fake",
            keys_file=keys_file,
            # Whoever asks for a million steps gets as many as fit.
            run_timeout_s=0.1,
        )
    )
    yield gateway
    gateway.close()


@pytest.fixture(scope="module")
def schemathesis() -> Any:
    """The package, which is kept from changing hypothesis.

    It would have failing examples printed without their values, for all tests of the process.
    """
    with pytest.MonkeyPatch.context() as kept:
        # What is set to itself is put back at the end of the block.
        for module, name in (
            (hypothesis.core, "RepresentationPrinter"),
            (hypothesis.core, "BUFFER_SIZE"),
            (hypothesis.internal.conjecture.engine, "BUFFER_SIZE"),
            (hypothesis.strategies._internal.collections, "BUFFER_SIZE"),
            (hypothesis.strategies._internal.core, "is_first_param_referenced_in_function"),
            (hypothesis.internal.entropy, "register_random"),
        ):
            kept.setattr(module, name, getattr(module, name))
        import schemathesis as package
        from schemathesis.generation.hypothesis import setup

        setup()
    package.openapi.media_type(MEDIA_TYPE, binary_bodies())
    return package


@pytest.fixture(scope="module")
def document(gateway: Gateway, key: str) -> dict[str, Any]:
    """The one that the gateway gives out."""
    found: dict[str, Any] = gateway.answer(Ask("GET", "/openapi.json", bearer(key))).json()
    return found


@pytest.fixture(scope="module")
def operations(schemathesis: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Every operation of the document."""
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config())
    return {found.ok().label: found.ok() for found in schema.get_all_operations()}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@st.composite
def binary_bodies(draw: st.DrawFn) -> bytes:
    """A msgpack request: some rows of atoms, for a model that may exist."""
    counts = draw(st.lists(st.integers(0, 4), max_size=3))
    numbers = [draw(st.sampled_from(ELEMENTS)) for _ in range(sum(counts))]
    positions = np.arange(sum(counts))[:, None] * np.array([[1.5, 0.0, 0.0]])
    batch = StructureBatch.from_arrays(counts, numbers, positions)
    return encode_request(PredictRequest(batch, draw(st.sampled_from(["fake", "default", "none"]))))


def cases(schemathesis: Any, operation: Any) -> st.SearchStrategy[Any]:
    """Requests for ``operation`` that fit the document and, where there can be any, others."""
    strategies = [operation.as_strategy()]
    if operation.path_parameters:
        known = {"name": "fake"}
        if "{file}" in operation.path:
            known["file"] = "report.md"
        strategies.append(operation.as_strategy(path_parameters=known))
    if operation.path_parameters or operation.body:
        negative = schemathesis.GenerationMode.NEGATIVE
        strategies.append(operation.as_strategy(generation_mode=negative))
    return st.one_of(strategies)


def fits(case: Any) -> bool:
    """Whether it was drawn to fit the document."""
    return bool(case.meta.generation.mode.is_positive)


def prepared(case: Any) -> requests.PreparedRequest:
    return requests.Request(**case.as_transport_kwargs(base_url="http://localhost")).prepare()


def ask_of(case: Any, key: str) -> Ask:
    """The request that ``case`` stands for, with the key."""
    request = prepared(case)
    headers = {name.lower(): value for name, value in request.headers.items()} | bearer(key)
    headers.pop("content-length", None)
    body = request.body or b""
    body = body.encode() if isinstance(body, str) else body
    if fits(case) and headers.get("content-type") == JSON:
        body = with_whole_numbers(body)
    return Ask(case.method, request.path_url, headers, body)


def with_whole_numbers(body: bytes) -> bytes:
    """8.0 as 8: an integer to JSON Schema, but not to the gateway, which takes types strictly."""

    def number(text: str) -> float | int:
        value = float(text)
        return int(value) if value.is_integer() else value

    return json.dumps(json.loads(body, parse_float=number)).encode()


class Judge:
    """Says whether an answer is one that the document promises."""

    def __init__(self, schemathesis: Any) -> None:
        from schemathesis.specs.openapi import checks

        self._response = schemathesis.Response
        self._checks = [
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_headers_conformance,
            checks.response_schema_conformance,
        ]

    def as_drawn(self, case: Any, ask: Ask, answer: httpx.Response) -> None:
        """What fits the document is understood, and what does not is refused for that reason."""
        self.documented(case, ask, answer)
        code = answer.json()["code"] if answer.status_code >= 400 else None
        if case.path in RUNS and ask.headers.get("content-type") == MEDIA_TYPE:
            # Of binary bodies the document tells nothing, and those drawn are predictions'.
            assert code is not None, (ask, answer.text)
        elif fits(case):
            assert code not in UNREAD, (ask, answer.text)
        elif case.operation.body:
            # Lists may be too long or too short for the document as well, and a header no number.
            # Results of a teacher are counted before they are read; no other body may say so.
            counted = {"too_many_values"} if case.path == "/v1/shadow/results" else set()
            of_files = {"format_unsupported", "input_unreadable", "unprocessable_request"}
            counted |= of_files if case.path == "/v1/structures" else set()
            counted |= {"property_unknown", "too_many_values"} if case.path in RUNS else set()
            allowed = UNREAD | {"shape_mismatch"} | counted | IMPATIENCE
            assert code in allowed, (ask, answer.text)

    def documented(self, case: Any, ask: Ask, answer: httpx.Response) -> None:
        """Status, type and content are those of the document."""
        self.no_defect(ask, answer)
        response = self._response(
            status_code=answer.status_code,
            headers={name: [value] for name, value in answer.headers.items()},
            content=answer.content,
            request=prepared(case),
            elapsed=0.0,
            verify=False,
            encoding=answer.encoding,
        )
        case.validate_response(response, checks=self._checks)
        if answer.headers.get("content-type") == MEDIA_TYPE:
            decode_response(answer.content)

    def no_defect(self, ask: Ask, answer: httpx.Response) -> None:
        """It is a good answer or a complete problem document."""
        impatient = TIMEOUT_HEADER.lower() in {name.lower() for name in ask.headers}
        assert answer.status_code < 500 or (impatient and answer.status_code == 504), (
            ask,
            answer.text,
        )
        if answer.status_code >= 400 and ask.method != "HEAD":
            problem_of(answer.status_code, answer.headers["content-type"], answer.content)


def ask_all(schemathesis: Any, operation: Any, gateway: Gateway, key: str, drawn: int) -> None:
    """Draw so many requests for ``operation``, send them and their variants, judge the answers."""
    before = gateway.answered.total()
    judge = Judge(schemathesis)
    variants = WITH_BODY if operation.body else WITHOUT_BODY

    @settings(
        max_examples=drawn,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases(schemathesis, operation), seed=st.integers(0, 2**64 - 1))
    def ask(case: Any, seed: int) -> None:
        dice = random.Random(seed)
        plain = ask_of(case, key)
        judge.as_drawn(case, plain, gateway.answer(plain))
        for _ in range(VARIANTS):
            variant = dice.choice(variants)
            other = variant(plain, dice)
            note(other)
            answer = gateway.answer(other)
            if variant is elsewhere:
                judge.no_defect(other, answer)
            else:
                judge.documented(case, other, answer)

    ask()
    sent = gateway.answered.total() - before
    assert sent >= drawn * (1 + VARIANTS), f"only {sent} requests"


def test_every_operation_of_the_document_is_asked_and_ten_thousand_requests_in_all(
    operations: dict[str, Any],
) -> None:
    assert set(operations) == set(DRAWN)
    assert sum(DRAWN.values()) * (1 + VARIANTS) >= 10_000


def test_every_error_in_the_document_is_a_problem_document(document: dict[str, Any]) -> None:
    problem = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    others = {
        (path, method, status)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        for status, response in operation["responses"].items()
        if int(status) >= 400 and response.get("content") != problem
    }
    assert others == set()


def test_the_document_has_every_status_of_a_prediction_that_the_page_of_errors_has(
    document: dict[str, Any],
) -> None:
    rows = re.findall(r"^\| (\d{3}) ", ERRORS.read_text(encoding="utf-8"), re.MULTILINE)
    # The method of an operation is never wrong.
    page = set(rows) - {"405"}
    assert {"401", "413", "504"} <= page
    assert page - set(document["paths"]["/v1/predict"]["post"]["responses"]) == set()


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_pages_about_the_document_are_answered_in_good_order(
    path: str, schemathesis: Any, gateway: Gateway, key: str
) -> None:
    judge = Judge(schemathesis)
    plain = Ask("GET", path, bearer(key))
    assert gateway.answer(plain).status_code == 200
    dice = random.Random(0)
    for _ in range(50):
        other = dice.choice(WITHOUT_BODY)(plain, dice)
        judge.no_defect(other, gateway.answer(other))


@pytest.mark.system
@pytest.mark.parametrize("label", DRAWN)
def test_every_answer_is_one_that_the_document_promises(
    label: str, schemathesis: Any, operations: dict[str, Any], gateway: Gateway, key: str
) -> None:
    ask_all(schemathesis, operations[label], gateway, key, DRAWN[label])


@pytest.mark.parametrize("label", DRAWN)
def test_some_answers_are_those_that_the_document_promises(
    label: str, schemathesis: Any, operations: dict[str, Any], gateway: Gateway, key: str
) -> None:
    ask_all(schemathesis, operations[label], gateway, key, 30 if label == PREDICT else 4)
