"""An answer says which request it belongs to: by the caller's name for it, and by its body."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_client.wire import MEDIA_TYPE, encode_request
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.raw_http import Peer, RawAnswer, post_head

WATER = {"atomic_numbers": [8, 1, 1], "positions": [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]}
SMALL = json.dumps({"model": "fake", "structures": [WATER]}).encode()
LARGE = json.dumps({"model": "fake", "structures": [WATER] * 1000}).encode()
BINARY = encode_request(
    PredictRequest(
        StructureBatch.from_arrays([3], WATER["atomic_numbers"], WATER["positions"]), "fake"
    )
)
BODIES = {
    "small": (SMALL, "application/json", 200),
    "large": (LARGE, "application/json", 200),
    "msgpack": (BINARY, MEDIA_TYPE, 200),
    "not JSON": (b"{]}", "application/json", 400),
    "empty": (b"", "application/json", 400),
    "another model": (SMALL.replace(b"fake", b"none"), "application/json", 404),
    "atoms too close": (SMALL.replace(b"0.96", b"0.01"), "application/json", 422),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    repository: Path = tmp_path_factory.mktemp("repository")
    write_fake_model(repository)
    with running_gateway(Settings(model_repository=repository, runtime="fake")) as url:
        yield url


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


def named(head: bytes, name: str = "mine-1") -> bytes:
    return head.replace(b"Host:", b"X-Request-ID: %s\r\nHost:" % name.encode(), 1)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[k : k + size] for k in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("kind", BODIES)
def test_every_answer_returns_the_name_and_the_digest_of_the_body(url: str, kind: str) -> None:
    body, content_type, status = BODIES[kind]
    whole = named(post_head(len(body), content_type)) + body
    pieces = named(post_head(None, content_type)) + chunked(body, max(1, len(body) // 3))
    answers: list[RawAnswer] = []
    with Peer(url) as peer:
        answers.append(peer.send(whole).answer())
        answers.append(peer.send(pieces).answer())
        peer.send(whole[:-1] if body else whole[:-2])
        answers.append(peer.send(whole[-1:] if body else whole[-2:]).answer())
    for answer in answers:
        assert answer.status == status
        assert answer.headers["x-request-id"] == "mine-1"
        assert answer.headers["x-request-digest"] == digest_of(body)


def test_answers_on_one_connection_have_their_own_digests(url: str) -> None:
    bodies = [SMALL.replace(b"0.96", b"0.9%d" % k) for k in range(8)]
    requests = [
        named(post_head(len(body)), f"n{number}") + body for number, body in enumerate(bodies)
    ]
    with Peer(url) as peer:
        peer.send(b"".join(requests))
        answers = [peer.answer() for _ in bodies]
    assert [answer.headers["x-request-digest"] for answer in answers] == list(
        map(digest_of, bodies)
    )
    assert [answer.headers["x-request-id"] for answer in answers] == [f"n{k}" for k in range(8)]


def test_what_was_refused_before_it_was_read_has_no_digest(url: str) -> None:
    for request, status in (
        (post_head(len(SMALL), "text/plain") + SMALL, 415),
        (post_head(10**12), 413),
    ):
        with Peer(url) as peer:
            answer = peer.send(named(request)).answer()
        assert answer.status == status
        assert answer.headers["x-request-id"] == "mine-1"
        assert "x-request-digest" not in answer.headers
