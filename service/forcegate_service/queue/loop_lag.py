"""How far the event loop is behind: what waits there is in no queue that could be counted."""

from __future__ import annotations

import asyncio

__all__ = ["LoopLag"]

_PERIOD_S = 0.05
# Lag in the noise of the operating system says nothing.
_NOISE_S = 0.05
# Each look forgets a part of the worst one before, so that a moment's calm does not open the gates.
_KEPT = 0.8
# A loop that was away for longer was stopped with its process or its machine: so much work waits
# for nobody, and callers must not be sent away for as long.
_MOST_S = 5.0


class LoopLag:
    """Looks at a loop's lateness by asking to be woken up; starts when it is made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lag_s = 0.0
        self._expect()

    @property
    def seconds(self) -> float:
        """How long a request waits, about, before it is looked at and after it is computed."""
        overdue_s = self._loop.time() - self._due
        lag_s = min(_MOST_S, max(self._lag_s, overdue_s))
        # A request waits for its turn twice: when it comes, and with its answer.
        return 2.0 * lag_s if lag_s > _NOISE_S else 0.0

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _expect(self) -> None:
        self._due = self._loop.time() + _PERIOD_S
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._lag_s = max(_KEPT * self._lag_s, min(_MOST_S, self._loop.time() - self._due))
        self._expect()
