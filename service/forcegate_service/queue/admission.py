"""Admission: how much work and how many bytes may wait, and the wait that is advised instead."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forcegate_client.errors import TooManyRequests
from forcegate_service.queue.fair_queue import Tenant

__all__ = ["BodyBuffer", "Budget", "LengthGuess", "LoopLag", "Reservation"]

# Of the time in which what waits will be done. Spread, so that callers do not come back as one,
# and short of the whole, so that the queue never runs empty while they wait.
_ADVISED = (0.6, 1.1)
_SHORTEST_WAIT_S = 0.05
# A request may be larger than the budget. It gets in when half of the budget is free; if it had to
# find all of it free, a few light callers could keep it out for ever.
_LARGEST_SHARE = 0.5
# Before anything was seen: a microsecond a byte is a small model's pace.
_FIRST_S_PER_BYTE = 1e-6
_LEARNING_RATE = 0.05
# How often the loop is looked at.
_PERIOD_S = 0.05
# Lag in the noise of the operating system says nothing.
_LAG_NOISE_S = 0.05
# Each look forgets a part of the worst one before, so that a moment's calm does not open the gates.
_LAG_KEPT = 0.8
# A loop that was away for longer was stopped with its process or its machine: so much work waits
# for nobody, and callers must not be sent away for as long.
_MOST_LAG_S = 5.0
_WAIT_FOR_BYTES_S = 1.0


class Budget:
    """What waits or runs is done within ``limit_s`` predicted seconds; used on the loop alone.

    When it is spent, a tenant still gets in with what lies within its equal share of the budget,
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
        self._of_tenant: dict[Tenant, float] = {}
        # Connections of each caller that have something admitted.
        self._connections: Counter[str] = Counter()
        self._jitter = jitter

    def reserve(self, tenant: Tenant, seconds: float) -> Reservation:
        """Admit work of ``seconds``.

        Raises:
            TooManyRequests: with an advised wait, if it does not fit beside what is admitted.
        """
        reservation = Reservation(self, tenant)
        reservation.change_to(seconds)
        return reservation

    def _require_room(self, tenant: Tenant, seconds: float) -> None:
        lanes = self.lanes()
        lost_s = self.lost_s()
        waiting_s = self.admitted_s / lanes + lost_s
        if waiting_s + min(seconds / lanes, _LARGEST_SHARE * self.limit_s) <= self.limit_s:
            return
        own = self._of_tenant.get(tenant, 0.0)
        callers = len(self._connections) + (tenant.caller not in self._connections)
        connections = self._connections[tenant.caller] + (tenant not in self._of_tenant)
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

    def _add(self, tenant: Tenant, seconds: float) -> None:
        self.admitted_s += seconds
        own = self._of_tenant.get(tenant, 0.0) + seconds
        # Sums of floats: what is empty is empty.
        if own > 1e-12:
            if tenant not in self._of_tenant:
                self._connections[tenant.caller] += 1
            self._of_tenant[tenant] = own
        elif self._of_tenant.pop(tenant, None) is not None:
            self._connections[tenant.caller] -= 1
            if not self._connections[tenant.caller]:
                del self._connections[tenant.caller]
        if not self._of_tenant:
            self.admitted_s = 0.0


class Reservation:
    """A request's part of the budget, given back bit by bit or at once; ``seconds`` are left."""

    def __init__(self, budget: Budget, tenant: Tenant) -> None:
        self._budget, self._tenant = budget, tenant
        self.seconds = 0.0

    def change_to(self, seconds: float) -> None:
        """Correct the guess.

        Raises:
            TooManyRequests: if it grows beyond what fits; then nothing is reserved any more.
        """
        self.release()
        self._budget._require_room(self._tenant, seconds)
        self.seconds = seconds
        self._budget._add(self._tenant, seconds)

    def settle(self, seconds: float) -> None:
        """Give back what is done."""
        done = min(seconds, self.seconds)
        self.seconds -= done
        self._budget._add(self._tenant, -done)

    def release(self) -> None:
        """Give back what is left; a second time does nothing."""
        if self.seconds:
            self.settle(self.seconds)


class LengthGuess:
    """Predicted seconds a byte, learnt for each form from the requests that were read."""

    def __init__(self) -> None:
        self._pace: dict[str, float] = {}

    def seconds(self, form: str, length: int) -> float:
        """The guess for a body of ``length`` bytes."""
        return length * self._pace.get(form, _FIRST_S_PER_BYTE)

    def learn(self, form: str, length: int, seconds: float) -> None:
        """What a body of ``length`` bytes turned out to ask for."""
        known = self._pace.get(form, _FIRST_S_PER_BYTE)
        self._pace[form] = known + _LEARNING_RATE * (seconds / max(length, 1) - known)


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
        lag_s = min(_MOST_LAG_S, max(self._lag_s, overdue_s))
        # A request waits for its turn twice: when it comes, and with its answer.
        return 2.0 * lag_s if lag_s > _LAG_NOISE_S else 0.0

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _expect(self) -> None:
        self._due = self._loop.time() + _PERIOD_S
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._lag_s = max(_LAG_KEPT * self._lag_s, min(_MOST_LAG_S, self._loop.time() - self._due))
        self._expect()


class BodyBuffer:
    """Room for ``limit`` bytes of bodies; used on the event loop alone.

    Bodies are limited one by one as well, but a thousand connections that send slowly would add
    up.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Gives the function that asks for room for so many bytes more; all is given back after.

        That function raises ``TooManyRequests`` if there is no room.
        """
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            others = self.held - mine
            if others and self.held + size > self.limit:
                raise TooManyRequests(
                    f"a body while {others} bytes of others are being read or computed",
                    expected=f"at most {self.limit} bytes in all",
                    action="try again after retry_after_s, or ask for fewer structures at a time",
                    retry_after_s=_WAIT_FOR_BYTES_S,
                )
            mine += size
            self.held += size

        try:
            yield take
        finally:
            self.held -= mine
