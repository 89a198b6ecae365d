"""Whole messages over a stream socket."""

from __future__ import annotations

import os
import socket
import time
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

    def receive(self, awake_s: float = 0.0, within_s: float | None = None) -> list[Any]:
        """Wait for one message, for ``awake_s`` without going to sleep, and no longer than told.

        Raises:
            EOFError: if the other side is gone.
            TimeoutError: if it says nothing for ``within_s``; nothing can be asked any more then.
        """
        self._connection.settimeout(within_s)
        received = self._receive_awake(awake_s) if awake_s else b""
        while len(received) < _LENGTH_BYTES:
            received += self._receive(0)
        end = _LENGTH_BYTES + int.from_bytes(received[:_LENGTH_BYTES], "little")
        while len(received) < end:
            received += self._receive(0)
        message: list[Any] = msgpack.unpackb(received[_LENGTH_BYTES:])
        return message

    def _receive_awake(self, seconds: float) -> bytes:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            try:
                return self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                # To whoever else wants this core.
                os.sched_yield()
        return b""

    def _receive(self, flags: int) -> bytes:
        try:
            chunk = self._connection.recv(_CHUNK_BYTES, flags)
        except (BlockingIOError, TimeoutError):
            raise
        except OSError as error:
            raise EOFError from error
        if not chunk:
            raise EOFError
        return chunk

    def close(self) -> None:
        """Hang up; the other side's ``receive`` raises."""
        self._connection.close()
