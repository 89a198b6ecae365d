"""When to ask a server again, and when to give up: pure rules, with the clock handed in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from forcegate_client.errors import ForcegateError

__all__ = ["PATIENT", "Attempts", "RetryPolicy", "Transient"]

logger = logging.getLogger("forcegate")


class Transient(Exception):
    """An attempt failed in a way that may pass by itself; ``error`` is what to raise in the end."""

    def __init__(self, error: ForcegateError) -> None:
        self.error = error
        super().__init__(str(error))


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait between attempts, and for how long to go on.

    ``give_up_after_s`` counts from the first attempt of a call; ``None`` means never.
    ``first_answer_within_s`` takes its place until a forcegate server has answered for the first
    time: before that, a silent server is more likely a mistyped URL than a restart.
    Delays double from ``first_delay_s`` to ``longest_delay_s`` and are jittered downwards, so that
    clients that lost the same server do not come back as one; a delay that the server asks for is
    jittered upwards only. The log tells of the wait after ``first_reminder_s``, then every
    ``remind_every_s``.
    """

    give_up_after_s: float | None = 60.0
    first_answer_within_s: float = 60.0
    first_delay_s: float = 0.05
    longest_delay_s: float = 5.0
    first_reminder_s: float = 5.0
    remind_every_s: float = 60.0

    def delay_s(self, failures: int, asked_s: float | None, jitter: float) -> float:
        """The pause after the ``failures``-th failure in a row; ``jitter`` is uniform in [0, 1)."""
        if asked_s is not None:
            return max(asked_s, 0.0) * (1.0 + 0.1 * jitter)
        # The exponent is bounded: a wait of days must not overflow a float.
        delay = min(self.first_delay_s * 2.0 ** min(failures - 1, 30), self.longest_delay_s)
        return delay * (0.5 + 0.5 * jitter)

    def limit_s(self, answered_before: bool) -> float | None:
        """How long one call may go on failing."""
        return self.give_up_after_s if answered_before else self.first_answer_within_s


PATIENT = RetryPolicy(give_up_after_s=None)
"""For runs of days: once a server has answered, wait for it for as long as it takes."""


class Attempts:
    """The attempts of one call, counted: how long to pause after each, and when to give up."""

    def __init__(
        self, policy: RetryPolicy, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._jitter = jitter
        self._started = clock()
        self._reminder_due = self._started + policy.first_reminder_s
        self._reminded = False
        self._failures = 0

    def pause_s(self, failure: Transient, answered_before: bool) -> float:
        """How long to wait before the next attempt.

        Raises:
            ForcegateError: that of ``failure``, once the policy gives up.
        """
        self._failures += 1
        error = failure.error
        delay = self._policy.delay_s(self._failures, error.retry_after_s, self._jitter())
        now = self._clock()
        limit = self._policy.limit_s(answered_before)
        if limit is not None and now + delay - self._started > limit:
            raise error
        if now >= self._reminder_due:
            self._reminded = True
            self._reminder_due = now + self._policy.remind_every_s
            logger.warning(
                "still waiting for the server after %.0f s: %s", now - self._started, error
            )
        return delay

    def succeeded(self) -> None:
        """Say so, if the log was told of the wait."""
        if self._reminded:
            logger.warning("the server answered after %.0f s", self._clock() - self._started)
