"""Requests without httpx, against servers that misbehave in every way that occurs."""

from __future__ import annotations

import os
import socket

import httpx
import pytest
from ase import Atoms
from ase.build import molecule

from forcegate_client.errors import PayloadTooLarge, RuntimeUnavailable, ServerUnreachable
from forcegate_client.http.client import Client
from forcegate_client.http.connection import Timeouts
from forcegate_client.retry import RetryPolicy
from support.loopback import (
    Listener,
    Script,
    answer_to,
    client_of,
    good,
    listening,
    receive,
    resets,
    says,
)

WATER = molecule("H2O")
ONCE = RetryPolicy(first_answer_within_s=0.0)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


def keeps_silent(listener: Listener, connection: socket.socket) -> None:
    receive(connection)
    receive(connection)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (says(), "RemoteProtocolError: Server disconnected without sending a response."),
        (says(b"HTTP/1.1 200 O"), "RemoteProtocolError: Server disconnected without sending"),
        (resets, "ReadError: [Errno 104] Connection reset by peer"),
        (keeps_silent, "ReadTimeout: timed out"),
        (
            says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234"),
            "RemoteProtocolError: peer closed connection without sending complete message body "
            "(received 4 bytes, expected 9)",
        ),
        (
            says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n1234"),
            "RemoteProtocolError: peer closed connection without sending complete message body "
            "(incomplete chunked read)",
        ),
    ],
    ids=["closed", "cut in the head", "reset", "silent", "cut", "cut in a chunk"],
)
def test_a_failure_has_the_same_words_as_through_httpx(script: Script, reason: str) -> None:
    told = []
    for transport in (None, httpx.HTTPTransport()):
        with (
            listening(script) as listener,
            client_of(
                listener, retry=ONCE, timeouts=Timeouts(read_s=0.05), transport=transport
            ) as (client, _),
            pytest.raises(ServerUnreachable) as caught,
        ):
            client.predict(WATER)
        told.append(str(caught.value).replace(listener.url, "URL"))
    assert told[0] == told[1]
    assert reason in told[0]


def test_a_refused_connection_has_the_same_words_as_through_httpx() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        told = set()
        for transport in (None, httpx.HTTPTransport()):
            with (
                Client(url, retry=ONCE, transport=transport) as client,
                pytest.raises(ServerUnreachable, match=r"ConnectError: .* refused") as caught,
            ):
                client.predict(WATER)
            told.add(str(caught.value))
    assert len(told) == 1


@pytest.mark.parametrize(
    "script",
    [says(), resets, says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")],
    ids=["closed", "reset", "cut"],
)
def test_what_may_pass_is_asked_again_on_a_new_connection(script: Script) -> None:
    with listening(script, good) as listener, client_of(listener) as (client, clock):
        assert client.predict(WATER).predictions.energy is not None
    assert listener.connections == 2
    assert len(clock.naps) == 1


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 O", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"]
)
def test_an_answer_that_drips_is_cut_at_the_total_limit(start: bytes) -> None:
    seconds = iter(range(0, 100_000, 10))

    def drip(listener: Listener, connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"0")

    with (
        listening(drip) as listener,
        client_of(
            listener, retry=ONCE, timeouts=Timeouts(total_s=60.0), clock=lambda: next(seconds)
        ) as (client, _),
        pytest.raises(ServerUnreachable, match="no complete answer in 60 s"),
    ):
        client.predict(WATER)


def test_a_small_request_leaves_in_one_piece() -> None:
    first_read = []

    def script(listener: Listener, connection: socket.socket) -> None:
        first_read.append(connection.recv(65536))
        head, body = answer_to(first_read[0])
        connection.sendall(b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))

    with listening(script) as listener, client_of(listener) as (client, _):
        assert client.predict(WATER).predictions.energy is not None
    assert len(first_read) == 1


def test_a_refusal_is_heard_although_the_request_was_not_read() -> None:
    def refuse(listener: Listener, connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

    # More than the buffers of both sockets hold.
    crowd = Atoms("H300000", positions=[[1.0 * i, 0.0, 0.0] for i in range(300_000)])
    with listening(refuse) as listener, client_of(listener) as (client, clock):
        with pytest.raises(PayloadTooLarge):
            client.predict(crowd)
        assert clock.naps == []


def test_large_answers_arrive_whole_and_leave_the_connection_usable() -> None:
    frames = [WATER] * 5000
    with listening(good) as listener, client_of(listener) as (client, _):
        for _ in range(2):
            found = client.predict(frames).predictions
            assert found.forces is not None
            assert found.forces.shape == (15_000, 3)
    assert listener.connections == 1


def test_chunked_answers_and_those_without_a_length_are_understood() -> None:
    def chunked(listener: Listener, connection: socket.socket) -> None:
        head, body = answer_to(receive(connection))
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 100):
            piece = body[start : start + 100]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        head, body = answer_to(receive(connection))
        connection.sendall(head + b"\r\n" + body)

    with listening(chunked) as listener, client_of(listener) as (client, clock):
        first, second = (client.predict(WATER).predictions.energy for _ in range(2))
    assert first == second
    assert clock.naps == []


@pytest.mark.parametrize(
    ("answer", "error", "hint"),
    [
        (b"302 Found\r\nLocation: http://other/\r\n", ServerUnreachable, "http://other/"),
        (b"404 Not Found\r\nContent-Type: text/html\r\n", ServerUnreachable, "path prefix"),
        (b"503 Away\r\nContent-Type: text/html\r\n", ServerUnreachable, "HTTP 503"),
        (b"503 Away\r\nContent-Type: application/problem+json\r\n", RuntimeUnavailable, "gone"),
    ],
)
def test_pages_redirects_and_problems_keep_their_meaning(
    answer: bytes, error: type[Exception], hint: str
) -> None:
    body = b'{"code": "runtime_unavailable", "received": "gone"}'
    page = b"HTTP/1.1 %sContent-Length: %d\r\n\r\n%s" % (answer, len(body), body)
    with (
        listening(says(page)) as listener,
        client_of(listener, retry=RetryPolicy(0.0, 0.0)) as (client, _),
        pytest.raises(error, match=hint),
    ):
        client.predict(WATER)
    assert listener.connections == 1


def test_the_head_of_a_request_holds_prefix_host_password_and_key() -> None:
    with listening(good) as listener:
        address = listener.url.removeprefix("http://")
        with Client(f"http://me:hunter2%21@{address}/pre/fix/", "fg_key") as client:
            client.predict(WATER)
        with Client(listener.url, " fg_key\n") as client:
            assert client.ready()
    first, second = (
        request.partition(b"\r\n\r\n")[0].split(b"\r\n") for request in listener.requests
    )
    assert first[:2] == [b"POST /pre/fix/v1/predict HTTP/1.1", b"Host: " + address.encode()]
    assert b"Authorization: Basic bWU6aHVudGVyMiE=" in first
    assert second[0] == b"GET /health/ready HTTP/1.1"
    assert b"Authorization: Bearer fg_key" in second


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python knows no IPv6")
def test_a_host_may_be_an_ipv6_address() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with listening(good, host="::1") as listener, client_of(listener) as (client, _):
        assert client.ready()
    assert b"Host: [::1]:" in listener.requests[0]
