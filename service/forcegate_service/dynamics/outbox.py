"""What was said and not yet sent: bounded, so that a client that reads slowly pauses its runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable

from forcegate_client.runs import Progress, Record
from forcegate_client.wire.run_records import StreamForm, encode

__all__ = ["Outbox"]

# Proxies end connections on which nothing happens; some do so after a minute.
_SILENCE_S = 10.0


class Outbox:
    """Records of one stream, encoded; ``limit`` bytes of them may wait to be sent.

    ``paused_s`` is the time for which they were more; ``on_pause`` is told when it begins and ends.
    """

    def __init__(
        self, form: StreamForm, limit: int, on_pause: Callable[[bool], None] = lambda paused: None
    ) -> None:
        self._form, self._limit, self._on_pause = form, limit, on_pause
        self._records: deque[bytes] = deque()
        self._bytes = 0
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()
        self._paused_at = 0.0
        self._paused_s = 0.0
        self._ended = False

    @property
    def paused_s(self) -> float:
        """Seconds for which there was no room, so far."""
        now = 0.0 if self._room.is_set() or self._ended else time.perf_counter() - self._paused_at
        return self._paused_s + now

    def put(self, record: Record) -> None:
        """Say one thing more; whoever says much waits for ``room`` before."""
        body = encode(record, self._form)
        self._records.append(body)
        self._bytes += len(body)
        self._some.set()
        if self._bytes > self._limit and self._room.is_set() and not self._ended:
            self._room.clear()
            self._paused_at = time.perf_counter()
            self._on_pause(True)

    def end(self) -> None:
        """Nothing is said any more, and nobody has to wait."""
        self._resume()
        self._ended = True
        self._some.set()

    def end_waiting(self) -> None:
        """Nobody waits for room any more: the little that is still to be said may be said."""
        self._resume()
        self._limit = sys.maxsize

    async def room(self) -> None:
        """Wait until what was said is within the limit."""
        await self._room.wait()

    async def take(self, steps: Callable[[], int]) -> bytes | None:
        """All that was said since, or None after the end; ``steps`` are told in a long silence."""
        while not (self._records or self._ended):
            self._some.clear()
            try:
                await asyncio.wait_for(self._some.wait(), _SILENCE_S)
            except TimeoutError:
                return encode(Progress(steps()), self._form)
        if not self._records:
            return None
        body = b"".join(self._records)
        self._records.clear()
        self._bytes = 0
        return body

    def sent(self) -> None:
        """What was taken has left."""
        if self._bytes <= self._limit:
            self._resume()

    def _resume(self) -> None:
        if not self._room.is_set():
            self._paused_s += time.perf_counter() - self._paused_at
            self._room.set()
            self._on_pause(False)
