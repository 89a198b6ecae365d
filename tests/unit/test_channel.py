"""Messages between gateway and inference process arrive whole, awake or asleep."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import msgpack
import pytest

from forcegate_service.runtimes.process.channel import Channel

MESSAGE = ["evaluate", 3, "x" * 200_000]
BODY = msgpack.packb(MESSAGE)
BYTES = len(BODY).to_bytes(4, "little") + BODY


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    yield channel, theirs
    channel.close()
    theirs.close()


@pytest.mark.parametrize("awake_s", [0.0, 0.001, 5.0])
@pytest.mark.parametrize("cuts", [(), (2,), (4,), (5, 100_000)])
def test_a_message_in_pieces_is_one_message(
    ends: tuple[Channel, socket.socket], awake_s: float, cuts: tuple[int, ...]
) -> None:
    channel, other = ends

    def send() -> None:
        for begin, end in zip((0, *cuts), (*cuts, len(BYTES)), strict=True):
            time.sleep(0.01)
            other.sendall(BYTES[begin:end])

    sending = threading.Thread(target=send)
    sending.start()
    assert channel.receive(awake_s) == MESSAGE
    sending.join()


@pytest.mark.parametrize("awake_s", [0.0, 5.0])
def test_the_end_of_the_other_side_is_noticed(
    ends: tuple[Channel, socket.socket], awake_s: float
) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(EOFError):
        channel.receive(awake_s)
