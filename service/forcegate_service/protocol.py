"""HTTP/1.1 that does not wait for ever for the head of a request."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_TIMEOUT_S", "MAX_HEAD_BYTES", "READER_TIMEOUT_S", "PromptHeads"]

# From the first byte of a request, or from the connection, to the end of its headers. Bodies have
# the request's own deadline, and idle connections between requests the keep-alive.
HEAD_TIMEOUT_S = 30.0
# As much as the client reads of the head of an answer.
MAX_HEAD_BYTES = 100 * 1024
# An answer of which the caller takes nothing for so long is not wanted.
READER_TIMEOUT_S = 60.0
# So that those who came together do not have to come back together.
_AGE_SPREAD = (0.9, 1.1)


class PromptHeads(HttpToolsProtocol):
    """Uvicorn's protocol, which lets go of callers who do not come to an end.

    Whatever arrives while no request is being answered belongs to a head, or to the rest of a body
    that nobody reads any more: both must end in time, and a head within its limit. Uvicorn itself
    forgets its keep-alive with the first byte. And an answer must be taken: otherwise a caller
    that sends a byte a minute, or takes none, would keep its connection, and its memory, for as
    long as it likes.

    A connection older than ``connection_age_s`` or so ends with its next answer, which says so.
    """

    connection_age_s = math.inf
    head_timeout_s = HEAD_TIMEOUT_S
    reader_timeout_s = READER_TIMEOUT_S
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _reader_timer: asyncio.TimerHandle | None = None
    _untaken = 0
    _in_body = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is due."""
        super().connection_made(transport)
        age_s = self.connection_age_s * random.uniform(*_AGE_SPREAD)  # noqa: S311 (no secret)
        self._old_at = self.loop.time() + age_s
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Something came."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._head_timer is None:
            answering = self.cycle is not None and not self.cycle.response_complete
            if not answering and self.timeout_keep_alive_task is None:
                self._expect_head()
        elif not self._in_body:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response(f"A head of more than {MAX_HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """Another head has begun."""
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_came()
        self._unset_keepalive_if_required()
        self._in_body = True
        super().on_headers_complete()
        if self.loop.time() > self._old_at:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """A request is there, with its body."""
        super().on_message_complete()
        self._in_body = False
        if self.cycle is not None and self.cycle.response_complete:
            # It was answered before its end.
            self._head_came()
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """The caller does not take its answer as fast as it is written."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """It has taken it."""
        super().resume_writing()
        self._reader_came()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._head_came()
        self._reader_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _watch_reader(self) -> None:
        self._reader_came()
        self._untaken = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.reader_timeout_s, self._look_at_reader)

    def _look_at_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._untaken:
            self._watch_reader()
        else:
            # Closing would wait for the caller.
            self.transport.abort()

    def _reader_came(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _head_came(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()
