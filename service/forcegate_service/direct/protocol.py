"""HTTP/1.1 with a short way for small predictions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from forcegate_service.direct.exchange import Exchange
from forcegate_service.direct.head import Head, read_head
from forcegate_service.protocol import PromptHeads

__all__ = ["DirectPredictions", "ageing"]

# Larger bodies take so long that the way to them does not matter.
_LARGEST_BODY = 8192
_LARGEST_HEAD = 4096
_END_OF_HEAD = b"\r\n\r\n"


class DirectPredictions(PromptHeads):
    """Answers a request for predictions itself if it arrives whole, small and alone.

    Everything else goes on to uvicorn untouched, errors of protocol included: whether a request is
    one of these is decided before a byte of it is used up. A client that asks again sends the same
    head again, so that a connection remembers the last one.
    """

    _exchange: Exchange | None = None
    _known: tuple[bytes, Head] | None = None
    _in_message = False
    _last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Nothing is held back yet."""
        super().connection_made(transport)
        self._held: list[bytes] = []

    def data_received(self, data: bytes) -> None:
        """Answer it, hand it on, or keep it until what came before is answered."""
        if self._exchange is not None:
            self._held.append(data)
            self.flow.pause_reading()
        elif not self._answer(data):
            super().data_received(data)

    def on_message_begin(self) -> None:
        """From here to the end of the message all bytes are uvicorn's."""
        super().on_message_begin()
        self._in_message = True

    def on_message_complete(self) -> None:
        """What comes next may be ours."""
        super().on_message_complete()
        self._in_message = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        super().connection_lost(exc)
        self._held.clear()
        if self._exchange is not None:
            self._exchange.give_up()

    def shutdown(self) -> None:
        """Close the connection after the answer that is being made, or now."""
        if self._exchange is None:
            super().shutdown()
        else:
            self._last = True

    def _answer(self, data: bytes) -> bool:
        """Whether ``data`` is a request that is answered here."""
        if self._in_message or self.flow.write_paused:
            return False
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        known = self._known
        if known is not None and data.startswith(known[0]):
            size, head = len(known[0]), known[1]
        else:
            size = data.find(_END_OF_HEAD, 0, _LARGEST_HEAD) + len(_END_OF_HEAD)
            found = read_head(data[:size]) if size > len(_END_OF_HEAD) else None
            if found is None:
                return False
            head = found
            self._known = data[:size], head
        if head.length > _LARGEST_BODY or len(data) != size + head.length:
            return False
        state: dict[str, Any] = self.app_state
        if "gateway" not in state:
            return False
        self._unset_keepalive_if_required()
        self._head_came()
        self._last = self.loop.time() > self._old_at
        self._exchange = exchange = Exchange(
            state["gateway"], state["access"], head, self.client, self._reply, self._gone
        )
        # So that a server that stops waits for it, and can cut it off, like a task.
        self.tasks.add(exchange)  # type: ignore[arg-type]
        exchange.begin(data[size:])
        return True

    def _reply(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        self._gone()
        if self.transport.is_closing():
            return
        parts = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"connection: close\r\n\r\n" if self._last else b"\r\n", body)
        # Head and body at once: two would be two packets, and two calls of the system.
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        if self._last:
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )
        if self._held:
            held, self._held = b"".join(self._held), []
            self.flow.resume_reading()
            self.data_received(held)

    def _gone(self) -> None:
        self.tasks.discard(self._exchange)
        self._exchange = None


def ageing(connection_age_s: float) -> type[DirectPredictions]:
    """The protocol with connections that grow that old."""
    return type("AgeingPredictions", (DirectPredictions,), {"connection_age_s": connection_age_s})
