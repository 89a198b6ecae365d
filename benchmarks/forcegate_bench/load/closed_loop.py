"""Clients that ask again as soon as they are answered: what a server can do at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import count

from forcegate_bench.load.http1 import Address, advised_s
from forcegate_bench.load.link import Link, connect
from forcegate_bench.load.record import LOST, Record

__all__ = ["ClosedLoop"]

# Beyond the time on the clock; a server that keeps its callers waiting longer has failed.
_PATIENCE_S = 120.0
_TOO_MANY_REQUESTS = 429
# Enough to see that answers are right, few enough that reading them costs nothing.
_SAMPLES = 256


class ClosedLoop:
    """So many ``clients``, each with a connection and one request at a time.

    ``requests`` are sent in order and then again from the first. A client that is told 429 waits
    as long as it is advised to; one that loses its connection opens another.
    """

    def __init__(
        self,
        address: Address,
        requests: Sequence[bytes],
        clients: int,
        *,
        sample_every: int = 0,
        pause_s: float = 0.0,
        from_host: str | None = None,
    ) -> None:
        """Keep every ``sample_every``-th answer, at most 256; pause after each if told to."""
        self.record = Record()
        self.clients = clients
        self._address = address
        self._requests = requests
        self._sample_every = sample_every
        self._pause_s = pause_s
        self._from_host = from_host
        self._indices = count()
        self._links: set[Link] = set()
        self._stop_at = float("inf")
        self._asking = 0
        self._done: asyncio.Future[None]

    async def run(self, seconds: float) -> None:
        """Ask for so long, and wait for the answers to what was asked.

        Raises:
            OSError: if the server does not listen any more.
            TimeoutError: if answers do not come.
        """
        self._done = asyncio.get_running_loop().create_future()
        self._asking = self.clients
        self._stop_at = time.perf_counter() + seconds
        try:
            async with asyncio.timeout(seconds + _PATIENCE_S):
                await asyncio.gather(*(self._open() for _ in range(self.clients)))
                await self._done
        finally:
            for link in self._links:
                link.close()

    def answered(self, link: Link, status: int, body: bytes) -> None:
        """Write it down and ask again."""
        self.record.note(status, link.due_s, time.perf_counter())
        if status == 200 and self._is_sample(link.index):
            self.record.samples.append((link.index % len(self._requests), body))
        pause_s = self._pause_s
        if status == _TOO_MANY_REQUESTS:
            pause_s += advised_s(body) or 0.0
        if pause_s and time.perf_counter() + pause_s < self._stop_at:
            asyncio.get_running_loop().call_later(pause_s, self._next, link)
        else:
            self._next(link)

    def lost(self, link: Link) -> None:
        """Write down what was lost, and go on with another connection."""
        self._links.discard(link)
        if link.busy:
            self.record.note(LOST, link.due_s, time.perf_counter())
        self._open_another()

    def _open_another(self) -> None:
        reopening = asyncio.get_running_loop().create_task(self._open())
        reopening.add_done_callback(self._reopened)

    def _is_sample(self, index: int) -> bool:
        every = self._sample_every
        return bool(every) and index % every == 0 and len(self.record.samples) < _SAMPLES

    async def _open(self) -> None:
        link = await connect(self._address, self, self._from_host)
        self._links.add(link)
        self._next(link)

    def _reopened(self, opening: asyncio.Task[None]) -> None:
        error = None if opening.cancelled() else opening.exception()
        if error is not None and not self._done.done():
            self._done.set_exception(error)

    def _next(self, link: Link) -> None:
        if link not in self._links:
            # Lost while it paused; another one asks in its place.
            return
        if time.perf_counter() < self._stop_at:
            if link.closing:
                self._links.discard(link)
                link.close()
                self._open_another()
                return
            index = next(self._indices)
            link.ask(index, self._requests[index % len(self._requests)])
            return
        self._links.discard(link)
        link.close()
        self._asking -= 1
        if not self._asking and not self._done.done():
            self._done.set_result(None)
