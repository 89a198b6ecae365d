"""How much a caller may ask for, over time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """A bucket of tokens for each caller, which fills by ``per_s`` up to ``burst``.

    The ``most_callers`` that asked last are remembered; the others have full buckets, so there
    should be room for more than can empty theirs in the time that it takes to fill them.
    """

    def __init__(
        self, per_s: float, burst: float, most_callers: int, clock: Callable[[], float]
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._most_callers = most_callers
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def missing_s(self, caller: str, tokens: float) -> float:
        """Take ``tokens`` and return 0; or take nothing and return how long to wait for them."""
        now = self._clock()
        level, then = self._levels.pop(caller, (self._burst, now))
        level = min(self._burst, level + self._per_s * (now - then))
        missing = max(tokens - level, 0.0)
        self._levels[caller] = (level if missing else level - tokens, now)
        if len(self._levels) > self._most_callers:
            self._levels.popitem(last=False)
        return missing / self._per_s
