"""An event loop that waits for an answer, awake for a while."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

__all__ = ["Watch"]


class Watch:
    """Looks for an answer at descriptor ``channel``, for ``awake_s`` at every turn of the running
    event loop, which does not go to sleep meanwhile, and then when there is something to read.
    """

    def __init__(self, channel: int, awake_s: float) -> None:
        self._channel = channel
        self._awake_until = time.perf_counter() + awake_s if awake_s else 0.0
        self._reads = self._ended = False
        self._loop = asyncio.get_running_loop()

    def begin(
        self, look: Callable[[], bool], timeout_s: float, overdue: Callable[[], None]
    ) -> None:
        """``look`` tells whether the answer was there; ``overdue`` is called after ``timeout_s``.

        Whoever has the answer, or does not want it any more, calls ``end``.
        """
        self._look = look
        self._overdue = self._loop.call_later(timeout_s, overdue)
        if self._awake_until:
            self._loop.call_soon(self._turn)
        else:
            self._sleep()

    def end(self) -> None:
        """Look no more."""
        self._ended = True
        self._overdue.cancel()
        if self._reads:
            self._loop.remove_reader(self._channel)

    def _turn(self) -> None:
        if self._ended or self._look():
            return
        if time.perf_counter() < self._awake_until:
            # To whoever else wants this core.
            os.sched_yield()
            self._loop.call_soon(self._turn)
        else:
            self._sleep()

    def _sleep(self) -> None:
        self._reads = True
        self._loop.add_reader(self._channel, self._look)
