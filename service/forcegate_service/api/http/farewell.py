"""The end of a connection on which the caller may still be sending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["LONGEST_FAREWELL_S", "Farewell"]

LONGEST_FAREWELL_S = 10.0
# Twice the largest body of JSON that is read by default.
_MOST_BYTES = 32 * 1024 * 1024


class Farewell:
    """A transport that says goodbye, and closes when the caller has done so too.

    A system that closes a connection of which something is unread resets it, and with that the
    answer may be lost that was on its way. So if ``more_expected()``, what still comes is thrown
    away, for some seconds and within bounds.
    """

    def __init__(self, transport: asyncio.Transport, more_expected: Callable[[], bool]) -> None:
        self._transport = transport
        self._more_expected = more_expected
        self._leaving = False
        self._timer: asyncio.TimerHandle | None = None
        self._thrown_away = 0
        self.write = transport.write
        self.abort = transport.abort
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size

    def is_closing(self) -> bool:
        """Whether nothing is to be written any more."""
        return self._leaving or self._transport.is_closing()

    def close(self) -> None:
        """Let what was written reach the caller, then end."""
        if self.is_closing():
            return
        self._leaving = True
        # An encrypted connection has no half that could be closed.
        if not self._more_expected() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LONGEST_FAREWELL_S, self._transport.abort)

    def thrown_away(self, size: int) -> None:
        """So many bytes came that nobody looks at."""
        self._thrown_away += size
        if self._thrown_away > _MOST_BYTES:
            if self._leaving:
                self._transport.abort()
            else:
                self._transport.pause_reading()

    def over(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Which leads to the connection, and that to here: it would stay until somebody collects it.
        self._more_expected = bool
