"""What a client does while a server is away, saturated or hidden behind a failing proxy."""

from __future__ import annotations

import itertools
import logging
import ssl

import httpx
import pytest
from ase.build import molecule

from forcegate_client.errors import (
    Forbidden,
    ForcegateError,
    InvalidStructure,
    ModelNotFound,
    NotAcceptable,
    RuntimeUnavailable,
    ServerFault,
    ServerUnreachable,
    TooManyRequests,
    Unauthorized,
)
from forcegate_client.http.client import Client
from forcegate_client.retry import PATIENT, RetryPolicy
from forcegate_client.testing import FakeClock, FakeServer, html_page, problem

WATER = molecule("H2O")


def client_of(server: FakeServer, clock: FakeClock, retry: RetryPolicy | None = None) -> Client:
    return Client(
        "http://gateway",
        retry=retry,
        transport=server.transport,
        sleep=clock.sleep,
        clock=clock,
        jitter=lambda: 0.5,
    )


@pytest.mark.parametrize(
    "failure",
    [
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        httpx.ReadError("Connection reset by peer"),
        httpx.ConnectError("Connection refused"),
        httpx.ReadTimeout("timed out"),
        httpx.ProxyError("502 Bad Gateway"),
        html_page(502),
        html_page(503),
        html_page(504),
        problem(RuntimeUnavailable("the runtime is restarting")),
        problem(TooManyRequests("40 s of work are queued")),
    ],
    ids=lambda failure: getattr(failure, "status_code", type(failure).__name__),
)
def test_what_passes_by_itself_is_asked_again(failure: httpx.Response | Exception) -> None:
    server, clock = FakeServer([failure]), FakeClock()
    response = client_of(server, clock).predict(WATER)
    assert response.predictions.energy is not None
    assert len(server.requests) == 2
    assert len(clock.naps) == 1


@pytest.mark.parametrize(
    "error",
    [
        Unauthorized("no key"),
        Forbidden("scope report"),
        ModelNotFound("model 'x'"),
        NotAcceptable("text/plain"),
        InvalidStructure("two atoms 0.1 Å apart", code="atoms_too_close", structure=0),
        ServerFault("a defect"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_other_failures_are_raised_at_once_as_the_servers_class(error: ForcegateError) -> None:
    server, clock = FakeServer([problem(error)]), FakeClock()
    with pytest.raises(type(error)) as caught:
        client_of(server, clock).predict(WATER)
    assert type(caught.value) is type(error)
    assert (caught.value.code, caught.value.received) == (error.code, error.received)
    assert caught.value.structure == error.structure
    assert clock.naps == []


def test_the_wait_that_a_busy_server_asks_for_is_kept_and_never_shortened() -> None:
    busy = problem(TooManyRequests("work queued", retry_after_s=7.25))
    server, clock = FakeServer([busy]), FakeClock()
    client_of(server, clock).predict(WATER)
    assert 7.25 <= clock.naps[0] <= 7.25 * 1.1


def test_a_retry_after_header_of_a_proxy_is_honoured() -> None:
    server, clock = FakeServer([html_page(503, {"Retry-After": "3"})]), FakeClock()
    client_of(server, clock).predict(WATER)
    assert 3.0 <= clock.naps[0] <= 3.3


def test_a_retry_after_date_is_understood() -> None:
    past = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    server, clock = FakeServer([html_page(503, past)]), FakeClock()
    client_of(server, clock).predict(WATER)
    assert clock.naps == [0.0]


def test_pauses_grow_and_are_bounded() -> None:
    policy = RetryPolicy(first_delay_s=0.1, longest_delay_s=2.0)
    pauses = [policy.delay_s(n, None, jitter=0.999) for n in range(1, 2000)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 0.1
    assert pauses[-1] <= 2.0
    assert policy.delay_s(1, None, jitter=0.0) < pauses[0]


def test_the_last_error_is_raised_when_time_is_up() -> None:
    server, clock = FakeServer(), FakeClock()
    client = client_of(server, clock, RetryPolicy(give_up_after_s=20.0))
    client.predict(WATER)
    server.script = [problem(TooManyRequests("work queued", retry_after_s=8.0)) for _ in range(9)]
    with pytest.raises(TooManyRequests, match="work queued"):
        client.predict(WATER)
    assert clock.now <= 20.0


def test_a_mistyped_url_is_an_error_within_a_minute_even_for_patient_clients() -> None:
    refused = itertools.repeat(httpx.ConnectError("Name or service not known"))
    server, clock = FakeServer(list(itertools.islice(refused, 500))), FakeClock()
    with pytest.raises(ServerUnreachable, match="http://gateway/v1/predict"):
        client_of(server, clock, PATIENT).predict(WATER)
    assert clock.now <= 60.0


def test_a_patient_client_never_gives_up_and_says_so_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, clock = FakeServer(), FakeClock()
    client = client_of(server, clock, PATIENT)
    client.predict(WATER)

    def two_hours_away(request: httpx.Request) -> httpx.Response:
        if clock.now < 7200.0:
            server.script.append(two_hours_away)
            raise httpx.ConnectError("Connection refused")
        return server.answer(request)

    server.script = [two_hours_away]
    with caplog.at_level(logging.WARNING, "forcegate"):
        client.predict(WATER)
    waiting = [record for record in caplog.records if "still waiting" in record.message]
    assert 115 <= len(waiting) <= 121
    assert "Connection refused" in waiting[0].message
    assert "answered after 720" in caplog.records[-1].message


def test_a_certificate_that_is_not_trusted_is_not_tried_again() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        try:
            raise ssl.SSLCertVerificationError(1, "self-signed certificate")
        except ssl.SSLError as error:
            raise httpx.ConnectError(str(error)) from error

    server, clock = FakeServer([refuse]), FakeClock()
    with pytest.raises(ServerUnreachable, match="SSL_CERT_FILE"):
        client_of(server, clock, PATIENT).predict(WATER)
    assert clock.naps == []


@pytest.mark.parametrize(
    ("page", "hint"),
    [
        (html_page(404), "path prefix"),
        (httpx.Response(301, headers={"Location": "https://gateway/"}), "https://gateway/"),
        (httpx.Response(200, html="<html>Sign in</html>"), "forcegate server"),
    ],
)
def test_pages_of_other_servers_are_told_from_answers(page: httpx.Response, hint: str) -> None:
    with pytest.raises(ServerUnreachable, match=hint):
        client_of(FakeServer([page]), FakeClock()).predict(WATER)


def test_a_proxys_own_401_is_unauthorized() -> None:
    with pytest.raises(Unauthorized):
        client_of(FakeServer([html_page(401)]), FakeClock()).predict(WATER)
