"""How long an answer is wanted: until a deadline, and while somebody is there to read it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from forcegate_client.errors import DeadlineExceeded, UnprocessableRequest

__all__ = ["TIMEOUT_HEADER", "requested_timeout", "while_connected", "within"]

TIMEOUT_HEADER = "X-Request-Timeout"

_LOWER_HEADER = TIMEOUT_HEADER.lower()
# What is answered sooner is not worth a look at whether anybody still waits for it.
_SOON_S = 0.01


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


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Give up what is inside after ``seconds``.

    Raises:
        DeadlineExceeded: in that case.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DeadlineExceeded(
            f"a request that was not answered within {seconds:g} s",
            expected="an answer by then",
            action=f"allow more time ({TIMEOUT_HEADER}), or ask for fewer structures at a time",
        ) from None


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Give up what is inside when the caller goes away; the body must have been read.

    Raises:
        ClientDisconnect: in that case.
    """
    answering = asyncio.current_task()
    assert answering is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        answering.cancel()

    watcher: asyncio.Task[None] | None = None

    def look() -> None:
        nonlocal watcher
        watcher = asyncio.create_task(watch())

    timer = asyncio.get_running_loop().call_later(_SOON_S, look)
    try:
        yield
    except asyncio.CancelledError:
        # A cancellation from elsewhere, such as the deadline's, goes its own way.
        if gone and answering.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()
