"""Where a request ends: what leaves that in doubt is refused, and nothing after it is read."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.raw_http import Peer, RawAnswer, post_head
from support.server_process import footprint, started

WATER = {"atomic_numbers": [8, 1, 1], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}
BODY = json.dumps({"model": "fake", "structures": [WATER]}).encode()
REQUEST = post_head(len(BODY)) + BODY
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repository: Path = tmp_path_factory.mktemp("repository")
    write_fake_model(repository)
    with running_gateway(Settings(model_repository=repository, runtime="fake")) as url:
        yield url


def everything(peer: Peer) -> list[RawAnswer]:
    """All answers up to the end of the connection, which has to be an orderly one."""
    answers = []
    while not peer.at_end():
        answers.append(peer.answer())
    return answers


def upgrade(method: bytes, protocol: bytes, framing: bytes) -> bytes:
    return (
        b"%s /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: %s\r\n"
        b"Content-Type: application/json\r\n%s\r\n\r\n" % (method, protocol, framing)
    )


FRAMINGS = {
    "length": (b"Content-Length: %d" % len(LIVE), LIVE),
    "chunked": (b"Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(LIVE), LIVE)),
}


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"x"])
@pytest.mark.parametrize("method", [b"GET", b"POST"])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("packets", ["one", "two", "far apart"])
def test_an_upgrade_with_a_body_gets_one_answer_and_the_end_of_file(
    url: str, protocol: bytes, method: bytes, framing: str, packets: str
) -> None:
    header, body = FRAMINGS[framing]
    head = upgrade(method, protocol, header)
    with Peer(url) as peer:
        if packets == "one":
            peer.send(head + body)
        else:
            peer.send(head)
            time.sleep(0.05)
            if packets == "far apart":
                peer.send(b"\r\n" * 150_000)
            peer.send(body + LIVE)
        (refused,) = everything(peer)
    assert refused.problem()["code"] == "malformed_request"
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c", b"x"])
@pytest.mark.parametrize("framing", [b"Accept: */*", b"Content-Length: 0"])
def test_an_upgrade_without_a_body_is_not_made_and_answered_like_any_request(
    url: str, protocol: bytes, framing: bytes
) -> None:
    # As curl --http2 and Java's client begin.
    asked = upgrade(b"GET", protocol, framing).replace(b"/v1/predict", b"/health/live")
    with Peer(url) as peer:
        for message in (asked, asked + LIVE, LIVE + asked + REQUEST):
            peer.send(message)
            for _ in range(message.count(b"HTTP/1.1")):
                assert peer.answer().status == 200


def test_a_refusal_waits_for_the_answers_before_it(url: str) -> None:
    header, body = FRAMINGS["length"]
    refused = upgrade(b"POST", b"x", header) + body
    for nonsense in (refused, b"\xff\xfe\r\n\r\n", LIVE.replace(b"HTTP/1.1", b"HTTP/2.0")):
        with Peer(url) as peer:
            peer.send(REQUEST + LIVE + nonsense + LIVE)
            answers = everything(peer)
        assert [answer.status for answer in answers] == [200, 200, 400]


NO_REQUESTS = {
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "HTTP/0.9 with its version": b"GET /health/live HTTP/0.9\r\n\r\n",
    "HTTP/2.0": LIVE.replace(b"HTTP/1.1", b"HTTP/2.0"),
    "HTTP/2": LIVE.replace(b"HTTP/1.1", b"HTTP/2"),
    "HTTP/3.0": LIVE.replace(b"HTTP/1.1", b"HTTP/3.0"),
    "HTTP/1.2": LIVE.replace(b"HTTP/1.1", b"HTTP/1.2"),
    "no version": LIVE.replace(b" HTTP/1.1", b""),
}


@pytest.mark.parametrize("kind", NO_REQUESTS)
def test_request_lines_of_other_versions_are_refused(url: str, kind: str) -> None:
    with Peer(url) as peer:
        (refused,) = everything(peer.send(NO_REQUESTS[kind] + LIVE))
    assert refused.problem()["code"] == "malformed_request"


HOSTS = {
    "none": b"",
    "two": b"Host: localhost\r\nHost: localhost\r\n",
    "two that differ": b"Host: localhost\r\nHost: evil.example\r\n",
}


@pytest.mark.parametrize("kind", HOSTS)
def test_a_request_names_one_host(url: str, kind: str) -> None:
    with Peer(url) as peer:
        (refused,) = everything(peer.send(b"GET /health/live HTTP/1.1\r\n%s\r\n" % HOSTS[kind]))
    assert refused.problem()["code"] == "malformed_request"


def test_a_target_with_a_host_of_its_own_is_that_of_the_header(url: str) -> None:
    for target, status in ((b"http://localhost", 200), (b"http://evil.example", 400)):
        with Peer(url) as peer:
            answer = peer.send(LIVE.replace(b"GET ", b"GET " + target)).answer()
        assert answer.status == status


def chunked(body: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n0\r\n%s\r\n" % (len(body), extension, body, trailers)


def test_trailers_have_no_effect(url: str) -> None:
    trailers = (
        b"X-Request-ID: trailer\r\nAccept: text/html\r\nContent-Type: text/plain\r\n"
        b"Authorization: Bearer fg_aaaaaaaa_x\r\nX-Request-Timeout: nonsense\r\n"
        b"Expect: 100-continue\r\nHost: elsewhere\r\n"
    )
    with Peer(url) as peer:
        for _ in range(2):
            answer = peer.send(post_head(None) + chunked(BODY, trailers)).answer()
            assert answer.status == 200
            assert answer.headers["x-request-id"] != "trailer"
            assert "connection" not in answer.headers


@pytest.mark.parametrize(
    "trailer", [b"Connection: close", b"Content-Length: 7", b"Transfer-Encoding: chunked"]
)
def test_trailers_that_speak_of_framing_are_refused(url: str, trailer: bytes) -> None:
    with Peer(url) as peer:
        peer.send(post_head(None) + chunked(BODY, trailer + b"\r\n") + LIVE)
        (refused,) = everything(peer)
    assert refused.problem()["code"] == "malformed_request"


def test_a_key_in_a_trailer_is_no_key(url: str, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    write_fake_model(repository)
    keys = tmp_path / "keys.json"
    text = create_key(keys, "somebody", ["predict"])
    options = Settings(model_repository=repository, runtime="fake", keys_file=keys)
    with running_gateway(options) as guarded:
        trailer = f"Authorization: Bearer {text}\r\n".encode()
        with Peer(guarded) as peer:
            peer.send(post_head(None) + chunked(BODY, trailer))
            assert peer.answer().status == 401
        with Peer(guarded) as peer:
            peer.send(post_head(None)[:-2] + trailer + b"\r\n" + chunked(BODY))
            assert peer.answer().status == 200


@pytest.mark.parametrize("kind", ["many", "one", "extension"])
def test_trailers_and_extensions_are_bounded(url: str, kind: str) -> None:
    start = post_head(None) + b"%x\r\n%s\r\n" % (len(BODY), BODY)
    endless = {
        "many": (b"0\r\n", b"X: y\r\n" * 1000),
        "one": (b"0\r\nX-Long: ", b"x" * 6000),
        "extension": (b"1;name=", b"x" * 6000),
    }[kind]
    with Peer(url) as peer:
        peer.send(start + endless[0])
        time.sleep(0.1)
        sent = 0
        with suppress(ConnectionError):
            while sent < 2_000_000:
                sent += len(endless[1])
                peer.send(endless[1])
        (refused,) = everything(peer)
    assert refused.problem()["code"] == "malformed_request"


@pytest.mark.system
@pytest.mark.parametrize("kind", ["many", "one", "early"])
def test_sixty_megabytes_of_trailers_cost_no_memory(tmp_path: Path, kind: str) -> None:
    write_fake_model(tmp_path)
    # To a route that needs no body, and is answered before its end.
    early = LIVE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
    start = early if kind == "early" else post_head(None) + b"2\r\n{}\r\n0\r\n"
    piece = b"x" * 60_000 if kind == "one" else b"X-Trailer: y\r\n" * 5000
    with started(tmp_path) as (process, server):
        with Peer(server) as peer:
            assert peer.send(REQUEST).answer().status == 200
        before = footprint(process).resident
        with ExitStack() as stack:
            for _ in range(10):
                peer = stack.enter_context(Peer(server))
                peer.send(start + (b"X-Long: " if kind == "one" else b""))
                peer.pour(piece, at_most=60_000_000)
            assert footprint(process).resident - before < 20_000_000
        with Peer(server) as peer:
            assert peer.send(REQUEST).answer().status == 200


def test_reading_ends_after_an_answer_that_came_early(url: str) -> None:
    head = post_head(None, "text/plain")
    with Peer(url) as peer:
        peer.send(head + b"5\r\nabcde\r\n")
        time.sleep(0.05)
        peer.send(b"0\r\n\r\n" + LIVE)
        (early,) = everything(peer)
    assert (early.status, early.headers["connection"]) == (415, "close")
    # Of which little is missing is read to its end, and the connection goes on.
    with Peer(url) as peer:
        peer.send(post_head(len(BODY), "text/plain"))
        assert peer.answer().status == 415
        peer.send(BODY + LIVE)
        assert peer.answer().status == 200


def test_a_large_body_that_was_refused_at_its_head_does_not_cost_its_answer(url: str) -> None:
    size = 20_000_000
    with Peer(url) as peer:
        # Whoever writes all of it before reading finds the answer all the same.
        peer.send(post_head(size) + b" " * size)
        (refused,) = everything(peer)
    assert (refused.status, refused.headers["connection"]) == (413, "close")


HEADS = st.sampled_from(
    [
        LIVE,
        REQUEST,
        post_head(None) + chunked(BODY),
        post_head(None) + chunked(BODY, b"X-A: b\r\n", b";a=b"),
        post_head(3) + b"{]}",
        upgrade(b"GET", b"h2c", b"Accept: */*"),
    ]
)
LASTS = st.sampled_from(
    [
        b"",
        upgrade(b"POST", b"websocket", b"Content-Length: 5") + b"GET /",
        b"GET / HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01",
        post_head(None) + b"zz\r\n",
        post_head(None) + b"5\r\nabcdeXX\r\n",
    ]
)


@settings(max_examples=60)
@given(st.lists(HEADS, max_size=4), LASTS, st.integers(0, 2**32))
def test_answers_do_not_depend_on_how_bytes_are_split(
    url: str, requests: list[bytes], last: bytes, seed: int
) -> None:
    stream = b"".join(requests) + last
    dice = random.Random(seed)
    cuts = sorted(dice.sample(range(len(stream) + 1), min(len(stream), dice.randint(0, 6))))
    statuses = []
    for pieces in ([stream], [stream[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]):
        with Peer(url) as peer:
            peer.disable_nagle()
            for piece in pieces:
                peer.send(piece)
                time.sleep(0.002)
            answers = [peer.answer() for _ in range(len(requests) + bool(last))]
            statuses.append([answer.status for answer in answers])
            if last:
                assert peer.at_end()
                assert answers[-1].headers["connection"] == "close"
    assert statuses[0] == statuses[1]
    assert len(statuses[0]) == len(requests) + bool(last)
