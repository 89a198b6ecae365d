"""Small predictions take a short way through the gateway, and nobody can tell but by the time."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, encode_request
from forcegate_service.direct.head import read_head
from forcegate_service.direct.protocol import DirectPredictions
from forcegate_service.fake import FakeRuntime, load_fake
from forcegate_service.graph import Graph
from forcegate_service.runtime import ModelOutput
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.raw_http import Peer, RawAnswer, post_head

WATER = {"atomic_numbers": [8, 1, 1], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}
BODY = json.dumps({"model": "fake", "structures": [WATER]}).encode()
REQUEST = post_head(len(BODY)) + BODY
# Of an answer: what no two answers share.
TIMES = re.compile(rb'"timing":\{[^}]*\}')


class Gate(FakeRuntime):
    """Evaluates only while it is open."""

    def __init__(self, inner: FakeRuntime) -> None:
        super().__init__(inner.card)
        self.opened, self.entered = threading.Event(), threading.Event()
        self.opened.set()

    def evaluate(self, graph: Graph) -> ModelOutput:
        """Wait, then answer."""
        self.entered.set()
        assert self.opened.wait(60)
        return super().evaluate(graph)


@pytest.fixture
def gates() -> list[Gate]:
    return []


@pytest.fixture
def url(settings: Settings, gates: list[Gate]) -> Iterator[str]:
    def load(folder: Path) -> Gate:
        gates.append(Gate(load_fake(folder)))
        return gates[-1]

    with running_gateway(settings, load) as url:
        yield url


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The requests that went the short way."""
    seen: list[bytes] = []
    answer = DirectPredictions._answer

    def noted(self: DirectPredictions, data: bytes) -> bool:
        # Before the answer, which may be there before this returns.
        seen.append(data)
        taken = answer(self, data)
        if not taken:
            seen.pop()
        return taken

    monkeypatch.setattr(DirectPredictions, "_answer", noted)
    return seen


def both_ways(url: str, request: bytes, direct: list[bytes]) -> tuple[RawAnswer, RawAnswer]:
    """The answers to ``request`` in one piece, and with its last byte a little later."""
    with Peer(url) as peer:
        before = len(direct)
        whole = peer.send(request).answer()
        assert len(direct) == before + 1
    with Peer(url) as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.send(request[:-1])
        time.sleep(0.05)
        usual = peer.send(request[-1:]).answer()
        assert len(direct) == before + 1
    return whole, usual


def test_both_ways_give_the_same_answer(url: str, direct: list[bytes]) -> None:
    whole, usual = both_ways(url, REQUEST, direct)
    assert whole.status == usual.status == 200
    assert TIMES.sub(b"", whole.body) == TIMES.sub(b"", usual.body)
    assert whole.headers.keys() == usual.headers.keys()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post_head(len(BODY), "text/plain") + BODY, 415),
        (post_head(3) + b"{]}", 400),
        (post_head(len(BODY)).replace(b"Host", b"Accept: text/html\r\nHost") + BODY, 406),
        (post_head(len(BODY)).replace(b"Host", b"X-Request-Timeout: -1\r\nHost") + BODY, 422),
        (REQUEST.replace(b"fake", b"fals"), 404),
        (REQUEST.replace(b"[8, 1, 1]", b"[8, 1, 2]"), 422),
        (REQUEST.replace(b"0.96", b"0.01"), 422),
    ],
)
def test_both_ways_refuse_in_the_same_words(
    url: str, direct: list[bytes], request_: bytes, status: int
) -> None:
    whole, usual = both_ways(url, request_, direct)
    assert whole.status == status
    assert whole.problem() == usual.problem()
    assert whole.headers.keys() == usual.headers.keys()


def test_keys_are_asked_for_on_the_short_way(repository: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('{"schema_version": 1, "keys": []}')
    keys.chmod(0o600)
    settings = Settings(model_repository=repository, runtime="fake", keys_file=keys)
    with running_gateway(settings) as url, Peer(url) as peer:
        refused = peer.send(REQUEST).answer()
        assert refused.status == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        # The connection lives.
        assert peer.send(REQUEST).answer().status == 401


def test_the_callers_own_request_id_comes_back(url: str, direct: list[bytes]) -> None:
    request = REQUEST.replace(b"Host", b"X-Request-ID: step-17\r\nHost")
    with Peer(url) as peer:
        assert peer.send(request).answer().headers["x-request-id"] == "step-17"
        ids = {peer.send(REQUEST).answer().headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert len(direct) == 4


def test_what_comes_during_an_answer_is_answered_after_it(
    url: str, gates: list[Gate], direct: list[bytes]
) -> None:
    named = [REQUEST.replace(b"Host", b"X-Request-ID: n%d\r\nHost" % number) for number in range(4)]
    gates[0].opened.clear()
    gates[0].entered.clear()
    with Peer(url) as peer:
        peer.send(named[0])
        assert gates[0].entered.wait(60)
        for request in named[1:]:
            peer.send(request)
        time.sleep(0.05)
        gates[0].opened.set()
        assert [peer.answer().headers["x-request-id"] for _ in named] == ["n0", "n1", "n2", "n3"]
    assert direct[0] == named[0]


def test_requests_in_one_packet_are_answered_in_order(url: str, direct: list[bytes]) -> None:
    named = [REQUEST.replace(b"Host", b"X-Request-ID: n%d\r\nHost" % number) for number in range(3)]
    with Peer(url) as peer:
        peer.send(b"".join(named))
        assert [peer.answer().headers["x-request-id"] for _ in named] == ["n0", "n1", "n2"]
        assert not direct
        # After which the connection is as good as a new one.
        assert peer.send(REQUEST).answer().status == 200
    assert direct == [REQUEST]


def test_an_answer_that_takes_too_long_is_given_up(
    url: str, gates: list[Gate], direct: list[bytes]
) -> None:
    gates[0].opened.clear()
    request = REQUEST.replace(b"Host", b"X-Request-Timeout: 0.1\r\nHost")
    with Peer(url) as peer:
        late = peer.send(request).answer()
        assert (late.status, late.problem()["code"]) == (504, "deadline_exceeded")
        gates[0].opened.set()
        assert peer.send(REQUEST).answer().status == 200
    assert direct == [request, REQUEST]
    assert metric(url, 'forcegate_cancelled_total{reason="deadline"}') == 1


def test_a_caller_that_goes_away_leaves_nothing_behind(url: str, gates: list[Gate]) -> None:
    gates[0].opened.clear()
    gates[0].entered.clear()
    with Peer(url) as first, Peer(url) as second:
        first.send(REQUEST)
        assert gates[0].entered.wait(60)
        # Waits behind the first, and goes.
        second.send(REQUEST)
        time.sleep(0.05)
        second.close()
        until(lambda: metric(url, 'forcegate_cancelled_total{reason="disconnect"}') == 1)
        gates[0].opened.set()
        assert first.answer().status == 200
    until(lambda: metric(url, "forcegate_admitted_seconds") == 0)
    assert sum(gates[0].batches[-1:]) == 1


def test_a_server_that_stops_cuts_off_all_of_them_with_an_answer(
    url: str, gates: list[Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    protocols: list[DirectPredictions] = []
    answer = DirectPredictions._answer

    def noted(self: DirectPredictions, data: bytes) -> bool:
        protocols.append(self)
        return answer(self, data)

    monkeypatch.setattr(DirectPredictions, "_answer", noted)
    gates[0].opened.clear()

    def cut_off() -> None:
        # As uvicorn does when its patience with an orderly stop is over.
        for task in protocols[0].tasks:
            task.cancel(msg="stop")

    with Peer(url) as first, Peer(url) as second:
        for peer in (first, second):
            peer.send(REQUEST)
        until(lambda: len(protocols) == 2 and len(protocols[0].tasks) == 2)
        protocols[0].loop.call_soon_threadsafe(cut_off)
        for peer in (first, second):
            answered = peer.answer()
            assert answered.status == 503
            assert json.loads(answered.body)["code"] == "stopping"
        gates[0].opened.set()
        assert first.send(REQUEST).answer().status == 200


def test_every_request_is_counted_by_its_route(url: str, direct: list[bytes]) -> None:
    name = 'forcegate_requests_total{code="%d",route="/v1/predict"}'
    with Peer(url) as peer:
        for _ in range(3):
            peer.send(REQUEST).answer()
        peer.send(REQUEST.replace(b"fake", b"fals")).answer()
    assert len(direct) == 4
    assert metric(url, name % 200) == 3
    assert metric(url, name % 404) == 1


def test_a_connection_that_is_old_ends_with_an_answer_that_says_so(repository: Path) -> None:
    settings = Settings(model_repository=repository, runtime="fake", connection_age_s=0.05)
    with running_gateway(settings) as url, Peer(url) as peer:
        time.sleep(0.1)
        last = peer.send(REQUEST).answer()
        assert (last.status, last.headers["connection"]) == (200, "close")
        until(peer.is_gone)


def test_large_or_strange_requests_take_the_usual_way(url: str, direct: list[bytes]) -> None:
    large = json.dumps({"model": "fake", "structures": 200 * [WATER]}).encode()
    for request in (
        post_head(len(large)) + large,
        post_head(None) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
        REQUEST.replace(b"Host", b"X-Forwarded-For: 10.0.0.1\r\nHost"),
        REQUEST.replace(b"Host", b"Connection: close\r\nHost"),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        with Peer(url) as peer:
            assert peer.send(request).answer().status == 200
    assert not direct


@pytest.mark.parametrize(
    "head",
    [
        b"POST /v1/predict HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\nbad header\r\n\r\n",
        b"POST /v1/predict?x=1 HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
        b"POST /v1/predicting HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
        b"GET /v1/predict HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_heads_that_leave_a_doubt_are_left_to_the_full_parser(head: bytes) -> None:
    assert read_head(head) is None


def test_a_plain_head_is_read() -> None:
    head = read_head(post_head(17, MEDIA_TYPE))
    assert head is not None
    assert (head.length, head.headers["content-type"]) == (17, MEDIA_TYPE)


def test_msgpack_takes_the_short_way_too(url: str, direct: list[bytes]) -> None:
    structures = StructureBatch.from_arrays(
        n_atoms=[3], atomic_numbers=WATER["atomic_numbers"], positions=WATER["positions"]
    )
    body = encode_request(PredictRequest(structures=structures, model="fake"))
    whole, usual = both_ways(url, post_head(len(body), MEDIA_TYPE) + body, direct)
    assert whole.status == 200
    assert whole.headers["content-type"] == MEDIA_TYPE
    assert len(whole.body) == len(usual.body)


def metric(url: str, name: str) -> float:
    for line in httpx.get(f"{url}/metrics").text.splitlines():
        if line.startswith(f"{name} "):
            return float(line.rpartition(" ")[2])
    return 0.0


def until(true: Any) -> None:
    """Wait until it is; a minute is a guard."""
    for _ in range(1200):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("it never came true")
