"""How many requests are under way at a time: as many as the server takes without refusing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """Lets at most ``limit`` threads through; the limit follows what the server says.

    It begins at ``most``, halves with each refusal (429) and grows by about one in the time in
    which all requests under way are answered once: additive increase, multiplicative decrease,
    as TCP does. Refusals of requests that left before the last halving do not count again. After
    a refusal nobody starts before the wait that the server asked for is over.
    """

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self.refusals = 0
        self._under_way = 0
        self._resume_at = 0.0
        self._halved_at = float("-inf")
        self._clock = clock
        self._sleep = sleep
        self._changed = threading.Condition()

    @contextmanager
    def passing(self) -> Iterator[float]:
        """While the block runs, one request is under way; gives when it left."""
        with self._changed:
            while self._under_way >= int(self.limit):
                self._changed.wait()
            self._under_way += 1
        try:
            pause = self._resume_at - self._clock()
            if pause > 0.0:
                self._sleep(pause)
            yield self._clock()
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def answered(self) -> None:
        """A request was answered: there may be room for more."""
        with self._changed:
            self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
            self._changed.notify_all()

    def refused(self, left_at: float, wait_s: float) -> None:
        """A request that left at ``left_at`` was refused; come back in ``wait_s``."""
        with self._changed:
            self.refusals += 1
            now = self._clock()
            self._resume_at = max(self._resume_at, now + wait_s)
            if left_at > self._halved_at:
                self._halved_at = now
                self.limit = max(1.0, self.limit / 2.0)
