"""Arrivals that heed nobody: a Poisson process at a given rate, however slow the answers are."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence

from forcegate_bench.load.http1 import Address, advised_s
from forcegate_bench.load.link import Link, connect
from forcegate_bench.load.record import LOST, Record

__all__ = ["OpenLoop", "arrivals"]

_TOO_MANY_REQUESTS = 429
# Timers of the event loop have milliseconds; what falls due in one is sent together.
_TICK_S = 1e-3
_PATIENCE_S = 120.0


def arrivals(rate: float, seconds: float, seed: int = 0) -> Iterator[float]:
    """Times (s) of a Poisson process of ``rate`` a second, up to ``seconds``."""
    random_numbers = random.Random(seed)
    due = random_numbers.expovariate(rate)
    while due < seconds:
        yield due
        due += random_numbers.expovariate(rate)


class OpenLoop:
    """Requests at a rate over connections that carry one at a time.

    When all connections are busy another one is opened, up to ``most``; beyond that a request is
    ``withheld`` and not sent at all. ``advice`` are the times of all 429 and what they advised,
    both in seconds.
    """

    def __init__(
        self, address: Address, requests: Sequence[bytes], connections: int, most: int
    ) -> None:
        """Begin with so many ``connections``."""
        self.record = Record()
        self.withheld = 0
        self.advice: list[tuple[float, float]] = []
        self.began_s = 0.0
        self._address = address
        self._requests = requests
        self._connections = connections
        self._most = most
        self._sent = 0
        self._idle: list[Link] = []
        self._links: set[Link] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._arriving = False
        self._quiet: asyncio.Event

    @property
    def opened(self) -> int:
        """Connections that are open or about to be."""
        return len(self._links) + len(self._opening)

    async def run(self, rate: float, seconds: float, seed: int = 0) -> None:
        """Let requests arrive for so long, then wait until the last of them is answered.

        Raises:
            OSError: if the server does not listen any more.
            TimeoutError: if answers do not come.
        """
        self._quiet = asyncio.Event()
        try:
            async with asyncio.timeout(seconds + _PATIENCE_S):
                links = (connect(self._address, self) for _ in range(self._connections))
                self._idle = list(await asyncio.gather(*links))
                self._links = set(self._idle)
                await self._arrive(arrivals(rate, seconds, seed))
                await asyncio.gather(*self._opening)
                self._look_around()
                await self._quiet.wait()
        finally:
            for link in self._links:
                link.close()

    def answered(self, link: Link, status: int, body: bytes) -> None:
        """Write it down; the connection is free."""
        now = time.perf_counter()
        self.record.note(status, link.due_s, now)
        if status == _TOO_MANY_REQUESTS and (advised := advised_s(body)) is not None:
            self.advice.append((now, advised))
        self._idle.append(link)
        self._look_around()

    def lost(self, link: Link) -> None:
        """Write down what was lost."""
        self._links.discard(link)
        if link.busy:
            self.record.note(LOST, link.due_s, time.perf_counter())
        else:
            self._idle.remove(link)
        self._look_around()

    async def _arrive(self, times: Iterator[float]) -> None:
        self._arriving = True
        self.began_s = time.perf_counter()
        for after in times:
            due_s = self.began_s + after
            while (ahead := due_s - time.perf_counter()) > 0.0:
                await asyncio.sleep(max(ahead, _TICK_S))
            self._send(due_s)
        self._arriving = False
        self._look_around()

    def _send(self, due_s: float) -> None:
        if self._idle:
            self._ask(self._idle.pop(), due_s)
        elif self.opened < self._most:
            task = asyncio.get_running_loop().create_task(self._open(due_s))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        else:
            self.withheld += 1

    async def _open(self, due_s: float) -> None:
        try:
            link = await connect(self._address, self)
        except OSError:
            self.record.note(LOST, due_s, time.perf_counter())
            return
        self._links.add(link)
        self._ask(link, due_s)

    def _ask(self, link: Link, due_s: float) -> None:
        index = self._sent % len(self._requests)
        self._sent += 1
        link.ask(index, self._requests[index], due_s)

    def _look_around(self) -> None:
        if not self._arriving and not self._opening and len(self._idle) == len(self._links):
            self._quiet.set()
