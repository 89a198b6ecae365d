"""An answer is read from bytes as RFC 9112 has it, wherever the network cuts them."""

from __future__ import annotations

import gc
import gzip
import itertools
from collections.abc import Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forcegate_client.errors import ServerUnreachable
from forcegate_client.http import http1
from forcegate_client.http.answers import Answer
from forcegate_client.http.http1 import MAX_HEAD_BYTES, Target, read_answer

URL = httpx.URL("http://gateway/v1/predict")
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\ncontent-type: text/plain\r\n\r\n"
    b"2;a=b\r\nhe\r\n03\r\nllo\r\n0\r\nX-Checksum: 1\r\n\r\n"
)
TO_THE_END = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"
HELLO = [
    COUNTED,
    CHUNKED,
    TO_THE_END,
    COUNTED.replace(b"200 OK", b"200"),
    COUNTED.replace(b"text/plain", b"  text/plain  "),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + COUNTED,
]


def read(*pieces: bytes) -> tuple[Answer, bool]:
    waiting = [piece for piece in pieces if piece]
    return read_answer(lambda: waiting.pop(0) if waiting else b"", URL)


def with_header(line: bytes) -> bytes:
    return COUNTED.replace(b"Content-Type", line + b"\r\nContent-Type")


@given(raw=st.sampled_from(HELLO), cuts=st.lists(st.integers(0, 200)))
def test_an_answer_is_the_same_however_it_is_cut(raw: bytes, cuts: Sequence[int]) -> None:
    ends = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    answer, _ = read(*(raw[a:b] for a, b in itertools.pairwise(ends)))
    assert (answer.status, answer.content) == (200, b"hello")
    assert answer.content_type == "text/plain"


@pytest.mark.parametrize("raw", [COUNTED, CHUNKED])
def test_an_answer_that_ends_early_is_never_taken_for_a_whole_one(raw: bytes) -> None:
    for length in range(len(raw)):
        with pytest.raises(httpx.RemoteProtocolError):
            read(raw[:length])


@pytest.mark.parametrize(
    ("raw", "reusable"),
    [
        (COUNTED, True),
        (CHUNKED, True),
        (TO_THE_END, False),
        (with_header(b"Connection: keep-alive"), True),
        (with_header(b"Connection: X-Hop, Close"), False),
        (COUNTED.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (with_header(b"Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (COUNTED + b"HTTP/1.1 200 OK\r\n", False),
        (COUNTED + b"HTTP/1.1 500 No\r\nContent-Length: 3\r\nX-A: b\r\n\r\noh!", False),
        (COUNTED + b"!", False),
        (with_header(b"Connection: close") + b"!", False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
    ],
)
def test_a_connection_is_used_again_only_if_both_sides_stand_at_the_same_byte(
    raw: bytes, reusable: bool
) -> None:
    answer, again = read(raw)
    assert again is reusable
    assert (answer.status, answer.content) in [(200, b"hello"), (204, b""), (304, b"")]


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello",
        COUNTED.replace(b"Content-Length: 5", b"Content-Length 5"),
        COUNTED.replace(b"Content-Length: 5", b"Content-Length : 5"),
        COUNTED.replace(b"Content-Length: 5", b": 5"),
        COUNTED.replace(b": 5", b": -5"),
        COUNTED.replace(b": 5", b": \xb2"),
        COUNTED.replace(b": 5", b": 0x5"),
        COUNTED.replace(b": 5", b":"),
        COUNTED.replace(b": 5", b": 5, 6"),
        with_header(b"Content-Length: 6"),
        # Somebody on the way may have counted the bytes otherwise.
        CHUNKED.replace(b"content-type", b"content-length: 5\r\ncontent-type"),
        CHUNKED.replace(b"Chunked", b"gzip"),
        CHUNKED.replace(b"\r\n2;", b"\r\n-2;"),
        CHUNKED.replace(b"\r\n2;", b"\r\n1;"),
        CHUNKED.replace(b"\r\n2;", b"\r\n;"),
        with_header(b"Content-Encoding: gzip"),
    ],
)
def test_what_cannot_be_understood_is_an_error_and_not_a_guess(raw: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        read(raw)


def test_repeated_headers_are_joined_and_names_have_no_case() -> None:
    answer, _ = read(with_header(b"X-A: 1\r\nx-b:\r\nX-a:  3 "))
    assert (answer.headers["x-a"], answer.headers["x-b"]) == ("1, 3", "")


def test_headers_of_interim_answers_and_trailers_are_not_those_of_the_answer() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nX-Checksum: 0\r\n\r\n"
    answer, _ = read(interim + CHUNKED)
    assert set(answer.headers) == {"transfer-encoding", "content-type"}


def test_an_answer_is_freed_as_soon_as_nobody_needs_it() -> None:
    gc.collect()
    gc.disable()
    try:
        read(COUNTED)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("start", "endless"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (CHUNKED.partition(b"=b")[0], b"a"),
        (CHUNKED.partition(b"X-Checksum")[0], b"X: 1\r\n"),
    ],
    ids=["a header", "headers", "interim answers", "a chunk's head", "trailers"],
)
def test_what_holds_no_body_is_not_read_for_ever(start: bytes, endless: bytes) -> None:
    received = [start]

    def more() -> bytes:
        received.append(100 * endless)
        return received[-2] or received[-1]

    with pytest.raises(httpx.RemoteProtocolError, match="head or trailers of more than"):
        read_answer(more, URL)
    assert len(b"".join(received)) < MAX_HEAD_BYTES + 10_000


@pytest.mark.parametrize(
    "raw",
    [
        COUNTED,
        CHUNKED,
        TO_THE_END,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello", mtime=0),
    ],
)
def test_a_body_of_any_form_is_read_up_to_a_limit(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "MAX_BODY_BYTES", 4)
    with pytest.raises(ServerUnreachable, match="http://gateway/v1/predict"):
        read(raw)


def test_compression_that_nobody_asked_for_is_undone() -> None:
    packed = gzip.compress(100_000 * b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    answer, reusable = read(head + packed)
    assert answer.content == 100_000 * b"hello"
    assert reusable


def test_a_request_names_its_host_and_the_length_of_its_body() -> None:
    target = Target("POST", httpx.URL("http://me:secret@[::1]:8000/a%20b?c=d"), {"X-A": "1"})
    assert target.message("run-7", b"body") == (
        b"POST /a%20b?c=d HTTP/1.1\r\nHost: [::1]:8000\r\nX-A: 1\r\nX-Request-ID: run-7\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )
    assert (
        Target("GET", URL, {}).message("run-7", None)
        == b"GET /v1/predict HTTP/1.1\r\nHost: gateway\r\nX-Request-ID: run-7\r\n\r\n"
    )


def test_a_signal_in_the_midst_of_an_answer_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, piece: bytes) -> None:
        raise KeyboardInterrupt

    # Python raises it wherever it is; in here it is while the parser calls.
    monkeypatch.setattr(http1._Arriving, "on_body", interrupted)
    pieces = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"])
    with pytest.raises(KeyboardInterrupt):
        read_answer(lambda: next(pieces), httpx.URL("http://127.0.0.1/"))
