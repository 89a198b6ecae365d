"""How much predicted work may wait: admission, and the wait that is advised instead of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from forcegate_client.errors import TooManyRequests
from forcegate_service.queue.flow import Flow

__all__ = ["Budget", "Reservation"]

# Of the time in which what waits will be done. Spread, so that callers do not come back as one,
# and short of the whole, so that the queue never runs empty while they wait.
_ADVISED = (0.6, 1.1)
_SHORTEST_WAIT_S = 0.05
# A request may be larger than the budget. It gets in when half of the budget is free; if it had to
# find all of it free, a few light callers could keep it out for ever.
_LARGEST_SHARE = 0.5


class Budget:
    """What waits or runs is done within ``limit_s`` predicted seconds; used on the loop alone.

    When it is spent, a flow still gets in with what lies within its equal share of the budget,
    which callers share, and each caller's connections: turns are fair, so whoever asks for little
    waits for little, whatever others have queued, on however many connections. Time
    that is lost elsewhere, ``lost_s()``, is not there to be spent; ``lanes()`` batches are computed
    at the same time.
    """

    def __init__(
        self,
        limit_s: float,
        jitter: Callable[[], float] = random.random,
        lost_s: Callable[[], float] = lambda: 0.0,
        lanes: Callable[[], int] = lambda: 1,
    ) -> None:
        self.limit_s = limit_s
        self.lanes = lanes
        self.admitted_s = 0.0
        self.lost_s = lost_s
        self._of_flow: dict[Flow, float] = {}
        # Connections of each caller that have something admitted.
        self._connections: Counter[str] = Counter()
        self._jitter = jitter

    def reserve(self, flow: Flow, seconds: float) -> Reservation:
        """Admit work of ``seconds``.

        Raises:
            TooManyRequests: with an advised wait, if it does not fit beside what is admitted.
        """
        reservation = Reservation(self, flow)
        reservation.change_to(seconds)
        return reservation

    def _require_room(self, flow: Flow, seconds: float) -> None:
        lanes = self.lanes()
        lost_s = self.lost_s()
        waiting_s = self.admitted_s / lanes + lost_s
        if waiting_s + min(seconds / lanes, _LARGEST_SHARE * self.limit_s) <= self.limit_s:
            return
        own = self._of_flow.get(flow, 0.0)
        callers = len(self._connections) + (flow.caller not in self._connections)
        connections = self._connections[flow.caller] + (flow not in self._of_flow)
        if (own + seconds) / lanes <= (self.limit_s - lost_s) / (callers * connections):
            return
        low, high = _ADVISED
        wait = (low + (high - low) * self._jitter()) * waiting_s
        raise TooManyRequests(
            f"work of about {seconds / lanes:.3g} s while {waiting_s:.3g} s of it are waiting",
            expected=f"at most {self.limit_s:g} s in all",
            action="try again after retry_after_s, or ask for fewer structures at a time",
            retry_after_s=max(_SHORTEST_WAIT_S, wait),
        )

    def _add(self, flow: Flow, seconds: float) -> None:
        self.admitted_s += seconds
        own = self._of_flow.get(flow, 0.0) + seconds
        # Sums of floats: what is empty is empty.
        if own > 1e-12:
            if flow not in self._of_flow:
                self._connections[flow.caller] += 1
            self._of_flow[flow] = own
        elif self._of_flow.pop(flow, None) is not None:
            self._connections[flow.caller] -= 1
            if not self._connections[flow.caller]:
                del self._connections[flow.caller]
        if not self._of_flow:
            self.admitted_s = 0.0


class Reservation:
    """A request's part of the budget, given back bit by bit or at once; ``seconds`` are left."""

    def __init__(self, budget: Budget, flow: Flow) -> None:
        self._budget, self._flow = budget, flow
        self.seconds = 0.0

    def change_to(self, seconds: float) -> None:
        """Correct the guess.

        Raises:
            TooManyRequests: if it grows beyond what fits; then nothing is reserved any more.
        """
        self.release()
        self._budget._require_room(self._flow, seconds)
        self.seconds = seconds
        self._budget._add(self._flow, seconds)

    def settle(self, seconds: float) -> None:
        """Give back what is done."""
        done = min(seconds, self.seconds)
        self.seconds -= done
        self._budget._add(self._flow, -done)

    def release(self) -> None:
        """Give back what is left; a second time does nothing."""
        if self.seconds:
            self.settle(self.seconds)
