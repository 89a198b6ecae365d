"""Whole messages over a stream socket."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from typing import Any

import msgpack

__all__ = ["DONE", "FAILED", "Channel"]

# The first word of every answer; what went wrong is the second word of the latter.
DONE, FAILED = "done", "failed"

_LENGTH_BYTES = 4
_CHUNK_BYTES = 65536


class Channel:
    """One end of a conversation in which both sides take turns.

    Messages are lists of numbers, text and buffers. Receiving waits without the interpreter's lock.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        # The beginning of a message whose end has not come.
        self._begun = bytearray()

    def fileno(self) -> int:
        """The descriptor that is readable when something has arrived."""
        return self._connection.fileno()

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

    def take(self) -> list[Any] | None:
        """One message if it is there, None if it is not; nothing is waited for.

        Raises:
            EOFError: if the other side is gone.
        """
        # With a time to wait, the system would be asked to wait before anything is read.
        self._wait(0.0)
        with suppress(BlockingIOError):
            self._begun += self._receive(socket.MSG_DONTWAIT)
        return self._next()

    def receive(self, awake_s: float = 0.0, within_s: float | None = None) -> list[Any]:
        """Wait for one message, for ``awake_s`` without going to sleep, and no longer than told.

        Raises:
            EOFError: if the other side is gone.
            TimeoutError: if it says nothing for ``within_s``; nothing can be asked any more then.
        """
        message = self._next()
        if message is None:
            self._wait(within_s)
            if awake_s:
                self._begun += self._receive_awake(awake_s)
            while (message := self._next()) is None:
                self._begun += self._receive(0)
        return message

    def _wait(self, seconds: float | None) -> None:
        """Let the next call wait for so long."""
        if self._connection.gettimeout() != seconds:
            self._connection.settimeout(seconds)

    def _next(self) -> list[Any] | None:
        """The message that has arrived whole, cut off from what follows it."""
        received = self._begun
        if len(received) < _LENGTH_BYTES:
            return None
        end = _LENGTH_BYTES + int.from_bytes(received[:_LENGTH_BYTES], "little")
        if len(received) < end:
            return None
        message: list[Any] = msgpack.unpackb(bytes(received[_LENGTH_BYTES:end]))
        del received[:end]
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
