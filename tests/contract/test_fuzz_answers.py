"""Answers under attack: what is whole is read bit by bit, the rest is an error of the client's."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from contextlib import suppress

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forcegate_client.errors import ForcegateError
from forcegate_client.http.client import Client
from forcegate_client.messages import Predictions, PredictResponse
from forcegate_client.retry import PATIENT, RetryPolicy
from forcegate_client.structures import StructureBatch
from forcegate_client.testing import FakeClock, FakeServer
from forcegate_client.wire import (
    MEDIA_TYPE,
    decode_response,
    encode_response,
)
from support.broken_messages import DOUBLES, broken, repeated

QUICK = settings(max_examples=150, suppress_health_check=list(HealthCheck))
THOROUGH = settings(max_examples=2000, suppress_health_check=list(HealthCheck))

INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def responses(draw: st.DrawFn) -> PredictResponse:
    """Any response that can be written down."""
    counts = draw(st.lists(st.integers(0, 5), max_size=5))
    size, total = len(counts), sum(counts)
    rows = sorted(draw(st.permutations(range(2 * size)))[:size])
    failed = [row for row in range(2 * size) if row not in rows and draw(st.booleans())]
    shapes = {
        "energy": (size,),
        "forces": (total, 3),
        "stress": (size, 6),
        "energy_uncertainty": (size,),
        "max_novelty": (size,),
    }
    predictions = Predictions(
        index=np.array(rows, dtype=np.int64),
        n_atoms=np.array(counts, dtype=np.int64),
        problems={row: {"code": draw(st.text()), "structure": row} for row in failed},
        warnings={
            row: draw(st.lists(st.text(), max_size=2)) for row in rows if draw(st.booleans())
        },
        **{
            name: repeated(draw, shape, DOUBLES, "f8") if draw(st.booleans()) else None
            for name, shape in shapes.items()
        },
    )
    return PredictResponse(
        model=draw(st.text()),
        version=draw(st.text()),
        digest=draw(st.text()),
        status=draw(st.dictionaries(st.text(), st.text(), max_size=3)),
        predictions=predictions,
        timing=draw(st.dictionaries(st.text(), st.floats(0, 1e9), max_size=3)),
    )


@given(response=responses())
@settings(max_examples=150)
def test_a_response_comes_back_bit_by_bit(response: PredictResponse) -> None:
    body = encode_response(response)
    decoded = decode_response(body)
    assert encode_response(decoded) == body
    for field in dataclasses.fields(Predictions):
        given, found = (getattr(r.predictions, field.name) for r in (response, decoded))
        if isinstance(given, np.ndarray):
            assert (found.dtype, found.shape) == (given.dtype, given.shape)
            assert found.tobytes() == given.tobytes()
        else:
            assert found == given
    same = dataclasses.replace(decoded, predictions=response.predictions)
    assert same == response


def _response() -> bytes:
    """A whole one, with every column."""
    predictions = Predictions(
        index=np.array([0, 2]),
        n_atoms=np.array([1, 2]),
        energy=np.array([0.1, -2.0]),
        forces=np.arange(9.0).reshape(3, 3),
        stress=np.arange(12.0).reshape(2, 6),
        energy_uncertainty=np.array([0.1, 0.2]),
        max_novelty=np.array([1.0, 2.0]),
        problems={1: {"code": "no_atoms"}},
        warnings={2: ["odd"]},
    )
    timing = {"queue_s": 1.0}
    return encode_response(
        PredictResponse("m", "1", "sha256:0", {"md": "approved"}, predictions, timing)
    )


A_RESPONSE = _response()


def is_what_the_format_promises(response: PredictResponse) -> None:
    """Whoever reads it need not look at a type or a length again."""
    found = response.predictions
    assert all(
        isinstance(text, str) for text in (response.model, response.version, response.digest)
    )
    assert all(isinstance(text, str) for pair in response.status.items() for text in pair)
    assert all(isinstance(name, str) for name in response.timing)
    assert all(isinstance(seconds, int | float) for seconds in response.timing.values())
    assert (np.diff(found.index) > 0).all()
    assert (found.index >= 0).all()
    assert (found.n_atoms >= 0).all()
    assert all(isinstance(row, int) and row >= 0 for row in (*found.problems, *found.warnings))
    assert all(isinstance(problem, dict) for problem in found.problems.values())
    for texts in found.warnings.values():
        assert isinstance(texts, list)
        assert all(isinstance(text, str) for text in texts)


def read_in_good_order(body: bytes) -> None:
    """It is refused with an error of the client's own, or it is what the format promises."""
    with suppress(ForcegateError):
        is_what_the_format_promises(decode_response(body))


@given(body=broken(A_RESPONSE, "results"))
@QUICK
def test_some_broken_responses_are_read_in_good_order(body: bytes) -> None:
    read_in_good_order(body)


@pytest.mark.system
@given(body=broken(A_RESPONSE, "results"))
@THOROUGH
def test_thousands_of_broken_responses_are_read_in_good_order(body: bytes) -> None:
    read_in_good_order(body)


# What stands in the problem document or the headers of a server that has lost its mind.
JSON_VALUES = st.sampled_from(
    [None, True, "x", "", -1, 1.5, 10**400, 1e308, math.nan, [], {}, [[1]], "\ud800", "9" * 5000]
)
RETRY_AFTER = [
    *("1", "²", "-1", "nan", "", "9" * 400),
    *("Mon, 1 Jan 99999 00:00:00 GMT", "Mon, 1 Jan 2024 00:00:00 +99999999999999"),
]
PROBLEM_FIELDS = ["status", "code", "received", "expected", "title", "structure", "retry_after_s"]
STATUSES = [200, 204, 302, 400, 401, 413, 418, 422, 429, 429, 500, 502, 503, 503, 504, 599]
TYPES = [
    "application/problem+json",
    "application/problem+json",
    MEDIA_TYPE,
    "text/html",
    "json",
    "²",
]


@st.composite
def strange_answers(draw: st.DrawFn) -> httpx.Response:
    """What may come back for a prediction, from a server or from something before it."""
    problem = draw(st.dictionaries(st.sampled_from(PROBLEM_FIELDS), JSON_VALUES))
    documents = [json.dumps(problem)] * 4 + ["[" * 100_000, "1" * 5000, '{"a":', "[]"]
    bodies = [text.encode() for text in documents] + [b"\xff", b"", A_RESPONSE]
    headers = [("content-type", draw(st.sampled_from(TYPES)))]
    if draw(st.booleans()):
        headers.append(("retry-after", draw(st.sampled_from(RETRY_AFTER))))
    return httpx.Response(
        draw(st.sampled_from(STATUSES)),
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers],
        content=draw(st.sampled_from(bodies)),
    )


def ask_in_good_order(answers: list[httpx.Response], retry: RetryPolicy) -> FakeClock:
    """A client gets these answers before good ones; the clock knows how long it waited."""
    clock = FakeClock()
    server = FakeServer(script=list(answers))
    batch = StructureBatch.from_arrays([1, 1], [6, 6], np.zeros((2, 3)))
    with (
        Client(
            "http://localhost",
            transport=server.transport,
            retry=retry,
            sleep=clock.sleep,
            clock=clock,
        ) as client,
        suppress(ForcegateError),
    ):
        is_what_the_format_promises(client.predict(batch, model="springs"))
    return clock


@pytest.mark.parametrize(
    "examples",
    [pytest.param(100, id="some"), pytest.param(1000, id="many", marks=pytest.mark.system)],
)
def test_whatever_a_server_answers_the_client_raises_an_error_of_its_own(examples: int) -> None:
    @given(answers=st.lists(strange_answers(), min_size=1, max_size=3), patient=st.booleans())
    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    def ask(answers: list[httpx.Response], patient: bool) -> None:
        clock = ask_in_good_order(answers, PATIENT if patient else RetryPolicy())
        # Naps that the system can take.
        assert all(0.0 <= nap < threading.TIMEOUT_MAX for nap in clock.naps)
        assert patient or clock.now <= 60.0

    ask()
