"""What a load generator sends, reads and counts."""

import asyncio
import json
import random
from contextlib import suppress

import httptools
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forcegate_bench.load.closed_loop import ClosedLoop
from forcegate_bench.load.http1 import Address, AnswerReader, Unreadable, advised_s, post
from forcegate_bench.load.open_loop import arrivals
from forcegate_bench.load.record import LOST, Outcomes, Record, waits
from forcegate_client.errors import TooManyRequests


def answer(status: int, body: bytes, length: str = "content-length") -> bytes:
    return f"HTTP/1.1 {status} Whatever\r\nx: y\r\n{length}: {len(body)}\r\n\r\n".encode() + body


class TestAnswerReader:
    @given(
        bodies=st.lists(st.binary(max_size=40), min_size=1, max_size=4),
        seed=st.integers(0, 2**32 - 1),
    )
    def test_answers_come_out_whole_however_the_network_cuts_them(
        self, bodies: list[bytes], seed: int
    ) -> None:
        reader, cuts = AnswerReader(), random.Random(seed)
        for body in bodies:
            whole = answer(200, body)
            # One request is on its way at a time, so that no piece belongs to two answers.
            ends = sorted({cuts.randint(1, len(whole)) for _ in range(3)} | {len(whole)})
            starts = [0, *ends[:-1]]
            pieces = [whole[start:end] for start, end in zip(starts, ends, strict=True)]
            assert [reader.feed(piece) for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
            assert reader.feed(pieces[-1]) == (200, body)

    def test_names_of_headers_have_no_case_and_no_content_has_no_length(self) -> None:
        assert AnswerReader().feed(answer(429, b"{}", "Content-Length")) == (429, b"{}")
        assert AnswerReader().feed(b"HTTP/1.1 204 No Content\r\n\r\n") == (204, b"")

    @pytest.mark.parametrize(
        "received",
        [
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            answer(200, b"right") + b"and more",
            70_000 * b"x",
        ],
    )
    def test_what_cannot_be_counted_is_refused(self, received: bytes) -> None:
        with pytest.raises(Unreadable):
            AnswerReader().feed(received)


def test_a_request_is_one_that_a_server_reads() -> None:
    seen: dict[str, bytes] = {}

    class Server:
        def on_header(self, name: bytes, value: bytes) -> None:
            seen[name.decode().lower()] = value

        def on_body(self, body: bytes) -> None:
            seen["body"] = body

        def on_message_complete(self) -> None:
            seen["complete"] = b"yes"

    parser = httptools.HttpRequestParser(Server())
    parser.feed_data(post("/v1/predict", "application/msgpack", b"\x81\xa1"))
    assert parser.get_method() == b"POST"
    assert seen["content-type"] == b"application/msgpack"
    assert (seen["body"], seen["complete"]) == (b"\x81\xa1", b"yes")


@pytest.mark.parametrize("seconds", [0.05, 7.25, 1e-05])
def test_the_advised_wait_is_read_from_the_problem_that_the_server_writes(seconds: float) -> None:
    error = TooManyRequests("work", expected="less", action="wait", retry_after_s=seconds)
    document = error.to_problem()
    assert advised_s(json.dumps(document).encode()) == seconds
    assert advised_s(json.dumps(document, separators=(",", ":")).encode()) == seconds
    assert advised_s(json.dumps(TooManyRequests("work").to_problem()).encode()) is None


def test_an_address_is_where_its_url_points() -> None:
    assert Address.of("http://127.0.0.1:8123/v1") == ("127.0.0.1", 8123)
    assert Address("127.0.0.1", 8123).url == "http://127.0.0.1:8123"


def test_arrivals_are_a_poisson_process_of_their_rate() -> None:
    times = np.array(list(arrivals(rate=200.0, seconds=100.0, seed=3)))
    gaps = np.diff(times)
    assert times[0] > 0.0
    assert times[-1] < 100.0
    assert len(times) == pytest.approx(20_000, rel=0.03)
    # The gaps of such a process spread as far as they are long.
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert list(arrivals(200.0, 1.0, seed=3)) == times[times < 1.0].tolist()


class TestRecord:
    def test_throughput_counts_by_answers_and_waits_by_when_they_were_due(self) -> None:
        record = Record()
        for status, due, answered in (
            (200, 0.0, 0.5),
            (200, 1.0, 1.5),
            (429, 1.5, 1.6),
            (200, 1.9, 5.9),
            (LOST, 2.5, 2.6),
        ):
            record.note(status, due, answered)
        answered = record.answered_between(1.0, 2.0)
        assert (answered.count(200), answered.count(429)) == (1, 1)
        assert answered.per_second() == 1.0
        due = record.due_between(1.0, 2.0)
        assert due.quantile_ms(1.0) == pytest.approx(4000.0)
        assert due.quantile_ms(0.0) == pytest.approx(500.0)
        assert record.all().others(200, 429) == {LOST: 1}
        assert record.all().seconds == pytest.approx(5.9)

    @pytest.mark.parametrize("begin", [1.0, 1.1, 1.2])
    def test_the_rate_of_long_requests_does_not_hang_on_where_a_count_begins(
        self, begin: float
    ) -> None:
        record = Record()
        for k in range(10):
            # Two clients, whose answers come together.
            record.note(200, 0.3 * k, 0.3 * (k + 1))
            record.note(200, 0.3 * k, 0.3 * (k + 1))
            record.note(429, 0.3 * k, 0.3 * k + 0.1)
        assert record.rate_between(begin, begin + 1.0) == pytest.approx(2 / 0.3)
        counts = {record.answered_between(at, at + 1.0).count() for at in (1.0, 1.1, 1.2)}
        assert counts == {6, 8}

    def test_a_wait_that_nobody_had_is_no_number(self) -> None:
        record = Record()
        record.note(200, 0.0, 0.25)
        assert [row.value for row in waits("served", record.all())] == [250.0, 250.0]
        assert [row.value for row in waits("refused", record.all(), 429)] == [None, None]
        assert Record().all().per_second() == 0.0


def test_a_connection_that_the_server_ends_with_an_answer_loses_no_request() -> None:
    request = post("/", "text/plain", b"x")
    ended: list[asyncio.Task[None]] = []

    async def answer_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            for last in (b"", b"connection: close\r\n"):
                await reader.readexactly(len(request))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n" + last + b"\r\nok")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.ensure_future(answer_two(reader, writer)))

    async def run() -> Outcomes:
        async with await asyncio.start_server(answering, "127.0.0.1", 0) as server:
            address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
            loop = ClosedLoop(address, [request], clients=2)
            await loop.run(0.2)
            await asyncio.gather(*ended)
        return loop.record.all()

    outcomes = asyncio.run(run())
    assert outcomes.count(200) > 2 * 2
    assert not outcomes.others(200)
