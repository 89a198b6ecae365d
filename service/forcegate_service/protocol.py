"""HTTP/1.1 that does not wait for ever for the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["HEAD_TIMEOUT_S", "PromptHeads"]

# From the first byte of a request, or from the connection, to the end of its headers. Bodies have
# the request's own deadline, and idle connections between requests the keep-alive.
HEAD_TIMEOUT_S = 30.0


class PromptHeads(HttpToolsProtocol):
    """Uvicorn's protocol, which closes a connection whose next head does not come to an end.

    Otherwise a caller that sends a byte a minute would keep its connection, and its memory, for
    as long as it likes.
    """

    head_timeout_s = HEAD_TIMEOUT_S
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A head is due."""
        super().connection_made(transport)
        self._expect_head()

    def on_message_begin(self) -> None:
        """Another head has begun."""
        super().on_message_begin()
        if self._head_timer is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_came()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._head_came()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        transport: Any = self.transport
        if not transport.is_closing():
            transport.close()
