"""How many structures a key may have computed: so many an hour, paid for when they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable

from forcegate_client.errors import TooManyRequests

__all__ = ["Quotas"]

_HOUR_S = 3600.0


class Quotas:
    """What each key has left: an hour's structures at most, and it fills evenly.

    A request is let in while anything is left, and charged with what it held once that is answered;
    so the last one may take more than was left, and the next waits the longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By key: what was left when, below zero too. Keys are as many as the file has.
        self._left: dict[str, tuple[float, float]] = {}

    def require(self, key_id: str, per_hour: int) -> None:
        """Raise unless the key has something left.

        Raises:
            TooManyRequests: with the time until then.
        """
        left = self._now(key_id, per_hour)
        if left <= 0.0:
            raise TooManyRequests(
                f"a request of the key {key_id}, which has used up its quota",
                expected=f"{per_hour} structures an hour",
                action="wait for retry_after_s, or ask whoever runs this server for a larger quota",
                code="quota_exceeded",
                retry_after_s=(1.0 - left) * _HOUR_S / per_hour,
            )

    def charge(self, key_id: str, per_hour: int, structures: int) -> None:
        """Take what was answered from what the key has left."""
        self._left[key_id] = self._now(key_id, per_hour) - structures, self._clock()

    def _now(self, key_id: str, per_hour: int) -> float:
        now = self._clock()
        left, then = self._left.get(key_id, (float(per_hour), now))
        return min(float(per_hour), left + (now - then) * per_hour / _HOUR_S)
