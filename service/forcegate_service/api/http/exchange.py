"""One request and its answer, of which head and body leave in one piece."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

__all__ = ["Exchange"]

# An answer with any of these is written by uvicorn.
_UNUSUAL = frozenset({b"connection", b"transfer-encoding"})


class Exchange(RequestResponseCycle):
    """Uvicorn's, with one write where it has two: the other side wakes up once, not twice."""

    _start: Any = None

    async def send(self, message: Any) -> None:
        """Take one event of the application; the head waits for the first part of the body."""
        if message["type"] == "http.response.start" and self._start is None:
            self._start = message
            return
        start, self._start = self._start, None
        if start is None or not self._plain(start, message):
            if start is not None:
                await super().send(start)
            await super().send(message)
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if not self.disconnected:
            self._write(start["status"], start["headers"], message["body"])

    def _plain(self, start: Any, message: Any) -> bool:
        """Whether all of the body is here, and the head needs no thought."""
        return (
            not self.response_started
            and message["type"] == "http.response.body"
            and bool(message.get("body"))
            and not message.get("more_body", False)
            and self.scope["method"] != "HEAD"
            and _UNUSUAL.isdisjoint([name for name, _ in start["headers"]])
        )

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        parts = [STATUS_LINE[status]]
        lines = 2
        for name, value in (*self.default_headers, *headers):
            if name != b"content-length":
                parts += (name, b": ", value, b"\r\n")
                lines += 1
        # Counted here: where an answer ends is not to be anybody's word.
        parts.append(b"content-length: %d\r\n" % len(body))
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
            lines += 1
        parts.append(b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != lines + 1:
            raise RuntimeError("a header with a line break in it")
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(head + body)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
