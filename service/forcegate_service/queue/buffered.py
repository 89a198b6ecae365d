"""How many bytes of requests are held at once, of all callers together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forcegate_client.errors import TooManyRequests

__all__ = ["BodyBuffer"]

_ADVISED_WAIT_S = 1.0


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
                    retry_after_s=_ADVISED_WAIT_S,
                )
            mine += size
            self.held += size

        try:
            yield take
        finally:
            self.held -= mine
