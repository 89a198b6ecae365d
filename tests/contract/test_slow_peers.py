"""Callers who are slow, silent, endless or no callers at all: each is let go, and nobody waits."""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, decode_response, encode_request
from forcegate_service.api.http.connection import Connection
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.raw_http import PATIENCE_S, Peer, RawAnswer, post_head
from support.server_process import connections_possible, footprint, open_files, settled, started

MIB = 1024 * 1024
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
OPEN_LIVE = LIVE[:-2]
WATER = {
    "atomic_numbers": [8, 1, 1],
    "positions": [[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]],
}
PREDICTION = json.dumps({"model": "fake", "structures": [WATER]}).encode()


@pytest.fixture
def impatient(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A gateway that waits half a second for heads and two for whole requests."""
    monkeypatch.setattr(Connection, "head_timeout_s", 0.5)
    settings = Settings(
        model_repository=repository,
        runtime="fake",
        request_timeout_s=2.0,
        max_json_bytes=MIB,
        max_buffered_bytes=100_000,
    )
    with running_gateway(settings) as url:
        yield url
        assert_serves(url)


def until(happens: Callable[[], bool]) -> None:
    """Wait for it; fails if that takes for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def predict(peer: Peer) -> RawAnswer:
    return peer.send(post_head(len(PREDICTION)) + PREDICTION).answer()


def metric(peer: Peer, name: str) -> float:
    """The value of a metric with its labels; 0 if there is none yet."""
    text = peer.send(METRICS).answer().body.decode()
    values = [row.rpartition(" ")[2] for row in text.splitlines() if row.startswith(name + " ")]
    return float(values[0]) if values else 0.0


def admitted(peer: Peer) -> float:
    return metric(peer, "forcegate_admitted_seconds")


def assert_serves(url: str) -> None:
    """A caller with manners gets an answer, and nothing is admitted any more."""
    with Peer(url) as peer:
        answer = predict(peer)
        assert answer.status == 200, answer
        assert json.loads(answer.body)["results"][0]["energy"] > 0.0
        assert admitted(peer) == 0.0


def test_a_head_that_comes_byte_by_byte_loses_its_connection(impatient: str) -> None:
    sent = 0
    with Peer(impatient) as peer, suppress(ConnectionError):
        for byte in OPEN_LIVE + b"X-Padding: " + b"x" * 1000:
            peer.send(bytes([byte]))
            sent += 1
            time.sleep(0.02)
    assert sent < 1000


# What does not come to an end. Some of it follows an answer, or belongs to a request that was
# answered at its beginning, and is nobody's any more.
UPGRADE = OPEN_LIVE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
UNFINISHED = {
    "nothing": b"",
    "half a line": b"GET /health/li",
    "half a head": OPEN_LIVE,
    "half a second head": LIVE + OPEN_LIVE,
    "a line break between two requests": LIVE + b"\r\n",
    "half a body": post_head(100) + b'{"model"',
    "no body": post_head(100),
    "half a chunk": post_head(None) + b"5\r\n{",
    "chunks without an end": post_head(None) + b"2\r\n{}\r\n",
    "a body that waits for a word of the server": (
        post_head(100)[:-2] + b"Expect: 100-continue\r\n\r\n"
    ),
    "half a body that nobody reads": OPEN_LIVE + b"Content-Length: 100\r\n\r\nx",
    "half a chunk that nobody reads": OPEN_LIVE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "half a body of an unknown type": post_head(100, "text/plain") + b"x",
    "half a body that would be too large": post_head(100 * MIB) + b"x",
    "half a body before a websocket": UPGRADE + b"Content-Length: 100\r\n\r\nx",
    "a websocket that says nothing": (
        UPGRADE + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        b"dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ),
}


@pytest.mark.system
def test_who_does_not_come_to_an_end_loses_the_connection(impatient: str) -> None:
    with ExitStack() as stack:
        peers = {name: stack.enter_context(Peer(impatient)) for name in UNFINISHED}
        for name, peer in peers.items():
            peer.send(UNFINISHED[name][:-1])
        # The last byte comes after the answer to what came before, if there is one.
        time.sleep(0.3)
        for name, peer in peers.items():
            with suppress(ConnectionError):
                peer.send(UNFINISHED[name][-1:])
        deadline = time.monotonic() + PATIENCE_S
        while peers and time.monotonic() < deadline:
            peers = {name: peer for name, peer in peers.items() if not peer.is_gone()}
            time.sleep(0.1)
        assert set(peers) == set()


def test_half_a_body_is_refused_when_its_time_is_up(impatient: str) -> None:
    with Peer(impatient) as silent:
        problem = silent.send(post_head(1000) + b'{"model"').answer().problem()
    assert (problem["status"], problem["code"]) == (504, "deadline_exceeded")
    with Peer(impatient) as other:
        assert admitted(other) == 0.0
        assert metric(other, 'forcegate_cancelled_total{reason="deadline"}') == 1.0


@pytest.mark.parametrize("farewell", [Peer.close, Peer.reset], ids=["closed", "reset"])
def test_who_goes_away_in_the_middle_of_a_body_leaves_nothing_behind(
    farewell: Callable[[Peer], None], impatient: str
) -> None:
    gone = 'forcegate_cancelled_total{reason="disconnect"}'
    with Peer(impatient) as other:
        # Together they are more than is held at a time.
        for k in range(20):
            farewell(Peer(impatient).send(post_head(20_000) + b" " * 10_000))
            until(lambda k=k: metric(other, gone) == k + 1)
        assert admitted(other) == 0.0


@pytest.mark.system
def test_chunks_beyond_the_limit_are_refused_and_not_taken_for_ever(impatient: str) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with Peer(impatient) as peer:
        peer.send(post_head(None) + chunk * 17)
        assert peer.answer().problem()["code"] == "body_too_large"
        endless = 1024 * MIB * 8
        assert peer.pour(chunk, at_most=endless) < endless


@pytest.mark.system
def test_a_head_without_an_end_is_not_kept(repository: Path) -> None:
    # With the time that heads have by default, in which a great deal can be sent.
    with running_gateway(Settings(model_repository=repository, runtime="fake")) as url:
        with Peer(url) as peer:
            line = b"X-Padding: " + b"x" * 60_000 + b"\r\n"
            assert peer.send(OPEN_LIVE).pour(line, at_most=64 * MIB) < 64 * MIB
        assert_serves(url)


def test_a_header_of_a_hundred_kilobytes_is_read_or_refused(impatient: str) -> None:
    with Peer(impatient) as peer:
        peer.send(OPEN_LIVE + b"X-Padding: " + b"x" * 100_000 + b"\r\n\r\n")
        assert peer.answer().status in (200, 400, 431)


@pytest.mark.system
def test_an_answer_that_nobody_takes_does_not_keep_its_connection(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Connection.connection_made

    def made_small(self: Connection, transport: asyncio.Transport) -> None:
        # What the system takes for a caller is gone, as far as the server knows.
        made(self, transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    monkeypatch.setattr(Connection, "connection_made", made_small)
    monkeypatch.setattr(Connection, "reader_timeout_s", 0.5, raising=False)
    row = {"atomic_numbers": [6] * 50, "positions": [[0, 0, 1.5 * k] for k in range(50)]}
    body = json.dumps({"model": "fake", "structures": [row] * 200}).encode()
    # With the time that requests have by default: the answer must be a long one.
    with running_gateway(Settings(model_repository=repository, runtime="fake")) as url:
        before = open_files(os.getpid())
        with Peer(url, receive_buffer=4096) as peer:
            peer.send(post_head(len(body)) + body)
            assert peer.glance(12) == b"HTTP/1.1 200"
            until(lambda: open_files(os.getpid()) == before + 1)
        assert_serves(url)


NO_HTTP = {
    "noise": random.Random(0).randbytes(1000),
    "zeros": b"\x00" * 100,
    "an empty line, then noise": b"\r\n\r\n\xff\xfe\r\n\r\n",
    "a hello of TLS": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a request of a proxy": b"CONNECT gateway:80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "two lengths": post_head(3)[:-2] + b"Content-Length: 4\r\n\r\nabcd",
    "a length and chunks": post_head(3)[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": post_head(-1),
    "a length of thousands of digits": post_head(int("9" * 4000)),
    "a chunk of a length that is none": post_head(None) + b"xyz\r\n",
    "a chunk that is larger than all memory": post_head(None) + b"f" * 20 + b"\r\n",
    "letters beyond ASCII in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an address without a path": b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header without a name": OPEN_LIVE + b": x\r\n\r\n",
    "a folded header": OPEN_LIVE + b"X-A: b\r\n c\r\n\x01\r\n\r\n",
}


def test_what_is_no_http_is_told_so_and_loses_its_connection(impatient: str) -> None:
    told = {}
    for name, data in NO_HTTP.items():
        with Peer(impatient) as peer:
            told[name] = peer.send(data).answer().status
            until(peer.is_gone)
    assert told == dict.fromkeys(NO_HTTP, 400)


def test_pipelined_requests_are_answered_in_their_order(impatient: str) -> None:
    requests = []
    for k in range(50):
        body = (PREDICTION, b"{}", b"")[k % 3]
        head = post_head(len(body)) if k % 3 < 2 else LIVE
        requests.append(head[:-2] + f"X-Request-ID: r{k}\r\n\r\n".encode() + body)
    with Peer(impatient) as peer:
        peer.send(b"".join(requests))
        answers = [peer.answer() for _ in requests]
    assert [answer.headers["x-request-id"] for answer in answers] == [f"r{k}" for k in range(50)]
    assert [answer.status for answer in answers] == [(200, 422, 200)[k % 3] for k in range(50)]


# The first crowd leaves behind what the C library keeps of the memory that it had, some 8 kB for
# each connection; the next one has to find it. A leak would cost as much again.
KEPT_OF_A_CROWD = 4 * MIB


@pytest.mark.system
def test_a_thousand_idle_connections_hinder_nobody_and_leave_nothing_behind(
    repository: Path,
) -> None:
    size = connections_possible(1000)
    with started(repository) as (process, url):
        assert_serves(url)
        empty = settled(process)
        _crowd(process, url, size)
        before = settled(process)
        _crowd(process, url, size)
        after = settled(process)
        assert after.files == before.files == empty.files
        assert after.threads == before.threads == empty.threads
        assert after.resident - before.resident < KEPT_OF_A_CROWD
        assert_serves(url)


def _crowd(process: int, url: str, size: int) -> None:
    """So many connections, most of them served once, while somebody else is served."""
    empty = settled(process).files
    with ExitStack() as stack:
        served = [stack.enter_context(Peer(url)) for _ in range(size - size // 10)]
        for peer in served:
            peer.send(LIVE)
        assert {peer.answer().status for peer in served} == {200}
        # These have the time of a head to say something, and come last for that reason.
        for _ in range(size // 10):
            stack.enter_context(Peer(url))
        until(lambda: open_files(process) == empty + size)
        with Peer(url) as other:
            answers = [predict(other) for _ in range(100)]
        assert {answer.status for answer in answers} == {200}
        assert len({str(json.loads(answer.body)["results"]) for answer in answers}) == 1


REQUESTS = 20_000
WARM_UP = 10_000
CALLERS = 50
# 10,000 requests that left 400 bytes each would need as much. What the C library keeps of the
# largest request so far, and the counters of the metrics, are there after the warm-up; what its
# threads keep comes bit by bit and stays at some 5 MB after 20,000 requests.
KEPT_OF_A_SOAK = 4 * MIB


def kinds_of_requests() -> list[tuple[bytes, int]]:
    """Messages and the status that each is answered with; most of them are good."""
    batch = StructureBatch.from_arrays([3], WATER["atomic_numbers"], WATER["positions"])
    binary = encode_request(PredictRequest(batch, "fake"))
    many = json.dumps({"model": "fake", "structures": [WATER] * 100}).encode()

    def post(body: bytes, content_type: str = "application/json") -> bytes:
        return post_head(len(body), content_type) + body

    return [
        *[(post(PREDICTION), 200), (post(binary, MEDIA_TYPE), 200)] * 4,
        (post(many), 200),
        (LIVE.replace(b"/health/live", b"/v1/models/fake"), 200),
        (LIVE.replace(b"/health/live", b"/v1/models/none"), 404),
        (LIVE.replace(b"/health/live", b"/nowhere"), 404),
        (METRICS, 200),
        (post(b"{}"), 422),
        (post(b"[" * 300), 400),
        (post(PREDICTION.replace(b"0.96", b"NaN")), 422),
        (post(PREDICTION.replace(b"0.96", b"0.01")), 422),
        (post(binary[:-9], MEDIA_TYPE), 400),
        (post(binary.replace(b"fake", b"none"), MEDIA_TYPE), 404),
        (post(b"{}", "text/plain"), 415),
    ]


def essence(answer: RawAnswer) -> object:
    """What is the same in every answer to the same request."""
    match answer.headers["content-type"].partition(";")[0]:
        case "application/json":
            return json.loads(answer.body) | {"timing": None}
        case "application/msgpack":
            return decode_response(answer.body).predictions.forces.tolist()
        case "application/problem+json":
            return answer.problem()
    return None


@pytest.mark.system
def test_nothing_grows_over_twenty_thousand_requests(repository: Path) -> None:
    dice = random.Random(0)
    kinds = kinds_of_requests()
    first: dict[bytes, object] = {}
    with started(repository) as (process, url), ExitStack() as stack:
        callers = [stack.enter_context(Peer(url)) for _ in range(CALLERS)]
        before = footprint(process)
        for sent in range(0, REQUESTS, CALLERS):
            if sent == WARM_UP:
                before = settled(process)
            asked = dice.choices(kinds, k=CALLERS)
            for caller, (message, _) in zip(callers, asked, strict=True):
                caller.send(message)
            # Others begin a request and go away.
            farewell = dice.choice([Peer.close, Peer.reset])
            farewell(Peer(url).send(kinds[0][0][: dice.randint(1, 200)]))
            for caller, (message, status) in zip(callers, asked, strict=True):
                answer = caller.answer()
                assert answer.status == status, (message, answer)
                assert essence(answer) == first.setdefault(message, essence(answer))
        after = settled(process)
        assert after.files == before.files
        assert after.threads == before.threads
        assert after.resident - before.resident < KEPT_OF_A_SOAK
        assert admitted(callers[0]) == 0.0
