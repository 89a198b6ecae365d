"""Whole messages over a stream socket."""

from __future__ import annotations

import socket
from typing import Any

import msgpack

__all__ = ["DONE", "FAILED", "Channel"]

# The first word of every answer; what went wrong is the second word of the latter.
DONE, FAILED = "done", "failed"

_LENGTH_BYTES = 4
_CHUNK_BYTES = 65536


class Channel:
    """One end of a conversation in which both sides take turns.

    Messages are lists of numbers and text. Receiving waits without the interpreter's lock.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, *message: Any) -> None:
        """Send one message.

        Raises:
            EOFError: if the other side is gone.
        """
        body = msgpack.packb(message)
        try:
            self._connection.sendall(len(body).to_bytes(_LENGTH_BYTES, "little") + body)
        except OSError as error:
            raise EOFError from error

    def receive(self) -> list[Any]:
        """Wait for one message.

        Raises:
            EOFError: if the other side is gone.
        """
        received = b""
        expected = _LENGTH_BYTES
        while len(received) < expected:
            try:
                chunk = self._connection.recv(_CHUNK_BYTES)
            except OSError as error:
                raise EOFError from error
            if not chunk:
                raise EOFError
            received += chunk
            if len(received) >= _LENGTH_BYTES:
                length = int.from_bytes(received[:_LENGTH_BYTES], "little")
                expected = _LENGTH_BYTES + length
        message: list[Any] = msgpack.unpackb(received[_LENGTH_BYTES:])
        return message

    def close(self) -> None:
        """Hang up; the other side's ``receive`` raises."""
        self._connection.close()
