"""How long an answer is wanted: until a deadline, and while somebody is there to read it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from forcegate_client.errors import DeadlineExceeded, UnprocessableRequest

__all__ = ["TIMEOUT_HEADER", "Patience", "out_of_time", "requested_timeout"]

TIMEOUT_HEADER = "X-Request-Timeout"

_LOWER_HEADER = TIMEOUT_HEADER.lower()
# What is answered sooner needs neither a deadline nor a look at whether anybody still waits for it:
# a task for each request of a busy server would cost more than the few that are given up.
_SOON_S = 0.25


def requested_timeout(headers: Mapping[str, str], longest_s: float) -> float:
    """Seconds that the answer may take: what the caller asks for, and at most ``longest_s``.

    Raises:
        UnprocessableRequest: if the header is there and is no positive number.
    """
    text = headers.get(_LOWER_HEADER)
    if text is None:
        return longest_s
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise UnprocessableRequest(
            f"{TIMEOUT_HEADER}: {text[:40]!r}",
            expected="a positive number of seconds",
            action="correct the header or leave it out",
            code="request_timeout_invalid",
        )
    return min(seconds, longest_s)


def out_of_time(seconds: float) -> DeadlineExceeded:
    """What a caller hears who is not answered within ``seconds``."""
    return DeadlineExceeded(
        f"a request that was not answered within {seconds:g} s",
        expected="an answer by then",
        action=f"allow more time ({TIMEOUT_HEADER}), or ask for fewer structures at a time",
    )


class Patience:
    """Gives up what is inside ``async with`` after ``seconds``, and when the caller goes away.

    The latter from ``body_read`` on: until then whoever reads the body hears of it.

    Raises:
        DeadlineExceeded: on leaving, if it took too long.
        ClientDisconnect: on leaving, if nobody is there any more.
    """

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._reads_body = True
        self._looked = False
        self._reason: Exception | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._answering = task
        # One timer for both: nearly all answers are there before it rings.
        self._timer = self._loop.call_later(min(_SOON_S, self._seconds), self._look)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        # A cancellation from elsewhere goes its own way.
        if (
            kind is asyncio.CancelledError
            and self._reason is not None
            and self._answering.uncancel() == 0
        ):
            raise self._reason from None

    def body_read(self) -> None:
        """From now on the caller has nothing to say but that it goes away."""
        self._reads_body = False
        if self._looked:
            self._watch()

    def _look(self) -> None:
        left_s = self._seconds - _SOON_S
        if left_s <= 0.0:
            self._expire()
            return
        self._timer = self._loop.call_later(left_s, self._expire)
        self._looked = True
        if not self._reads_body:
            self._watch()

    def _watch(self) -> None:
        self._watcher = self._loop.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._give_up(ClientDisconnect())

    def _expire(self) -> None:
        self._give_up(out_of_time(self._seconds))

    def _give_up(self, reason: Exception) -> None:
        if self._reason is None:
            self._reason = reason
            self._answering.cancel()
